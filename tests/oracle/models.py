#!/usr/bin/env python3
"""Loads every layout, head and architecture, compares with an oracle, and prints the tables of docs/models.md.

    models.py --oracle reference.py --library target/release/libc4c.so > docs/models.md

Needs torch, safetensors, numpy, and what the oracle needs. Takes about a quarter of an hour on two cores.
"""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import generator
import layouts
from parity import TEXTS, distance, load_module

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent.parent / "benches/peers"
sys.path.insert(0, str(PEERS))
from ours import Model  # noqa: E402

F32, BF16, INT8 = "f32", "bf16", "int8"
SPECIAL = TEXTS + ["a red bus", "snow on a mountain"]


PARITY = """## Parity

12 texts, 12 single pictures (8×8 blocks of random colours) and one video of 12 frames (moving gradients) at the model's own
size, seeded random weights, against an independent implementation in PyTorch. Differences are those of unit vectors. bf16 and int8 are
also compared after the mean of its 12 vectors is taken away: random weights make all vectors look alike (the centred ones
are 0.04 to 0.1 long), which hides errors before and magnifies them after.
"""

LOADING = """## Loading

Time to a ready model in a fresh process, best of three taken in turn, file in the page cache, libraries loaded before.
PyTorch: reading the file and copying every tensor into a float32 model, without building that model.
"""


def centred(x):
    return np.asarray(x, np.float64) - np.mean(x, axis=0, dtype=np.float64)


