"""What the numbers were measured on, and who else was there."""
import os
import platform
import re
import time
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "torchvision", "torchcodec", "transformers", "open_clip_torch", "openvino", "nncf", "onnxruntime",
            "onnx", "av", "decord", "opencv-python-headless", "pillow", "numpy")
FLAGS = ("avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile",
         "amx_bf16", "amx_int8", "asimd", "asimddp", "bf16", "i8mm", "sve", "sve2")
DISTURBED = 0.25  # cores that others keep busy; what was measured beside more of them is left out of the medians
TICK = os.sysconf("SC_CLK_TCK")


def about():
    """The machine and the versions."""
    info = Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*: (.*)$", info, re.M)
    has = set((re.search(r"^(?:flags|Features)\s*: (.*)$", info, re.M) or [None, ""])[1].split())
    family = re.search(r"^cpu family\s*: (.*)$", info, re.M)
    found = {dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    return {"cpu": name[1] if name else platform.machine(), "cpu_family": family[1] if family else None,
            "cores": len(os.sched_getaffinity(0)), "flags": [flag for flag in FLAGS if flag in has],
            "bf16_hardware": bool(has & {"avx512_bf16", "amx_bf16", "bf16"}),
            "amx": "amx_tile" in has,
            "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
            "kernel": platform.release(), "python": platform.python_version(),
            "packages": {name: found.get(name.replace("_", "-"), "missing") for name in PACKAGES}}


def busy():
    """Seconds that all cores together were busy for since the machine started, time that a host took away included."""
    user, nice, system, _idle, _io, irq, soft, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICK


def used(pid):
    """Seconds of CPU that a process and its children that ended have had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK


class Company:
    """How many cores others kept busy while one process worked."""

    def __init__(self, pid):
        self.pid = pid
        self.before = self.now()

    def now(self):
        try:
            return time.monotonic(), busy(), used(self.pid) + used(os.getpid())
        except OSError:
            return None

    def others(self):
        after = self.now()
        if not self.before or not after or after[0] - self.before[0] < 0.1:
            return None  # too short for ticks
        wall, all_, own = (b - a for a, b in zip(self.before, after))
        return max(0.0, (all_ - own) / wall)


def wait_for_quiet(seconds):
    """Returns when nobody keeps the machine busy, or after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = busy()
        time.sleep(1)
        if busy() - before < DISTURBED:
            return
