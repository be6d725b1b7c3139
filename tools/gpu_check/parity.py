"""Whether the device computes what PyTorch computes in single precision on the CPU, and is the one asked for."""

from __future__ import annotations

import json
import math
import subprocess

import numpy as np

from inputs import Context, distance, pictures, reference, strangers, texts, unit
from report import Report

BOUNDS = {"f32": 1e-6, "f16": 5e-4, "bf16": 5e-4}
# Recorded passes are the same kernels on the same numbers, in batches of another size perhaps.
GRAPHS = 1e-5


def selftest(context: Context, report: Report) -> None:
    """The demonstration's vectors, by the tool: texts, frames, videos, and captions that find their videos."""
    for precision in context.precisions:
        name = f"c4c selftest, {precision}"
        with report.check(name):
            how = ["--device", context.device, "--precision", precision, "--demo", str(context.demo)]
            told = subprocess.run([str(context.tool), "selftest", *how], capture_output=True, text=True, timeout=100)
            last = (told.stdout.strip().splitlines() or [""])[-1]
            report.holds(name, told.returncode == 0, last, "", told.stdout[-400:] + told.stderr[-400:])


def vectors(context: Context, report: Report) -> None:
    """Pictures and texts in all batch sizes against PyTorch."""
    # One text is none of the first ones of many.
    expected = {("text", n): reference(context, "text", n) for n in context.texts}
    pixels = pictures(max(context.images))
    rows = reference(context, "vision", len(pixels))
    expected |= {("vision", n): rows[:n] for n in context.images}
    for precision in context.precisions:
        name = f"{precision} against PyTorch"
        with report.check(name):
            try:
                model = context.model(precision)
            except context.c4c().UnsupportedError as error:
                report.not_run(name, str(error))
                continue
            with model:
                for tower, counts in (("vision", context.images), ("text", context.texts)):
                    far, lost = 0.0, 0
                    for n in counts:
                        found = model.images(pixels[:n]) if tower == "vision" else model.texts(texts(n))
                        far = max(far, distance(found, expected[tower, n]))
                        lost += strangers(found, expected[tower, n])
                    what = f"{' '.join(map(str, counts))} {'images' if tower == 'vision' else 'texts'}"
                    why = f"{lost} vectors are nearer to another input's than to their own" if lost else ""
                    far = math.inf if lost else far
                    report.at_most(f"{precision}, {what}: 1 - cosine", far, BOUNDS[precision], why)


def graphs(context: Context, report: Report) -> None:
    name = f"{context.best}, recorded passes or not: 1 - cosine"
    if not context.cuda:
        report.not_run(name)
        return
    with report.check(name), context.model(context.best) as on, context.model(context.best, cuda_graphs=False) as off:
        far = 0.0
        # Other inputs in the same sizes, so that what a recording read at first would show; often enough for each of two threads to
        # record and to replay.
        for turn in range(8):
            for n in (1, 5, 12):
                frames = pictures(96)[12 * turn : 12 * turn + n]
                far = max(far, distance(on.images(frames), off.images(frames)))
            for n in (1, 7, 32):
                words = texts(256)[32 * turn : 32 * turn + n]
                far = max(far, distance(on.texts(words), off.texts(words)))
        report.at_most(name, far, GRAPHS)


def retrieval(context: Context, report: Report) -> None:
    """The demonstration's videos by their captions, through the binding."""
    lines = [json.loads(line) for line in (context.demo / "captions.jsonl").read_text("utf-8").splitlines()]
    name = "captions that find their video first"
    with report.check(name), context.model("auto", context.demo / "pytorch_model.bin") as model:
        words = model.texts([line["caption"] for line in lines])
        videos = np.stack([model.video(context.demo / "videos" / line["video"]) for line in lines])
        found = int(((unit(words) @ unit(videos).T).argmax(1) == np.arange(len(lines))).sum())
        report.holds(name, found == len(lines), f"{found} of {len(lines)}", "all")


def choice(context: Context, report: Report) -> None:
    """Which device is taken, and what is said of one that cannot be had."""
    c4c, demo = context.c4c(), context.demo / "pytorch_model.bin"
    with report.check("c4c_cuda_devices"):
        there = c4c.cuda_devices()
        is_so = there.count > context.index if context.cuda else bool(there.count) != bool(there.reason)
        report.holds("c4c_cuda_devices", is_so, str(there.count), "", there.reason)
    with report.check("device auto"), context.model("auto", demo, device="auto") as model:
        info = model.info()
        expected = "cuda:0" if c4c.cuda_devices().count else "cpu"
        is_so = info["device"] == expected and bool(info["device_note"]) == (expected == "cpu")
        report.holds("device auto", is_so, info["device"], expected, info["device_note"])
    with report.check(f"device {context.device}"), context.model("auto", demo) as model:
        expected = context.torch_device
        report.holds(f"device {context.device}", model.info()["device"] == expected, model.info()["device"], expected)
    for device, error in (("cuda:4000", c4c.DeviceError), ("gpu", c4c.InvalidArgumentError)):
        name = f"device {device} is refused with the reason"
        with report.check(name):
            try:
                context.model("auto", demo, device=device).close()
                report.holds(name, False, "a model", error.__name__)
            except c4c.Error as refused:
                is_so = type(refused) is error and device in str(refused)
                report.holds(name, is_so, type(refused).__name__, error.__name__, str(refused))


def run(context: Context, report: Report) -> None:
    selftest(context, report)
    choice(context, report)
    retrieval(context, report)
    graphs(context, report)
    # Last, since PyTorch takes its time for this on a CPU.
    vectors(context, report)
