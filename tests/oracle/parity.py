#!/usr/bin/env python3
"""Compares libc4c with an oracle: texts, frames given as pixels, and video files.

    parity.py --oracle reference.py --merges bpe_simple_vocab_16e6.txt.gz --library target/release/libc4c.so \
              --weights checkpoint.bin [VIDEO...]

The oracle is a Python module with `Clip4ClipReference` and `BpeTokenizer`; videos are decoded whole by PyAV and sampled
by the oracle. Prints 1 - cosine; fails when a figure is above its bound. Needs torch, numpy, av, and what the oracle needs.
"""
import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "benches/peers"))
from ours import Model  # noqa: E402

TEXTS = ["a man is riding a motorcycle", "kids feeding and playing with the horse", "a dog runs on the beach",
         "someone is cooking pancakes in a pan", "two people play tennis", "", "the quick brown fox " * 20,
         "naïve café — “quoted” ﬁne", "a car drives through snow & ice at night", "12 monkeys, 3.14 pies!"]


def load_module(path):
    spec = importlib.util.spec_from_file_location("oracle", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def distance(a, b):
    """1 - cosine in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return 1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def decode(path):
    """Every frame of the best video stream as RGB."""
    import av
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_type = "AUTO"
        return [f.to_ndarray(format="rgb24") for f in container.decode(stream)]


def state_dict(path):
    import torch
    with open(path, "rb") as f:
        if f.read(2) == b"PK":
            return torch.load(path, map_location="cpu", weights_only=True)
    from safetensors.torch import load_file
    return load_file(path)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("oracle", "merges", "library", "weights"):
        ap.add_argument("--" + name, required=True)
    ap.add_argument("videos", nargs="*")
    a = ap.parse_args()
    oracle = load_module(a.oracle)
    reference = oracle.Clip4ClipReference(state_dict(a.weights))
    tokenizer = oracle.BpeTokenizer(a.merges)
    model = Model(a.library, a.weights)
    failed = False

    def report(what, worst, bound):
        nonlocal failed
        failed |= not worst <= bound
        print(f"{what:58} {worst:9.2e}  (bound {bound:g}){'' if worst <= bound else '  TOO FAR'}")

    expected = np.stack([reference.operator_text(tokenizer, t) for t in TEXTS])
    report(f"{len(TEXTS)} texts, worst", distance(model.texts(TEXTS), expected).max(), 1e-6)
    rng = np.random.default_rng(7)
    for h, w in ((240, 320), (360, 202), (1080, 1920), (224, 224), (37, 50)):
        noise = rng.integers(0, 256, (12, h, w, 3), np.uint8)
        ours = model.frames(noise)
        report(f"12 frames of noise, {w}x{h}", distance(ours, reference.operator_video(noise)), 1e-6)
    for path in a.videos:
        frames = decode(path)
        picked = [frames[i] for i in oracle.uniform_indices(len(frames), 12)]
        expected = reference.operator_video(picked)
        name = path.rsplit("/", 1)[-1]
        report(f"{name}: its frames as pixels", distance(model.frames(picked), expected), 1e-6)
        report(f"{name}: by path ({len(frames)} frames)", distance(model.video(path), expected), 1e-4)
    model.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())
