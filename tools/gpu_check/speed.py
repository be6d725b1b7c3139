"""How fast, beside PyTorch in the same process and in turns, and how far from what the machine allows.

Ours is given RGB bytes and strings and returns vectors in the host's memory: copies, normalising and tokenising are in
its time. PyTorch is given normalised tensors and token ids in half precision that lie on the device already, texts cut
to the longest of the batch, and its vectors are copied to the host.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ours
import prepare

import floor
from inputs import Context, distance, pictures, reference, texts, token_ids
from report import Report

Run = Callable[[], Any]
Jobs = Callable[[str, int], Run]
AIM_COMPILE, AIM_FLOOR = 1.5, 1.6
MOST_CALLS = 300
SMALL = 12  # where recorded passes are for
WARM = 8  # each of two threads records the second pass that it gets, and others compile


def our_jobs(model: ours.Model) -> Jobs:
    """Through C, on arrays that are made beforehand, as a native program has them."""

    def job(tower: str, n: int) -> Run:
        packed = model.c4c._frames.pack(pictures(n), None, "unknown", "unknown", 0) if tower == "vision" else None
        sentences = (ctypes.c_char_p * n)(*(text.encode() for text in texts(n)))
        function, given = ("c4c_embed_images", packed.array) if packed else ("c4c_embed_text", sentences)
        out = np.empty((n, model.dim), np.float32)

        def run() -> Any:
            model.call(function, given, n, None, out.ctypes.data, out.size)
            return out

        return run

    return job


def torch_jobs(context: Context, compile: bool) -> Jobs:
    """The original's code as it is, or by torch.compile, which records CUDA graphs of its own."""
    import clip_torch
    import torch

    dtype = torch.float16 if context.cuda else torch.float32
    towers = {
        tower: clip_torch.load(str(context.weights), tower, plain=compile).to(context.torch_device, dtype)
        for tower in ("vision", "text")
    }
    if compile:
        towers = {tower: torch.compile(model, dynamic=False, mode="reduce-overhead") for tower, model in towers.items()}

    def job(tower: str, n: int) -> Run:
        if tower == "vision":
            x = torch.from_numpy(prepare.normalised(pictures(n))).to(context.torch_device, dtype)
        else:
            x = torch.from_numpy(token_ids(texts(n))).to(context.torch_device)

        def run() -> Any:
            with torch.no_grad():
                return towers[tower](x).float().cpu().numpy()

        return run

    return job


def in_turns(runs: dict[str, Run], rounds: int, budget: float, warm: int) -> dict[str, float]:
    """The median of the rounds' medians, in seconds: a drift of the machine meets all alike."""
    for run in runs.values():
        for _ in range(warm):
            run()
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            times: list[float] = []
            end = time.perf_counter() + budget
            while not times or (time.perf_counter() < end and len(times) < MOST_CALLS):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            found[name].append(statistics.median(times))
    return {name: statistics.median(times) for name, times in found.items()}


def peers(context: Context, report: Report) -> dict[str, Jobs]:
    """By name, ours first; one that cannot be had is a row."""
    kinds: dict[str, Callable[[], Jobs]] = {
        f"ours {precision}": lambda precision=precision: our_jobs(context.model(precision))  # type: ignore[misc]
        for precision in dict.fromkeys((context.best, *context.precisions))
    }
    if context.cuda:
        kinds[f"ours {context.best}, no graphs"] = lambda: our_jobs(context.model(context.best, cuda_graphs=False))
    kinds["eager"] = lambda: torch_jobs(context, False)
    if context.cuda and not context.quick:
        kinds["compile"] = lambda: torch_jobs(context, True)
    found = {}
    for name, make in kinds.items():
        with report.check(f"loading {name}"):
            found[name] = make()
    return found


def models(context: Context, report: Report, rates: floor.Rates | None) -> None:
    made = peers(context, report)
    mine, lines = f"ours {context.best}", []
    jobs = [("vision", n) for n in context.images] + [("text", n) for n in context.texts]
    for tower, n in jobs:
        what = f"{n} {'image' if tower == 'vision' else 'text'}{'s' * (n > 1)}"
        with report.check(what):
            expected = reference(context, tower, n) if n <= SMALL else None
            runs = {}
            for name, make in made.items():
                if "no graphs" in name and n > SMALL:
                    continue
                with report.check(f"{what}, {name}"):
                    run = make(tower, n)
                    vectors = run()  # what compiles does so here
                    if expected is not None and distance(vectors, expected) > 1e-3:
                        raise ValueError(
                            f"its vectors are {distance(vectors, expected):.1e} from PyTorch's in single precision"
                        )
                    runs[name] = run
            if mine not in runs:
                continue
            took = in_turns(runs, *context.patience, warm=WARM if context.cuda else 1)
            report.data(what, took)
            bound = floor.floor_s(rates, tower, n) if rates else None
            lines.append((what, n, took, bound))
            rest = ", ".join(f"{name} {n / took[name]:.0f}/s" for name in ("eager", "compile") if name in took)
            report.holds(f"{what}, {mine}", True, f"{n / took[mine]:.0f}/s, {took[mine] * 1e3:.2f} ms", rest)
            if context.cuda and (tower, n) == ("vision", 12) and "compile" in took:
                ratio = took["compile"] / took[mine]
                report.aim(
                    "12 images beside torch.compile", ratio >= AIM_COMPILE, f"{ratio:.2f} x", f"aim: {AIM_COMPILE} x"
                )
            if bound and (tower, n) == ("vision", 384):
                ratio = took[mine] / bound[0]
                report.aim(
                    f"384 images beside the floor ({bound[1]})",
                    ratio <= AIM_FLOOR,
                    f"{ratio:.2f} x",
                    f"aim: {AIM_FLOOR} x",
                )
            report.data("table", speeds(list(made), lines, mine))