def blocks(k, side):
    """8×8 blocks of random colours: as different from each other as pictures are."""
    colours = np.random.default_rng(k).integers(0, 256, (8, 8, 3), np.uint8)
    return np.kron(colours, np.ones((side // 8, side // 8, 1), np.uint8))


class Comparison:
    """One checkpoint against the oracle. Frames have the model's size, so that resizing has no part in it."""

    def __init__(self, oracle, tokenizer, library, folder, layout, arch, head):
        self.path, weights = layouts.write(folder, layout, arch, head)
        self.library, self.head = library, head
        self.reference = oracle.Clip4ClipReference(weights)
        side = self.reference.resolution
        self.frames = [generator.frame(k, side, side) for k in range(12)]
        self.pictures = [blocks(k, side) for k in range(12)]
        self.text = layout != "hf-vision"
        self.video = layout != "hf-text"
        if self.text:
            self.expected_texts = np.stack([self.reference.operator_text(tokenizer, t) for t in SPECIAL])
        if self.video:
            raw = self.reference.frame_embeddings(self.reference.preprocess(self.frames))
            # One at a time: for 3d patches a picture is a clip of one.
            alone = [self.reference.frame_embeddings(self.reference.preprocess([p])) for p in self.pictures]
            self.expected_images = torch.cat(alone).numpy()
            pool = {"seqTransf": self.reference.seq_transf, "seqLSTM": self.reference.seq_lstm}.get(head, self.reference.mean_p)
            self.expected_video = None if head == "tightTransf" else pool(raw).numpy()
            if self.text:
                texts = torch.from_numpy(self.expected_texts)
                if head == "tightTransf":
                    self.expected_scores = np.array([self.reference.tight_transf_logit(t, raw).item() for t in texts])
                else:
                    scale = self.reference.sd["clip.logit_scale"].float().exp()
                    unit = texts / texts.norm(dim=1, keepdim=True)
                    self.expected_scores = (scale * unit @ torch.from_numpy(self.expected_video)).numpy()

    def row(self, precision):
        """Worst |difference| of unit vectors, 1 - cosine, the same of centred vectors, |difference| of scores."""
        model = Model(self.library, self.path, precision=precision)
        deltas, distances, centred_distances, scores = [], [], [], "–"

        def compare(ours, expected):
            unit = expected / np.linalg.norm(expected, axis=-1, keepdims=True)
            deltas.append(np.abs(ours - unit).max())
            distances.append(np.max(distance(ours, unit)))
            if ours.ndim == 2:
                centred_distances.append(np.max(distance(centred(ours), centred(unit))))

        if self.text:
            compare(model.texts(SPECIAL), self.expected_texts)
        if self.video:
            compare(model.images(self.pictures), self.expected_images)
            if self.expected_video is not None:
                compare(model.frames(self.frames), self.expected_video)
        if self.text and self.video:
            scores = f"{np.abs(model.score(SPECIAL, self.frames) - self.expected_scores).max():.1e}"
        model.close()
        return max(deltas), max(distances), max(centred_distances), scores


def parity(oracle, tokenizer, library):
    print("| architecture | layout | head | f32: max \\|Δ\\| | f32: 1 − cosine | f32: score \\|Δ\\| | bf16: 1 − cosine | bf16: centred | int8: 1 − cosine | int8: centred |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    cases = [("small", layout, head) for layout in layouts.LAYOUTS
             for head in (generator.HEADS if layout in layouts.WITH_HEADS else ("meanP",))]
    cases += [(arch, "clip4clip", head) for arch in ("b32", "b16") for head in generator.HEADS]
    cases += [("b32", layout, "meanP") for layout in ("openai", "hf", "openclip")]
    cases += [("l14", "clip4clip", head) for head in ("meanP", "seqTransf")] + [("l14_336", "hf", "meanP")]
    worst = {"f32": 0.0, "score": 0.0, "bf16": 0.0, "int8": 0.0}
    for arch, layout, head in cases:
        with tempfile.TemporaryDirectory() as folder:
            case = Comparison(oracle, tokenizer, library, Path(folder), layout, arch, head)
            delta, cosine, _, score = case.row(F32)
            _, raw, rounded, _ = case.row(BF16)
            _, raw8, rounded8, _ = case.row(INT8)
        print(f"| {arch} | {layout} | {head} | {delta:.1e} | {cosine:.1e} | {score} | {raw:.1e} | {rounded:.1e} "
              f"| {raw8:.1e} | {rounded8:.1e} |", flush=True)
        worst["f32"] = max(worst["f32"], cosine)
        worst["bf16"] = max(worst["bf16"], rounded)
        worst["int8"] = max(worst["int8"], rounded8)
        if score != "–":
            worst["score"] = max(worst["score"], float(score))
    print(f"\nWorst: f32 1 − cosine {worst['f32']:.1e}, score {worst['score']:.1e}, bf16 centred {worst['bf16']:.1e}, int8 "
          f"{worst['int8']:.1e}.\n")


def retrieval(library):
    """Whether bf16 and int8 rank as f32 does: 200 texts against 200 clips of 12 frames."""
    words = ["red", "blue", "green", "small", "large"], ["dog", "cat", "car", "boat", "bird", "child", "horse", "tree"], \
        ["runs", "sleeps", "turns", "falls", "sings"]
    texts = [f"a {a} {n} {v}" for a in words[0] for n in words[1] for v in words[2]][:200]
    rng = np.random.default_rng(5)
    with tempfile.TemporaryDirectory() as folder:
        path, _ = layouts.write(Path(folder), "clip4clip", "b32")
        models = [Model(library, path, precision=p) for p in (F32, BF16, INT8)]
        clips = [[], [], []]
        for _ in range(200):
            base = rng.integers(0, 256, (8, 8, 3), np.uint8)
            frames = [np.kron(np.roll(base, k, axis=1), np.ones((28, 28, 1), np.uint8)) for k in range(12)]
            for model, out in zip(models, clips):
                out.append(model.frames(frames))
        words = [model.texts(texts) for model in models]
    # Random weights make all vectors of a kind alike; what is left after the mean decides the order.
    scores = [centred(t) @ centred(np.stack(v)).T for t, v in zip(words, clips)]
    order = [np.argsort(-s, axis=1) for s in scores]
    print("200 texts × 200 clips of random frames (12 pictures of 8×8 random blocks that move):\n")
    for name, other in zip(("bf16", "int8"), order[1:]):
        top1 = np.mean(order[0][:, 0] == other[:, 0])
        top5 = np.mean([len(set(a[:5]) & set(b[:5])) / 5 for a, b in zip(order[0], other)])
        print(f"* {name}: the first clip is the same for {top1:.1%} of the texts, of the first five {top5:.1%} are.")
    print()


LOAD = """
import ctypes, re, sys, time
path, how = sys.argv[1:3]
if how.startswith("c4c"):
    sys.path.insert(0, sys.argv[3])
    from ours import Model
    ctypes.CDLL(sys.argv[4])
    start = time.perf_counter()
    model = Model(sys.argv[4], path, precision="bf16" if how == "c4c-bf16" else "f32")
else:
    import torch
    from safetensors.torch import load_file
    sys.path.insert(0, sys.argv[3])
    start = time.perf_counter()
    if how == "safetensors":
        weights = load_file(path)
    elif how == "jit":
        weights = torch.jit.load(path, map_location="cpu").state_dict()
    else:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    # load_state_dict into a float32 model of the same tensors: one copy each.
    model = {k: torch.empty(v.shape, dtype=torch.float32) for k, v in weights.items() if hasattr(v, "shape")}
    for k in model:
        model[k].copy_(weights[k])
seconds = time.perf_counter() - start
print(seconds, int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


def loading(library):
    """Each in a process of its own, in turn; the best of three."""
    print("| layout, ViT-B/32 | c4c_create f32: ms, peak MiB | bf16: ms, peak MiB | PyTorch: ms, peak MiB |")
    print("|---|---|---|---|")
    for layout, how in (("clip4clip", "torch"), ("legacy", "torch"), ("openai", "jit"), ("openclip", "safetensors"),
                        ("hf", "safetensors")):
        with tempfile.TemporaryDirectory() as folder:
            path, _ = layouts.write(Path(folder), layout, "b32")
            best = {}
            for _ in range(3):
                for kind in ("c4c", "c4c-bf16", how):
                    output = subprocess.run([sys.executable, "-c", LOAD, str(path), kind, str(PEERS), str(library)],
                                            capture_output=True, check=True, text=True).stdout
                    seconds, peak = map(float, output.split())
                    best[kind] = min(best.get(kind, (9e9, 0)), (seconds, peak))
        cells = " | ".join(f"{best[k][0] * 1e3:.0f}, {best[k][1]:.0f}" for k in ("c4c", "c4c-bf16", how))
        print(f"| {layout} | {cells} |", flush=True)
    print()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--oracle", required=True)
    ap.add_argument("--library", required=True)
    ap.add_argument("--only", choices=("parity", "retrieval", "loading"))
    a = ap.parse_args()
    oracle = load_module(a.oracle)
    tokenizer = oracle.BpeTokenizer(str(HERE.parent.parent / "assets/bpe_simple_vocab_16e6.txt.gz"))
    library = Path(a.library).resolve()
    if a.only is None:
        print((HERE / "models.head.md").read_text())
    if a.only in (None, "parity"):
        print(PARITY)
        parity(oracle, tokenizer, library)
    if a.only in (None, "retrieval"):
        print("## Retrieval in bf16 and int8\n")
        retrieval(library)
    if a.only in (None, "loading"):
        print(LOADING)
        loading(library)
    if a.only is None:
        print((HERE / "models.tail.md").read_text(), end="")


if __name__ == "__main__":
    main()
