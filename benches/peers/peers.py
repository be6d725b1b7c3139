#!/usr/bin/env python3
"""Times libc4c beside the libraries that people use for the same: see README.md in this folder.

    pip install -r benches/peers/requirements.txt
    benches/peers/peers.py --library target/release/libc4c.so [--quick] [--only model decode ...] [--json FILE]

Prints tables in Markdown on stdout, progress on stderr.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECTIONS = ("model", "decode", "preprocess", "whole-path", "first-vector")
NOT_QUICK = ("96 images", "32 texts, padded to 77")
PATIENCE_S = 600  # of a whole run, for others to leave the machine alone


def child(config):
    """A process that serves one peer; what libraries print goes to stderr."""
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import turns
    name = config["section"]
    if name == "model":
        import model as section
    elif name == "preprocess":
        import preprocess as section
    else:
        import endtoend as section
    turns.serve(lambda: section.make(config), pipe, config.get("budget", turns.BUDGET_S))


class Bench:
    """One run: its options, its rows, its text."""

    def __init__(self, args):
        import machine
        import turns
        self.args = args
        self.config = {"cache": str(args.cache), "library": str(args.library), "weights": str(args.weights)}
        if args.quick:
            self.config["budget"] = 0.2
        self.patience = turns.Patience(0 if args.quick else PATIENCE_S)
        self.results = []
        self.about = machine.about() | {"load_before": os.getloadavg()[0], "rounds": args.rounds, "threads": args.threads,
                                        "quick": args.quick, "sections": {}, "seconds": {}}

    def say(self, text):
        print(text, flush=True)

    def turns(self, title, section, peers, kinds, jobs, threads, reference, unit="ms", extra=None):
        """A section of peers that take turns: measured, checked, printed."""
        import table
        import turns
        print(f"{title}, {threads} threads", file=sys.stderr)
        peers = [peer for peer in peers if peer not in self.args.skip]
        rows, others = turns.measure(self.config | {"section": section} | (extra or {}), peers, jobs, threads, self.args.rounds,
                                     self.patience)
        for row in rows:
            if row["error"] and row["peer"].startswith("ours") and "(-3)" in row["error"]:
                row["word"] = "unsupported"
        table.check(rows, reference)
        self.keep(title, rows, others)
        self.say(table.section(title, rows, kinds, unit))

    def keep(self, title, rows, others):
        self.results += [{"section": title} | row for row in rows]
        self.about["sections"].setdefault(title, []).append({"load_after": os.getloadavg()[0], "others_cores": others})

    def model(self):
        import model
        kinds = {peer: kind for peer, (kind, _) in model.PEERS.items()}
        left_out = {"torch.compile f32", "torch.compile bf16", "open_clip f32", "transformers f32", "ONNX Runtime f32"}
        left_out = left_out if self.args.quick else set()
        peers = [peer for peer in model.PEERS if peer not in left_out]
        for group in ("images", "texts"):
            jobs = [job for job in model.jobs_of(group) if not self.args.quick or job not in NOT_QUICK]
            for threads in self.args.threads:
                self.turns(f"A. Model, {group}", "model", peers, kinds, jobs, threads, model.REFERENCE, extra={"group": group})

    def decode(self):
        import clips
        clips.decode_section(self)

    def preprocess(self):
        import preprocess
        preprocess.section(self)

    def whole_path(self):
        import endtoend
        endtoend.section(self)

    def first_vector(self):
        import whole
        whole.section(self)


def headline(about):
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return (f"{about['cpu']} (family {about['cpu_family']}), {about['cores']} cores, {about['memory_gib']} GiB; "
            f"{' '.join(about['flags'])}; bf16 in hardware: {'yes' if about['bf16_hardware'] else 'no'}, "
            f"AMX: {'yes' if about['amx'] else 'no'}\n\nPython {about['python']}, {packages}; ours: {about['ours']}\n\n"
            f"Load average before: {about['load_before']:.1f}; rounds: {about['rounds']}\n")


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = HERE.parent.parent
    parser.add_argument("--library", type=Path, default=root / "target/release/libc4c.so", help="libc4c.so")
    parser.add_argument("--decode-time", type=Path, help="examples/decode_time, built; default: beside the library in examples/")
    parser.add_argument("--video", type=Path, help="what the test videos are made of; default: patterns with noise")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/c4c/peers", help="for weights and videos, 4 GB")
    parser.add_argument("--quick", action="store_true", help="fewer jobs, peers and rounds: 3 minutes, once the cache is filled")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--skip", nargs="+", default=[], metavar="PEER", help="a peer's name as in the tables")
    parser.add_argument("--threads", nargs="+", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--json", type=Path, help="all numbers")
    args = parser.parse_args()
    args.threads = args.threads or ([2] if args.quick else [1, 2])
    args.rounds = args.rounds or (1 if args.quick else 5)
    args.library, args.cache = args.library.resolve(), args.cache.resolve()
    args.decode_time = (args.decode_time or args.library.parent / "examples/decode_time").resolve()
    args.weights = args.cache / "checkpoint"
    return args


def main():
    args = options()
    if not args.library.exists():
        sys.exit(f"{args.library} is not there: make build, or --library")
    # In a process of its own, so that what it imports does not stay in memory.
    digest = subprocess.run([sys.executable, str(HERE / "prepare.py"), str(args.cache)], check=True, stdout=subprocess.PIPE,
                            text=True).stdout.split()[-1]
    bench = Bench(args)
    import ours
    bench.about |= {"weights": digest, "ours": ours.library_about(args.library)}
    bench.say("# libc4c and its peers\n\n" + headline(bench.about))
    start = time.monotonic()
    for name in args.only:
        begin = time.monotonic()
        getattr(bench, name.replace("-", "_"))()
        bench.about["seconds"][name] = round(time.monotonic() - begin)
        if args.json:
            args.json.write_text(json.dumps({"about": bench.about, "results": bench.results}, indent=1) + "\n")
    during = [entry["others_cores"] for entries in bench.about["sections"].values() for entry in entries
              if entry["others_cores"] is not None]
    took = ", ".join(f"{name} {seconds} s" for name, seconds in bench.about["seconds"].items())
    bench.say(f"Took {time.monotonic() - start:.0f} s ({took}); load average at the end: {os.getloadavg()[0]:.1f}; cores that other "
              f"processes kept busy meanwhile: {', '.join(f'{share:.2f}' for share in during) or 'unknown'}.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        child(json.loads(sys.argv[2]))
    else:
        main()
