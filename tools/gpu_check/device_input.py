"""Frames in the GPU's memory and videos that the GPU decodes, against the host's memory and decoder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import numpy as np
import ours

from about import smi
from inputs import ROOT, Bytes, Context, Floats, distance
from report import Report

# Both scale a byte here or there the other way.
BOUND = 1e-4
FRAMES, HEIGHT, WIDTH = 12, 360, 640


def smooth(height: int, width: int, channels: int, seed: int) -> Bytes:
    """`[FRAMES, height, width, channels]` of waves: on noise one pixel more or less would weigh as nowhere else."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / height
    waves = [
        [np.sin(rng.uniform(2, 20) * x + rng.uniform(2, 20) * y + rng.uniform(0, 6)) for _ in range(channels)]
        for _ in range(FRAMES)
    ]
    return np.ascontiguousarray(np.moveaxis(127.5 + 127 * np.asarray(waves), 1, -1).astype(np.uint8))


def on_device(model: ours.Model, context: Context, planes: list[Bytes], format: str, late: bool) -> Floats:
    """Vectors of frames in the GPU's memory, `planes` each `[FRAMES, ...]`. `late`: they are written on a stream of
    their own, after a while, and the library is told which."""
    import torch

    stream = torch.cuda.Stream(context.torch_device) if late else torch.cuda.default_stream(context.torch_device)
    host = [torch.from_numpy(plane).pin_memory() for plane in planes]
    with torch.cuda.stream(stream):
        there = [torch.zeros_like(plane, device=context.torch_device) for plane in host]
        stream.synchronize()
        if late:
            torch.cuda._sleep(100_000_000)
        for to, plane in zip(there, host):
            to.copy_(plane, non_blocking=True)
    pictures = [tuple(plane[i] for plane in there) for i in range(FRAMES)]
    made = [
        model.c4c.Frame(picture if len(picture) > 1 else picture[0], format, stream=stream.cuda_stream)
        for picture in pictures
    ]
    return np.asarray(model.model.embed_images(made))


def frames(context: Context, report: Report) -> None:
    rgb = smooth(HEIGHT, WIDTH, 3, 1)
    luma, chroma = np.ascontiguousarray(smooth(HEIGHT, WIDTH, 1, 2)[..., 0]), smooth(HEIGHT // 2, WIDTH // 2, 2, 3)
    for kind, planes in (("rgb24", [rgb]), ("nv12", [luma, chroma])):
        for late in (False, True):
            name = f"{kind} in GPU memory{', late on a stream' if late else ''}: 1 - cosine"
            if not context.cuda:
                report.not_run(name)
                continue
            with report.check(name), context.model("f32") as model:
                host = list(planes[0]) if len(planes) == 1 else list(zip(*planes))
                expected = model.model.embed_images(host, kind)
                report.at_most(name, distance(on_device(model, context, planes, kind, late), expected), BOUND)


def decoder_seen(decode: Callable[[], object]) -> bool:
    """Whether the GPU's decoder works while `decode` is called again and again, as the driver tells."""
    ended = threading.Event()

    def keep_on() -> None:
        while not ended.is_set():
            decode()

    thread = threading.Thread(target=keep_on)
    thread.start()
    try:
        return any((smi("utilization.decoder") or ["0"])[0] not in ("0", "[N/A]") for _ in range(10))
    finally:
        ended.set()
        thread.join()


def decoded(context: Context, report: Report) -> None:
    c4c = context.c4c()
    for path in sorted((ROOT / "videos").glob("*.mp4")):
        name = f"{path.name} decoded by the GPU: 1 - cosine"
        if not context.cuda:
            report.not_run(name)
            continue
        with report.check(name), context.model("f32") as model:
            options = c4c.VideoOptions(hwaccel="cuda", hwaccel_device=context.index)
            try:
                found = distance(model.model.embed_video(path, options), model.model.embed_video(path))
            except (c4c.DeviceError, c4c.UnsupportedError) as error:
                report.not_run(name, str(error))
                continue
            # What the GPU cannot decode, the CPU does without a word.
            if decoder_seen(partial(model.model.embed_video, path, options)):
                report.at_most(name, found, BOUND)
            else:
                report.not_run(name, f"the GPU's decoder was not seen at work; 1 - cosine {found:.1e}")


def run(context: Context, report: Report) -> None:
    frames(context, report)
    decoded(context, report)
