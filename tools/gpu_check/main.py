#!/usr/bin/env python3
"""Parity, speed and stress of libc4c on a GPU; gpu_check.sh, which unpacks the libraries, starts it.

Each part is a process of its own, so that one that fails, crashes or hangs does not hide the others. Progress goes to
stderr; tables come last, on stdout. Exits with 1 when a check failed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import report
from inputs import Context, make_weights

# part: (module, what --only calls it, most seconds, most seconds with --quick)
PARTS = {
    "about": ("about", None, 60, 30),
    "parity": ("parity", "parity", 150, 40),
    "input": ("device_input", "parity", 60, 20),
    "speed": ("speed", "bench", 240, 40),
    "held": ("held", "bench", 40, 15),
    "stress": ("stress", "stress", 150, 30),
    "memory": ("memory", "stress", 60, 20),
}
TOTAL_S, QUICK_S = 470, 115


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="the unpacked libraries")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for what can be run without a GPU")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and less time: two minutes instead of eight")
    parser.add_argument("--only", default="parity,bench,stress", help="some of parity,bench,stress")
    parser.add_argument("--json", type=Path, help="write every row and every figure there")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    kind, _, number = args.device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()) or args.device in ("cuda:", "cpu:"):
        parser.error(f"--device {args.device}: expected cpu, cuda or cuda:N")
    args.only = args.only.split(",")
    unknown = set(args.only) - {only for _, only, _, _ in PARTS.values()}
    if unknown:
        parser.error(f"--only {','.join(sorted(unknown))}: expected some of parity,bench,stress")
    return args


def run_part(part: str, seconds: float, rows: Path) -> None:
    """The part in a process of its own; how it ended, where that was not well, is a row too."""
    print(f"{part}: at most {seconds:.0f} s", file=sys.stderr, flush=True)
    started = time.monotonic()
    command = [sys.executable, __file__, *sys.argv[1:], "--part", part]
    child = subprocess.Popen(command, start_new_session=True)
    try:
        status = child.wait(max(seconds, 1))
        how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
    except subprocess.TimeoutExpired:
        status, how = 1, f"did not end within {seconds:.0f} s"
    finally:
        # What it started, such as compilers, goes with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if status:
        done = [row.name for row in report.read(rows)[0] if row.part == part]
        after = f"after `{done[-1]}`" if done else "before its first check"
        report.Report(rows, part).row("the whole part", report.FAILED, "", "", f"{how}, {after}; see stderr")
    print(f"{part}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    args = options()
    context, rows = Context(args.work, args.device, args.quick), args.work / "rows.jsonl"
    if args.part:
        importlib.import_module(PARTS[args.part][0]).run(context, report.Report(rows, args.part))
        return 0
    started = time.monotonic()
    rows.unlink(missing_ok=True)
    with report.Report(rows, "about").check("a random checkpoint"):
        make_weights(context)
    for part, (_, only, most, quick) in PARTS.items():
        if only is not None and only not in args.only:
            continue
        left = (QUICK_S if args.quick else TOTAL_S) - (time.monotonic() - started)
        if left < 5:
            report.Report(rows, part).row("the whole part", report.FAILED, "no time left")
            continue
        run_part(part, min(left, quick if args.quick else most), rows)
    checks, data = report.read(rows)
    if args.json:
        everything = {"device": args.device, "quick": args.quick, "rows": [vars(row) for row in checks], "data": data}
        args.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    # The last of each part, which may have ended before it was done.
    for text in {entry["part"]: entry["value"] for entry in data if entry["name"] == "table"}.values():
        print(text + "\n")
    print(report.table(checks))
    failed = any(row.state == report.FAILED for row in checks)
    print(f"\n{report.summary(checks)}; {time.monotonic() - started:.0f} s on {args.device}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
