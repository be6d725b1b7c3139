"""Processes that take turns: each loads one peer with one number of threads and runs a job when it is told to.

All but the one whose turn it is are stopped (SIGSTOP), so that no pool of theirs spins beside it. The parent's end is
`Turns`; the child's is `serve`. They speak lines of JSON.
"""
import base64
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

HERE = Path(__file__).resolve().parent
LIMIT_S = 900    # one turn, with what a peer compiles at its first
BUDGET_S = 0.5   # of timed calls in one turn, unless told otherwise; at least one, at most MOST
MOST = 15
QUIET_S = 30     # the longest wait for others to finish
LONG_S = 10      # a job that takes longer is timed once, in the first round


def encode(vectors):
    return {"shape": vectors.shape, "data": base64.b64encode(vectors.astype("<f4").tobytes()).decode()}


def decode(told):
    import numpy as np
    return np.frombuffer(base64.b64decode(told["data"]), "<f4").reshape(told["shape"])


class Timed:
    """What a job returns that knows its time better than the clock around it."""

    def __init__(self, ns, vectors):
        self.ns, self.vectors = ns, vectors


def serve(make, pipe, budget):
    """Answers jobs on stdin until it closes. make() -> jobs(name) -> a function that does the job once."""
    jobs, ready = make(), {}
    pipe.write(json.dumps({"ready": True}) + "\n")

    def timed(run):
        start = time.perf_counter_ns()
        got = run()
        ns = time.perf_counter_ns() - start
        return (got.ns, got.vectors) if isinstance(got, Timed) else (ns, got)

    for line in sys.stdin:
        name = json.loads(line)["job"]
        try:
            first = name not in ready
            if first:
                run = jobs(name)
                warm, vectors = timed(run)
                # The first call may have compiled; where nothing compiles, a long one counts.
                if warm < LONG_S * 1e9 or not getattr(jobs, "compiles_nothing", False):
                    warm, vectors = timed(run)
                ready[name] = run, warm
            run, warm = ready[name]
            if not first and warm < 1e9:
                timed(run)
            cpu, start, ns = time.process_time(), time.perf_counter(), []
            if first and warm >= LONG_S * 1e9:
                ns.append(warm)
            while not ns or (len(ns) < MOST and time.perf_counter() - start + warm / 1e9 < budget):
                took, vectors = timed(run)
                ns.append(took)
            used = (time.process_time() - cpu) / max(time.perf_counter() - start, 1e-3)
            answer = {"ns": ns, "cores": used, "vectors": encode(vectors) if first and vectors is not None else None}
        except Exception as error:
            print(f"{name}: {error!r}", file=sys.stderr)
            answer = {"error": f"{type(error).__name__}: {error}"[:400]}
        pipe.write(json.dumps(answer) + "\n")


class Peer:
    """A child, stopped between its turns."""

    def __init__(self, config, peer, threads):
        self.log = tempfile.TemporaryFile("w+", errors="replace")
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_CACHE_DIR": config["cache"] + "/inductor"}
        command = [sys.executable, str(HERE / "peers.py"), "--serve", json.dumps(config | {"peer": peer, "threads": threads})]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=environment)
        self.error = None
        self.ask(None)

    def ask(self, job):
        """The child's answer, or {"error": why there is none}."""
        if self.error:
            return {"error": self.error}
        try:
            self.process.send_signal(signal.SIGCONT)
            if job is not None:
                self.process.stdin.write(json.dumps({"job": job}) + "\n")
                self.process.stdin.flush()
            # A line is all that waits in the pipe, so select sees what readline would.
            if not select.select([self.process.stdout], [], [], LIMIT_S)[0]:
                raise TimeoutError(f"no answer within {LIMIT_S} s")
            line = self.process.stdout.readline()
            if not line:
                raise EOFError(f"ended with status {self.process.wait()}")
            self.process.send_signal(signal.SIGSTOP)
            return json.loads(line)
        except Exception as error:
            self.error = f"{error}; {self.last_words()}"
            self.close()
            return {"error": self.error}

    def last_words(self):
        self.log.seek(0)
        lines = [line for line in self.log.read().splitlines() if line.strip()]
        return lines[-1][:300] if lines else "nothing on stderr"

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Patience:
    """Seconds that may be spent on waiting for others to finish."""

    def __init__(self, seconds):
        self.left = seconds

    def wait(self):
        start = time.monotonic()
        machine.wait_for_quiet(min(QUIET_S, self.left))
        self.left -= time.monotonic() - start


def turn(child, job, patience):
    """A child's answer and how many cores others kept busy meanwhile; the quieter of two where the first was disturbed."""
    def ask():
        watch = machine.Company(child.process.pid)
        return child.ask(job), watch.others()

    answer, others = ask()
    if "ns" in answer and others is not None and others > machine.DISTURBED and patience.left > 0:
        patience.wait()
        again, less = ask()
        if less is not None and less < others and "ns" in again:
            # Vectors come with the first answer only.
            return again | {"vectors": answer["vectors"]}, less
    return answer, others


def measure(config, peers, jobs, threads, rounds, patience):
    """Rows {"peer", "job", "threads", "ms": [a median per round], "others": [cores that others kept busy meanwhile],
    "min_ms", "cores": that it kept busy itself, "error", "vectors"}, and the mean of "others"."""
    rows = {(peer, job): new_row(peer, job, threads) for job in jobs for peer in peers}
    children, company = {}, []
    try:
        for peer in peers:
            children[peer] = Peer(config, peer, threads)
            print(f"  {peer}: {'fails: ' + children[peer].error if children[peer].error else 'ready'}", file=sys.stderr)
        for number in range(rounds):
            for (peer, job), row in list(rows.items()):
                if row["error"] or (row["min_ms"] or 0) > LONG_S * 1e3:
                    continue
                answer, others = turn(children[peer], job, patience)
                if "error" in answer:
                    row["error"] = answer["error"]
                    if not children[peer].error:
                        print(f"  {peer}, {job}: fails: {row['error']}", file=sys.stderr)
                    continue
                ms = [ns / 1e6 for ns in answer["ns"]]
                add(row, statistics.median(ms), min(ms), others, answer["cores"])
                company.append(others)
                if answer.get("vectors"):
                    row["vectors"] = decode(answer["vectors"])
            print(f"  round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    finally:
        for child in children.values():
            child.close()
    known = [share for share in company if share is not None]
    return list(rows.values()), statistics.mean(known) if known else None


def new_row(peer, job, threads):
    return {"peer": peer, "job": job, "threads": threads, "ms": [], "others": [], "min_ms": None, "cores": 0, "error": None,
            "vectors": None}


def add(row, ms, least, others, cores):
    """One round's result."""
    row["ms"].append(ms)
    row["others"].append(others)
    row["min_ms"] = min(least, row["min_ms"] or least)
    row["cores"] = max(row["cores"], cores)
