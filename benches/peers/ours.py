"""libc4c for the comparisons here and in tests/oracle: the Python binding, with the library named. Needs numpy only.

    with ours.Model("target/release/libc4c.so", "pytorch_model.bin", precision="bf16", threads=2) as model:
        model.images(frames)       # [n, h, w, 3] bytes -> [n, 512] floats
        model.frames(frames)       # the same as one video -> [512]
        model.texts(["a dog"])     # [n, 512]
        model.video("dog.mp4")     # [512]
        model.score(texts, frames) # the head's own -> [n]
        model.stats()              # c4c_stats as a dictionary
"""
import dataclasses
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings/python/src"))

# C4C_PRECISION_*, for programs in C.
NUMBERS = {"f32": 1, "bf16": 2, "int8": 4}


def binding(library):
    """The package c4c with this library; a process has one."""
    path = str(Path(library).resolve())
    os.environ["C4C_LIBRARY"] = path
    import c4c
    if c4c.library_path != path:
        raise RuntimeError(f"{c4c.library_path} is loaded already, not {path}")
    return c4c


class Model:
    """One model. `more` are further arguments of c4c.Model."""

    def __init__(self, library, weights, precision="f32", threads=0, modality="both", **more):
        self.c4c = binding(library)
        self.model = self.c4c.Model(weights, precision=precision, num_threads=threads, modality=modality, **more)
        self.dim, self.threads = self.model.dim, threads
        self.texts, self.images, self.frames = self.model.embed_text, self.model.embed_images, self.model.embed_frames
        self.score, self.close = self.model.score, self.model.close

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def images_i420(self, frames):
        """`frames`: [h * 3 / 2, w] bytes each, Y above U above V, as PyAV's to_ndarray() makes of yuv420p."""
        return self.model.embed_images(frames, "i420")

    def video(self, path, decode_threads=None, color="tagged", seek="exact", num_frames=0):
        """`decode_threads` as many as the forward pass has, unless told otherwise."""
        threads = self.threads if decode_threads is None else decode_threads
        options = self.c4c.VideoOptions(num_frames=num_frames, color=color, seek=seek, decode_threads=threads)
        return self.model.embed_video(path, options)

    def call(self, name, *arguments):
        """A function of C on the model, with what lies between model and error as it is."""
        self.model._handle.call(getattr(self.c4c._library.lib, name), *arguments)

    def info(self):
        return dataclasses.asdict(self.model.info)

    def stats(self):
        return dataclasses.asdict(self.model.stats())

    def about(self):
        return self.c4c.build_info()


def library_about(library):
    """c4c_build_info of a library, in a line of JSON."""
    return json.dumps(binding(library).build_info())
