"""What the figures are measured on."""

from __future__ import annotations

import subprocess

from inputs import Context
from report import Report


def smi(*fields: str) -> list[str]:
    """What nvidia-smi says of the first GPU; empty where there is none."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [value.strip() for value in told.splitlines()[0].split(",")] if told.strip() else []


def run(context: Context, report: Report) -> None:
    import machine
    import torch

    with report.check("machine"):
        told = machine.about()
        gpu = smi("name", "driver_version", "memory.total", "clocks.max.sm", "power.limit")
        report.data("machine", told | {"gpu": gpu, "cuda": torch.version.cuda})
        lines = [f"{told['cpu']}, {told['cores']} cores, {told['memory_gib']} GiB; {' '.join(told['flags'])}"]
        if gpu:
            lines.append(f"{gpu[0]}, driver {gpu[1]}, {gpu[2]} MiB, {gpu[3]} MHz, {gpu[4]} W")
        lines.append(f"Python {told['python']}, torch {torch.__version__}, CUDA of torch {torch.version.cuda}")
        build = context.c4c().build_info()
        report.data("build", build)
        lines.append("libc4c " + ", ".join(f"{name} {value}" for name, value in build.items()))
        report.data("table", "\n".join(lines))
        fits = torch.__version__.startswith(build["libtorch"].rpartition(".")[0])
        report.holds("torch is the one that libc4c is built for", fits, torch.__version__, build["libtorch"])
        if context.cuda:
            there = torch.cuda.is_available()
            report.holds(
                "torch has the GPU",
                there,
                gpu[0] if gpu else "",
                "",
                "" if there else "torch.cuda.is_available() is False",
            )
        else:
            report.not_run("torch has the GPU")
