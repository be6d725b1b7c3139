"""What calls take and give besides arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._abi import (
    Activation,
    Color,
    Head,
    HwAccel,
    Modality,
    Precision,
    Sampling,
    Seek,
    VideoFlag,
    c4c_info,
    c4c_stats,
    c4c_video_options,
)
from ._calls import microseconds
from ._frames import choice, unsigned

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class VideoOptions:
    """How a video is sampled and decoded.

    Attributes:
        num_frames: frames that make the embedding, at most 4096; "keyframes" and "fps" may find fewer. 0: 12.
        sampling: "uniform", `num_frames` frames evenly from the first to the last; "keyframes"; or "fps".
        fps: frames per second with "fps", else 0.
        seek: "exact", the very frames that a full decode would pick, or "approximate", by the duration that the file
            states.
        start: only frames shown from here on, in seconds from the first frame.
        end: only frames shown before this. None: to the end.
        color: "tagged", as the stream says, or "operator", BT.601 whatever it says, as Towhee's decoder did.
        apply_rotation: turn pictures as the file asks players to.
        allow_network: open http, https and rtsp URLs.
        strict_decode: a corrupt frame among those needed is an error.
        decode_threads: 0: one per core that the process may use.
        stream_index: None: the best video stream.
        max_pixels: the most pixels that a frame may have. 0: 8192 * 8192.
        hwaccel: what decodes: "none", the CPU, or "cuda", NVDEC of the GPU `hwaccel_device`.
        hwaccel_device: CUDA's number of that GPU, else 0.
    """

    num_frames: int = 0
    sampling: Sampling | str = Sampling.UNIFORM
    fps: float = 0.0
    seek: Seek | str = Seek.EXACT
    start: float = 0.0
    end: float | None = None
    color: Color | str = Color.TAGGED
    apply_rotation: bool = False
    allow_network: bool = False
    strict_decode: bool = False
    decode_threads: int = 0
    stream_index: int | None = None
    max_pixels: int = 0
    hwaccel: HwAccel | str = HwAccel.NONE
    hwaccel_device: int = 0

    def to_c(self) -> c4c_video_options:
        """The struct for a call."""
        flags = VideoFlag(0)
        flags |= VideoFlag.APPLY_ROTATION if self.apply_rotation else 0
        flags |= VideoFlag.ALLOW_NETWORK if self.allow_network else 0
        flags |= VideoFlag.STRICT_DECODE if self.strict_decode else 0
        # The library's 0 is "to the end"; ours is the beginning, before which there is nothing.
        end = 0 if self.end is None else microseconds("end", self.end) or -1
        return c4c_video_options(
            struct_size=ctypes.sizeof(c4c_video_options),
            num_frames=unsigned("num_frames", self.num_frames),
            sampling=choice(Sampling, self.sampling, "sampling"),
            seek=choice(Seek, self.seek, "seek"),
            fps=self.fps,
            start_us=microseconds("start", self.start),
            end_us=end,
            color=choice(Color, self.color, "color"),
            flags=flags,
            decode_threads=unsigned("decode_threads", self.decode_threads),
            stream_index_plus_1=0 if self.stream_index is None else unsigned("stream_index", self.stream_index, 31) + 1,
            max_pixels=unsigned("max_pixels", self.max_pixels, 64),
            hwaccel=choice(HwAccel, self.hwaccel, "hwaccel"),
            hwaccel_device=unsigned("hwaccel_device", self.hwaccel_device),
        )


@dataclass(frozen=True)
class Info:
    """What was loaded, and how it runs. `include/c4c.h` says more about each."""

    dim: int
    modality: Modality
    head: Head
    activation: Activation
    precision: Precision
    num_threads: int
    max_batch: int
    max_words: int
    image_size: int
    patch_size: int
    vision_width: int
    vision_layers: int
    text_width: int
    text_layers: int
    context_length: int
    vocab_size: int
    logit_scale: float
    device: str
    model_name: str
    weights: str
    device_note: str

    @classmethod
    def from_c(cls, c: c4c_info) -> Info:
        fields = _fields(c)
        for name, kind in _INFO_ENUMS.items():
            fields[name] = kind(fields[name])
        return cls(**fields)


_INFO_ENUMS: dict[str, Any] = {"modality": Modality, "head": Head, "activation": Activation, "precision": Precision}


@dataclass(frozen=True)
class Stats:
    """What a model has done since it was made, and what it holds now. Times are sums over all calls and threads."""

    calls: int
    running: int
    failed_argument: int
    failed_media: int
    failed_memory: int
    failed_other: int
    cancelled: int
    timed_out: int
    texts: int
    images: int
    text_batches: int
    image_batches: int
    mean_text_batch: float
    mean_image_batch: float
    queued_texts: int
    queued_images: int
    waiting_calls: int
    bytes_held: int
    queue_us: int
    decode_us: int
    preprocess_us: int
    text_forward_us: int
    image_forward_us: int
    device_bytes: int

    @classmethod
    def from_c(cls, c: c4c_stats) -> Stats:
        return cls(**_fields(c))


def _fields(struct: ctypes.Structure) -> dict[str, Any]:
    """A struct's fields without those that are for C only, strings as str."""
    names = [field[0] for field in struct._fields_ if field[0] not in ("struct_size", "reserved")]
    values = ((name, getattr(struct, name)) for name in names)
    return {name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value for name, value in values}


class Segment(NamedTuple):
    """One window of a video: from `start` to `end`, in seconds from the first frame, and its vector `[dim]`."""

    start: float
    end: float
    vector: Vectors


@dataclass(frozen=True)
class Segments:
    """The windows of a video, in the order of time.

    Attributes:
        vectors: `[n, dim]` float32.
        starts: `[n]` seconds from the first frame.
        ends: `[n]` likewise.
    """

    vectors: Vectors
    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, i: int) -> Segment:
        return Segment(float(self.starts[i]), float(self.ends[i]), self.vectors[i])

    def __iter__(self) -> Iterator[Segment]:
        return (self[i] for i in range(len(self)))
