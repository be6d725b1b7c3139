"""Section E: a process from nothing to the first vector of the small file: wall time and peak resident memory."""
import json
import os
import subprocess
import sys
from pathlib import Path

import clips
import machine
import ours
import table
import turns

HERE = Path(__file__).resolve().parent
JOBS = ("wall ms", "peak MiB")
KINDS = {"ONNX Runtime int8, without torch": "int8"}


def build(args):
    """The C program, compiled against the library; the reason why not as an exception."""
    program = args.cache / "first-ours"
    folder = args.library.parent
    subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-O2", str(HERE / "first/ours.c"), "-o", str(program),
                    "-I", str(HERE.parent.parent / "include"), str(args.library), f"-Wl,-rpath,{folder}",
                    "-Wl,--allow-shlib-undefined"], check=True)
    return program


# A process begins with the high-water mark of the one that it was forked from, so a small one stands in between.
LAUNCH = """
import json, os, subprocess, sys, time
begin = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
ms = (time.perf_counter() - begin) * 1000
print(json.dumps({"ms": ms, "status": os.waitstatus_to_exitcode(status), "peak_mib": usage.ru_maxrss / 1024,
                  "busy": usage.ru_utime + usage.ru_stime}), file=sys.stderr)
"""


def start(command, threads):
    """{"ms", "peak_mib", "vector"} or {"error"} of one process; the clock runs from the fork to the exit."""
    busy = machine.busy()
    done = subprocess.run([sys.executable, "-S", "-c", LAUNCH, *command], capture_output=True, text=True, errors="replace",
                          env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    *said, measured = done.stderr.strip().splitlines()
    measured = json.loads(measured)
    if measured["status"]:
        return {"error": f"status {measured['status']}; {said[-1][:300] if said else 'nothing on stderr'}"}
    seconds = measured["ms"] / 1000
    return {"ms": measured["ms"], "peak_mib": measured["peak_mib"], "cores": measured["busy"] / seconds,
            "others": max(0.0, (machine.busy() - busy - measured["busy"]) / seconds),
            "vector": json.loads(done.stdout.strip().splitlines()[-1])}


def commands(args, video, threads):
    def script(name):
        return [sys.executable, str(HERE / "first" / name), str(args.cache), str(video), str(threads)]
    program = build(args)
    found = {"towhee-like f32": script("towhee.py"), "transformers + PyAV f32": script("transformers_pyav.py"),
             "ONNX Runtime int8, without torch": script("onnx_int8.py")}
    for precision in ("f32", "bf16", "int8"):
        found["ours " + precision] = [str(program), str(args.weights), str(video), str(ours.NUMBERS[precision]), str(threads)]
    return {peer: command for peer, command in found.items() if peer not in args.skip}


def section(bench):
    import numpy as np
    video, = clips.make(bench.args, clips.QUICK[:1])
    title = "E. From nothing to the first vector, 320x240, a process each"
    for threads in bench.args.threads:
        print(f"{title}, {threads} threads", file=sys.stderr)
        todo = commands(bench.args, video, threads)
        rows = {(peer, job): turns.new_row(peer, job, threads) for peer in todo for job in JOBS}
        company = []
        for _ in range(bench.args.rounds):
            for peer, command in todo.items():
                wall, peak = (rows[peer, job] for job in JOBS)
                if wall["error"]:
                    continue
                got = start(command, threads)
                if "error" in got:
                    wall["error"] = peak["error"] = got["error"]
                    if "(-3)" in got["error"] and peer.startswith("ours"):
                        wall["word"] = peak["word"] = "unsupported"
                    continue
                company.append(got["others"])
                for row, value in ((wall, got["ms"]), (peak, got["peak_mib"])):
                    turns.add(row, value, value, got["others"], got["cores"])
                wall["vectors"] = np.array([got["vector"]])
        rows = list(rows.values())
        table.check(rows, "towhee-like f32")
        bench.keep(title, rows, sum(company) / len(company) if company else None)
        bench.say(table.section(title, rows, KINDS, "wall ms and peak MiB of resident memory"))
