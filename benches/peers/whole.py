"""Section E: a process from nothing to the first vector of the small file: wall time and peak resident memory."""
import json
import os
import subprocess
import sys
import tempfile
import time
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


def start(command, threads):
    """{"ms", "peak_mib", "vector"} or {"error"} of one process; the clock runs from the fork to the exit."""
    with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile("w+", errors="replace") as err:
        begin, busy = time.perf_counter(), machine.busy()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   env=os.environ | {"OMP_NUM_THREADS": str(threads)})
        _, status, usage = os.wait4(process.pid, 0)
        ms = (time.perf_counter() - begin) * 1000
        process.returncode = os.waitstatus_to_exitcode(status)
        others = max(0.0, (machine.busy() - busy - usage.ru_utime - usage.ru_stime) * 1000 / ms)
        out.seek(0), err.seek(0)
        if process.returncode:
            said = err.read().strip().splitlines()
            return {"error": f"status {process.returncode}; {said[-1][:300] if said else 'nothing on stderr'}"}
        cores = (usage.ru_utime + usage.ru_stime) * 1000 / ms
        return {"ms": ms, "peak_mib": usage.ru_maxrss / 1024, "others": others, "cores": cores,
                "vector": json.loads(out.read().strip().splitlines()[-1])}


def commands(args, video, threads):
    def script(name):
        return [sys.executable, str(HERE / "first" / name), str(args.cache), str(video), str(threads)]
    program = build(args)
    found = {"towhee-like f32": script("towhee.py"), "transformers + PyAV f32": script("transformers_pyav.py"),
             "ONNX Runtime int8, without torch": script("onnx_int8.py")}
    for precision in ("f32", "bf16", "int8"):
        found["ours " + precision] = [str(program), str(args.weights), str(video), str(ours.PRECISIONS[precision]), str(threads)]
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
