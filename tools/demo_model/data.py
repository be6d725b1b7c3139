"""Videos of the synthetic world as training sees them: decoded and sampled by the library itself."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import torch
import world
from torch.nn import functional as F

import model

FRAMES = 12


class Videos:
    """A folder that make_videos.py wrote. `frames` is [videos, 12, 128, 128, 3] of bytes: the square that CLIP crops
    to."""

    def __init__(self, folder, decoder):
        self.folder = pathlib.Path(folder)
        with open(self.folder / "captions.jsonl", encoding="utf-8") as file:
            self.lines = [json.loads(line) for line in file]
        self.scenes = [scene(line["scene"]) for line in self.lines]
        store = self.folder / "frames.npy"
        if not store.exists():
            self._decode(decoder, store)
        self.frames = np.load(store, mmap_mode="r")

    def _decode(self, decoder, store):
        part = store.with_suffix(".part")
        shape = (len(self.lines), FRAMES, world.SIDE, world.SIDE, 3)
        out = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        names = "".join(f"{self.folder / 'videos' / line['video']}\n" for line in self.lines)
        (self.folder / "names").write_text(names)
        with (
            open(self.folder / "names") as stdin,
            subprocess.Popen([decoder], stdin=stdin, stdout=subprocess.PIPE) as process,
        ):
            for row in out:
                frames, height, width = np.frombuffer(process.stdout.read(12), "<u4")
                pictures = np.frombuffer(process.stdout.read(frames * height * width * 3), np.uint8)
                top, left = (height - world.SIDE) // 2, (width - world.SIDE) // 2
                pictures = pictures.reshape(frames, height, width, 3)
                row[:] = pictures[:, top : top + world.SIDE, left : left + world.SIDE]
        if process.returncode:
            sys.exit(f"{decoder} failed")
        out.flush()
        part.rename(store)


def scene(fields):
    things = {name: fields[name] and world.Thing(**fields[name]) for name in ("a", "b")}
    return world.Scene(**{**fields, **things})


def pixels(squares, resolution):
    """[n, 128, 128, 3] bytes -> what the image tower reads. PyTorch's bicubic filter and Pillow's agree to a
    rounding."""
    x = torch.as_tensor(squares).permute(0, 3, 1, 2)
    # A CPU's filter for bytes is many times faster; a GPU has none.
    x = x.float() if x.is_cuda else x
    x = F.interpolate(x, size=resolution, mode="bicubic", antialias=True)
    x = x.round().clamp(0, 255) if x.is_cuda else x
    return model.normalised(x.permute(0, 2, 3, 1))
