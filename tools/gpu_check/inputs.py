"""What all parts work on: the packed folder, a random ViT-B/32, pictures and texts, and what PyTorch makes of them."""

from __future__ import annotations

import functools
import gzip
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benches/peers"))
import ours  # noqa: E402
import prepare  # noqa: E402

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

SIDE, START, END = 224, 49406, 49407


@dataclass(frozen=True)
class Context:
    """One run. `work` has the unpacked libraries, and is where files may be made."""

    work: Path
    device: str
    quick: bool

    @property
    def cuda(self) -> bool:
        return self.device != "cpu"

    @property
    def index(self) -> int:
        """CUDA's number of the GPU."""
        return int(self.device.partition(":")[2] or 0)

    @property
    def torch_device(self) -> str:
        return f"cuda:{self.index}" if self.cuda else "cpu"

    @property
    def library(self) -> Path:
        return self.work / "lib/libc4c.so.0"

    @property
    def tool(self) -> Path:
        return self.work / "bin/c4c"

    @property
    def demo(self) -> Path:
        return self.work / "models/demo"

    @property
    def weights(self) -> Path:
        return self.work / "vit_b32.bin"

    @property
    def precisions(self) -> tuple[str, ...]:
        return ("f32", "f16", "bf16") if self.cuda else ("f32", "bf16")

    @property
    def best(self) -> str:
        """The precision that is chosen there by itself, where it is fast."""
        return "f16" if self.cuda else "bf16"

    @property
    def images(self) -> tuple[int, ...]:
        return ((1, 12, 96) if self.quick else (1, 12, 96, 384)) if self.cuda else (1, 12)

    @property
    def texts(self) -> tuple[int, ...]:
        return (1, 32, 256) if self.cuda else (1, 32)

    @property
    def patience(self) -> tuple[int, float]:
        """Rounds of a measurement, and seconds of each."""
        return (5, 0.12) if self.cuda and not self.quick else (2, 0.05) if self.cuda else (1, 0.05)

    def c4c(self) -> Any:
        """The Python binding, on the packed library."""
        return ours.binding(self.library)

    def model(self, precision: str, weights: Path | None = None, **more: Any) -> ours.Model:
        """libc4c with the random ViT-B/32 on the device, unless told otherwise."""
        device = more.pop("device", self.device)
        return ours.Model(self.library, str(weights or self.weights), precision, device=device, **more)


def make_weights(context: Context) -> None:
    """The random ViT-B/32 in CLIP4Clip's layout, whole or not there: 600 MB."""
    part = context.weights.with_suffix(".part")
    prepare.checkpoint(part)
    part.rename(context.weights)


@functools.cache
def pictures(n: int) -> Bytes:
    """`[n, 224, 224, 3]`, the size that the model takes, so that nobody scales."""
    return prepare.pictures(n)


def texts(n: int) -> list[str]:
    """Sentences of 8 to 32 token ids, or one of 12."""
    return list(prepare.texts(n))


@functools.cache
def _word_ids() -> dict[str, int]:
    """The ids of words that are one id each: the bytes, the bytes that end a word, then the merges in their order."""
    names = [chr(i) for i in range(ord("!"), ord("~") + 1)]
    ids = {name: 256 + i for i, name in enumerate(names)}
    with gzip.open(ROOT / "assets/bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        merges = file.read().splitlines()[1 : START - 511]
    ids.update(
        {line.replace(" ", "").removesuffix("</w>"): 512 + i for i, line in enumerate(merges) if line.endswith("</w>")}
    )
    return ids


def token_ids(sentences: list[str]) -> npt.NDArray[np.int64]:
    """`[n, longest]` ids, padded with zeros."""
    rows = [[START, *(_word_ids()[word] for word in sentence.split()), END] for sentence in sentences]
    out = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for to, row in zip(out, rows):
        to[: len(row)] = row
    return out


def reference(context: Context, tower: str, n: int) -> Floats:
    """`[n, 512]` by PyTorch in single precision on the CPU, of the first pictures or of the texts."""
    import clip_torch
    import torch

    model = clip_torch.load(str(context.weights), tower)
    with torch.inference_mode():
        if tower == "text":
            return np.asarray(model(torch.from_numpy(token_ids(texts(n)))).numpy())
        chunks = (pictures(n)[i : i + 32] for i in range(0, n, 32))
        return np.concatenate([model(torch.from_numpy(prepare.normalised(chunk))).numpy() for chunk in chunks])


def unit(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    rows = np.atleast_2d(np.asarray(vectors, np.float64))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def distance(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """The worst 1 - cosine of rows; by the difference of unit vectors, which is exact where 1 - cosine would round."""
    if np.shape(a) != np.shape(b):
        raise ValueError(f"vectors of shape {np.shape(a)} and {np.shape(b)}")
    return float((np.square(unit(a) - unit(b)).sum(1) / 2).max())


def strangers(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> int:
    """How many rows of `a` are nearer to another row of `b` than to their own. With random weights all vectors look
    alike, so that a small distance alone does not show that rows are in their places."""
    centre = unit(b).mean(0)
    nearest = (unit(unit(a) - centre) @ unit(unit(b) - centre).T).argmax(1)
    return int((nearest != np.arange(len(nearest))).sum()) if len(nearest) > 2 else 0


def videos(context: Context) -> Iterator[Path]:
    yield from sorted((context.demo / "videos").glob("*.mp4"))
