"""Many threads on one model, and two models on one device: every answer is compared with that of a quiet model."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ours

from inputs import Context, Floats, distance, pictures, videos
from report import Report

THREADS = 16
# A batch of another size may take other kernels.
BOUND = 1e-4
WORDS = [
    "a ball moves to the right",
    "a red crescent rises",
    "a pink plus sign jumps up and down",
    "",
    "naïve café",
    "word " * 90,
]

Job = tuple[str, Callable[[ours.Model], Floats]]


def jobs(context: Context) -> list[Job]:
    """Texts, pictures, clips and videos of all kinds of sizes."""
    frames, paths = pictures(48), list(videos(context))[:4]
    made: list[Job] = [(f"text {i}", lambda m, t=text: m.texts([t])) for i, text in enumerate(WORDS)]  # type: ignore[misc]
    made += [(f"{n} texts", lambda m, n=n: m.texts((WORDS * 20)[:n])) for n in (3, 33, 100)]  # type: ignore[misc]
    made += [(f"{n} images", lambda m, n=n: m.images(frames[:n])) for n in (1, 2, 7, 12, 40)]  # type: ignore[misc]
    made += [(f"clip {i}", lambda m, i=i: m.frames(frames[i : i + 12])) for i in (0, 12, 30)]  # type: ignore[misc]
    made += [(path.name, lambda m, p=path: m.video(p, decode_threads=1)) for path in paths]  # type: ignore[misc]
    return made


def hammer(models: list[ours.Model], work: list[Job], expected: dict[str, Floats], seconds: float) -> dict[str, Any]:
    """Calls of all threads until the time is over: how many, the worst distance, and what went wrong."""
    calls, worst = [0] * THREADS, [0.0] * THREADS
    errors: list[str] = []
    until = time.monotonic() + seconds

    def thread(number: int) -> None:
        rng = random.Random(number)
        # One call at least, however long the first ones take.
        while not errors and (not calls[number] or time.monotonic() < until):
            name, job = rng.choice(work)
            try:
                found = job(models[number % len(models)])
                worst[number] = max(worst[number], distance(found, expected[name]))
                calls[number] += 1
            except Exception as error:
                errors.append(f"{name}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=thread, args=(i,)) for i in range(THREADS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return {"calls": sum(calls), "worst": max(worst), "errors": errors}


def left_over(model: ours.Model) -> dict[str, int]:
    """What a model still counts as its callers' when they have gone. It may drop a batch a moment after the answers."""
    for _ in range(20):
        stats = model.stats()
        left = {name: stats[name] for name in ("running", "queued_texts", "queued_images", "bytes_held") if stats[name]}
        if not left:
            break
        time.sleep(0.1)
    return left


def run(context: Context, report: Report) -> None:
    # The demonstration's model where every moment counts: a tower that is small leaves the most to queues and threads.
    work, demo = jobs(context), context.demo / "pytorch_model.bin"
    seconds = 10.0 if context.quick or not context.cuda else 60.0
    plans = [
        ("one model", 1, context.weights if context.cuda else demo, seconds),
        ("two models on one device", 2, demo, seconds / 4),
    ]
    for what, number, weights, time_for_it in plans:
        name = f"{THREADS} threads, {what}: 1 - cosine"
        with report.check(name):
            precision = context.best if context.cuda else "f32"
            models = [context.model(precision, weights) for _ in range(number)]
            expected = {job: np.array(do(models[0])) for job, do in work}
            found = hammer(models, work, expected, time_for_it)
            left = [left_over(model) for model in models]
            report.data(name, found | {"stats": [model.stats() for model in models]})
            for model in models:
                model.close()
            why = "; ".join(found["errors"]) or (f"left behind: {left}" if any(left) else "")
            is_so = not why and found["worst"] <= BOUND
            report.holds(name, is_so, f"{found['worst']:.1e}, {found['calls']} calls", f"at most {BOUND:g}", why)
