"""What no implementation can be faster than on this machine: its products at the rate of a large one, and its bytes at
the rate of a copy, both measured here."""

from __future__ import annotations

import math
from dataclasses import dataclass

import prepare

from inputs import SIDE, texts

PATCH, VISION, TEXT, LAYERS, DIM = 32, 768, 512, 12, 512
ELEMENT = 2  # bytes, in half precision


@dataclass(frozen=True)
class Rates:
    """Measured: operations a second of a product in half precision, bytes a second of a copy inside the device, and of
    one to it from pinned memory."""

    flops: float
    memory: float
    upload: float


def tower_flops(tokens: int, width: int, causal: bool) -> float:
    """Of the blocks' products, two operations each. Of the last block only one token is read, so that nothing but its
    keys and values need the others; what a causal mask hides is not counted."""
    seen = (tokens + 1) / 2 if causal else tokens
    block = tokens * (24 * width**2 + 4 * seen * width)
    last = tokens * 4 * width**2 + 20 * width**2 + 4 * tokens * width
    return (LAYERS - 1) * block + last


def image_flops() -> float:
    """8.23e9 for ViT-B/32."""
    patches = (SIDE // PATCH) ** 2
    return 2 * patches * 3 * PATCH**2 * VISION + tower_flops(patches + 1, VISION, False) + 2 * VISION * DIM


def text_flops(tokens: int) -> float:
    return tower_flops(tokens, TEXT, True) + 2 * TEXT * DIM


def weight_bytes(tower: str) -> int:
    """Of what a pass reads whole: all but the table of token embeddings."""
    shapes = [(name, shape) for name, shape, *_ in prepare.shapes() if name != "token_embedding.weight"]
    return ELEMENT * sum(
        math.prod(shape) for name, shape in shapes if name.startswith("visual.") == (tower == "vision")
    )


def floor_s(rates: Rates, tower: str, n: int) -> tuple[float, str]:
    """Seconds for n images or texts, and what bounds them. Copies may run beside products: the longest counts."""
    if tower == "vision":
        flops, uploaded = n * image_flops(), n * 3 * SIDE**2
    else:
        lengths = [len(text.split()) + 2 for text in texts(n)]
        flops, uploaded = sum(map(text_flops, lengths)), 8 * sum(lengths)
    bounds = {
        "products": flops / rates.flops,
        "memory": weight_bytes(tower) / rates.memory,
        "upload": uploaded / rates.upload,
    }
    longest = max(bounds, key=lambda name: bounds[name])
    return bounds[longest], longest


def measure(device: str) -> Rates:
    """The best of a few, since nothing can be faster than what was seen."""
    import torch

    def seconds(work: object, times: int) -> float:
        best = math.inf
        for _ in range(5):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(times):
                work()  # type: ignore[operator]
            end.record()
            end.synchronize()
            best = min(best, start.elapsed_time(end) / 1e3 / times)
        return best

    side, size = 8192, 1 << 30
    with torch.cuda.device(device):
        a, b = (torch.randn(side, side, device=device, dtype=torch.float16) for _ in range(2))
        out = torch.empty_like(a)
        flops = 2 * side**3 / seconds(lambda: torch.mm(a, b, out=out), 10)
        source, target = (torch.empty(size, device=device, dtype=torch.uint8) for _ in range(2))
        # A copy reads and writes.
        memory = 2 * size / seconds(lambda: target.copy_(source), 10)
        pinned = torch.empty(size // 8, dtype=torch.uint8, pin_memory=True)
        upload = pinned.numel() / seconds(lambda: target[: pinned.numel()].copy_(pinned, non_blocking=True), 5)
    return Rates(flops, memory, upload)