def speeds(
    names: list[str], lines: list[tuple[str, int, dict[str, float], tuple[float, str] | None]], mine: str
) -> str:
    """A second, by everybody; the bound in milliseconds, and our time by it."""
    columns = [name.replace("ours ", "") for name in names]
    head = f"{'a second':12}" + "".join(f"{name:>16}" for name in columns) + f"{'floor ms':>18}{'ours / floor':>14}"
    out = [head]
    for what, n, took, bound in lines:
        cells = "".join(f"{n / took[name]:16.1f}" if name in took else f"{'-':>16}" for name in names)
        end = (
            f"{bound[0] * 1e3:9.3f} {bound[1]:8}{took[mine] / bound[0]:14.2f}"
            if bound and mine in took
            else f"{'-':>18}{'-':>14}"
        )
        out.append(f"{what:12}{cells}{end}")
    return "\n".join(out)


def launches(context: Context, report: Report) -> None:
    """What one call puts on the GPU, by CUPTI, which sees the whole process."""
    for graphs in (True, False):
        name = f"launches for 12 images, {'recorded' if graphs else 'not recorded'}"
        if not context.cuda:
            report.not_run(name)
            continue
        with report.check(name), context.model(context.best, cuda_graphs=graphs) as model:
            import torch

            run = our_jobs(model)("vision", 12)
            for _ in range(WARM):
                run()
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
                run()
                torch.cuda.synchronize()
            trace = context.work / "trace.json"
            profiler.export_chrome_trace(str(trace))
            events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
            of = {
                kind: [e["name"] for e in events if e.get("cat") == kind]
                for kind in ("kernel", "gpu_memcpy", "gpu_memset", "cuda_runtime", "cuda_driver")
            }
            report.data(name, of)
            calls = [call for kind in ("cuda_runtime", "cuda_driver") for call in of[kind] if "Launch" in call]
            if of["kernel"]:
                figure = f"{len(of['kernel'])} kernels, {len(of['gpu_memcpy'])} copies"
                report.holds(
                    name, True, figure, f"{len(calls)} launches, {sum('Graph' in call for call in calls)} of graphs"
                )
            else:
                report.not_run(name, "not measured: the profiler sees no kernels")


def a_second(work: Callable[[int], Any], number: int, seconds: float) -> float:
    """How many calls of `work` a second so many threads make together."""
    done = [0] * number
    errors: list[Exception] = []
    until = time.perf_counter() + seconds

    def thread(i: int) -> None:
        try:
            while time.perf_counter() < until:
                work(i + done[i])
                done[i] += 1
        except Exception as error:
            errors.append(error)

    start = time.perf_counter()
    threads = [threading.Thread(target=thread, args=(i,)) for i in range(number)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if errors:
        raise errors[0]
    return sum(done) / (time.perf_counter() - start)


def callers(context: Context, report: Report) -> None:
    """Videos of 12 frames a second, by one caller and by 16 at a time."""
    seconds = 3.0 if context.cuda and not context.quick else 1.0
    clips = pictures(48).reshape(4, 12, 224, 224, 3)
    for number in (1, 16):
        name = f"videos of 12 frames, {number} caller{'s' * (number > 1)}"
        with report.check(name), context.model(context.best) as model:

            def embed(i: int, model: ours.Model = model) -> Any:
                return model.frames(clips[i % len(clips)])

            embed(0)
            report.holds(name, True, f"{a_second(embed, number, seconds):.0f}/s")


def run(context: Context, report: Report) -> None:
    rates = None
    if context.cuda:
        with report.check("the machine's rates"):
            rates = floor.measure(context.torch_device)
            report.data("rates", vars(rates))
            figure = f"{rates.flops / 1e12:.0f} TFLOP/s in half precision"
            report.holds(
                "the machine's rates", True, figure, f"{rates.memory / 1e9:.0f} GB/s, up {rates.upload / 1e9:.0f} GB/s"
            )
    else:
        report.not_run("the machine's rates")
    launches(context, report)
    callers(context, report)
    # Last, since a compiler may use up the time.
    models(context, report, rates)
