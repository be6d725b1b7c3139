"""Text and video embeddings with CLIP4Clip, on libc4c.

with c4c.Model("pytorch_model.bin") as model:
    texts = model.embed_text(["a dog runs on the beach", "a cat sleeps"])  # [2, 512]
    scores = texts @ model.embed_video("dog.mp4")  # [2]
"""

from __future__ import annotations

import json
from typing import Any

from ._abi import (
    ABI_VERSION,
    SEEK_SIZE,
    Activation,
    Color,
    Head,
    HwAccel,
    Location,
    LogLevel,
    Matrix,
    Modality,
    OptionFlag,
    PixelFormat,
    Precision,
    Range,
    Sampling,
    Seek,
    Status,
    VideoFlag,
)
from ._calls import CancelToken
from ._cuda import CudaDevices, cuda_devices
from ._errors import (
    BackendError,
    CancelledError,
    ClosedError,
    DeviceError,
    Error,
    ForbiddenError,
    ForkedError,
    InternalError,
    InvalidArgumentError,
    LimitError,
    MediaError,
    MediaFormatError,
    MediaIOError,
    MediaNotFoundError,
    ModalityError,
    OutOfMemoryError,
    TextTooLongError,
    TimedOutError,
    TokenizerError,
    UnsupportedError,
    WeightsError,
    WeightsFormatError,
    WeightsIOError,
    WeightsNotFoundError,
)
from ._frames import Frame
from ._library import lib as _lib
from ._library import library_path
from ._model import Model, similarity
from ._types import Info, Segment, Segments, Stats, VideoOptions
from ._version import __version__

__all__ = [
    "ABI_VERSION",
    "SEEK_SIZE",
    "Activation",
    "BackendError",
    "CancelToken",
    "CancelledError",
    "ClosedError",
    "Color",
    "CudaDevices",
    "DeviceError",
    "Error",
    "ForbiddenError",
    "ForkedError",
    "Frame",
    "Head",
    "HwAccel",
    "Info",
    "InternalError",
    "InvalidArgumentError",
    "LimitError",
    "Location",
    "LogLevel",
    "Matrix",
    "MediaError",
    "MediaFormatError",
    "MediaIOError",
    "MediaNotFoundError",
    "Modality",
    "ModalityError",
    "Model",
    "OptionFlag",
    "OutOfMemoryError",
    "PixelFormat",
    "Precision",
    "Range",
    "Sampling",
    "Seek",
    "Segment",
    "Segments",
    "Stats",
    "Status",
    "TextTooLongError",
    "TimedOutError",
    "TokenizerError",
    "UnsupportedError",
    "VideoFlag",
    "VideoOptions",
    "WeightsError",
    "WeightsFormatError",
    "WeightsIOError",
    "WeightsNotFoundError",
    "__version__",
    "abi_version",
    "build_info",
    "cuda_devices",
    "library_path",
    "similarity",
    "status_name",
    "version",
]


def version() -> str:
    """The version of the loaded library."""
    return str(_lib.c4c_version().decode())


def abi_version() -> int:
    """The ABI of the loaded library."""
    return int(_lib.c4c_abi_version())


def build_info() -> dict[str, Any]:
    """About the loaded library: "c4c", "abi", "libtorch", "ffmpeg", "cuda" and "target"."""
    return dict(json.loads(_lib.c4c_build_info()))


def status_name(status: int) -> str:
    """A status's name in C, such as "C4C_E_WEIGHTS_IO"."""
    return str(_lib.c4c_status_name(status).decode())
