"""include/c4c.h in ctypes: its constants, structs and functions.

Enumerations carry the header's numbers under its names less the prefix (`C4C_PIXEL_NV12` is `PixelFormat.NV12`);
structs and functions keep their names. `tests/test_header.py` holds all of it against the header.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from enum import IntEnum, IntFlag
from typing import Any

ABI_VERSION = 0
SEEK_SIZE = 65536


class Status(IntEnum):
    """What a call came to. A number that this version does not know is an error and keeps its number."""

    OK = 0
    INVALID_ARGUMENT = -1
    BUFFER_TOO_SMALL = -2
    UNSUPPORTED = -3
    CLOSED = -4
    FORKED = -5
    WEIGHTS_IO = -20
    WEIGHTS_FORMAT = -21
    WEIGHTS_MISMATCH = -22
    MODALITY = -23
    TOKENIZER = -24
    TEXT_TOO_LONG = -25
    DEVICE = -40
    OUT_OF_MEMORY = -41
    BACKEND = -42
    MEDIA_IO = -60
    MEDIA_FORMAT = -61
    NO_VIDEO = -62
    DECODE = -63
    LIMIT = -64
    FORBIDDEN = -65
    CANCELLED = -80
    TIMEOUT = -81
    INTERNAL = -99

    @classmethod
    def _missing_(cls, value: object) -> Status | None:
        if not isinstance(value, int):
            return None
        unknown = int.__new__(cls, value)
        unknown._name_, unknown._value_ = "UNKNOWN", value
        return unknown


class Modality(IntEnum):
    """Which towers a model has."""

    BOTH = 0
    TEXT = 1
    VIDEO = 2


class Precision(IntEnum):
    """The arithmetic of the forward pass."""

    AUTO = 0
    F32 = 1
    BF16 = 2
    F16 = 3
    INT8 = 4


class Head(IntEnum):
    """How frames become a video."""

    AUTO = 0
    MEAN = 1
    SEQ_TRANSF = 2
    SEQ_LSTM = 3
    TIGHT_TRANSF = 4


class Activation(IntEnum):
    """The MLPs' non-linearity."""

    AUTO = 0
    QUICK_GELU = 1
    GELU = 2


class PixelFormat(IntEnum):
    """How pixels lie in memory, 8 bits a channel."""

    RGB24 = 1
    BGR24 = 2
    RGBA = 3
    BGRA = 4
    GRAY8 = 5
    I420 = 6
    NV12 = 7


class Location(IntEnum):
    """Which memory a frame's planes point to: the process's own, or a GPU's."""

    HOST = 0
    CUDA = 1


class Matrix(IntEnum):
    """How YUV becomes RGB. UNKNOWN is BT.601."""

    UNKNOWN = 0
    BT601 = 1
    BT709 = 2
    BT2020 = 3


class Range(IntEnum):
    """Which numbers are black and white. UNKNOWN is limited for YUV, full for RGB and gray."""

    UNKNOWN = 0
    LIMITED = 1
    FULL = 2


class Sampling(IntEnum):
    """Which frames stand for a video."""

    UNIFORM = 0
    KEYFRAMES = 1
    FPS = 2


class Seek(IntEnum):
    """How frames are found."""

    EXACT = 0
    APPROXIMATE = 1


class HwAccel(IntEnum):
    """What decodes: the CPU, or NVDEC of a GPU."""

    NONE = 0
    CUDA = 1


class Color(IntEnum):
    """How decoded pictures become RGB."""

    TAGGED = 0
    OPERATOR = 1


class OptionFlag(IntFlag):
    """Bits of `c4c_options.flags`: `Model`'s `raw_output`, `strict_text` and `cuda_graphs`."""

    RAW_OUTPUT = 1
    STRICT_TEXT = 2
    NO_CUDA_GRAPHS = 4


class VideoFlag(IntFlag):
    """Bits of `c4c_video_options.flags`: the booleans of `VideoOptions`."""

    APPLY_ROTATION = 1
    ALLOW_NETWORK = 2
    STRICT_DECODE = 4


class LogLevel(IntEnum):
    """How important a message is. DEFAULT asks for INFO and what is more important."""

    DEFAULT = 0
    ERROR = 1
    WARN = 2
    INFO = 3
    DEBUG = 4


log_fn = ctypes.CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
progress_fn = ctypes.CFUNCTYPE(c_int32, c_void_p, c_size_t, c_size_t)
read_fn = ctypes.CFUNCTYPE(c_int64, c_void_p, c_void_p, c_size_t)
seek_fn = ctypes.CFUNCTYPE(c_int64, c_void_p, c_int64, c_int32)


class c4c_error(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("status", c_int32), ("message", c_char * 504)]


class c4c_options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("modality", c_uint32),
        ("model_name", c_char_p),
        ("weights_path", c_char_p),
        ("tokenizer_path", c_char_p),
        ("device", c_char_p),
        ("precision", c_uint32),
        ("head", c_uint32),
        ("activation", c_uint32),
        ("max_words", c_uint32),
        ("flags", c_uint32),
        ("num_threads", c_uint32),
        ("max_batch", c_uint32),
        ("max_batch_delay_us", c_uint32),
        ("log", log_fn),
        ("log_user_data", c_void_p),
        ("log_level", c_uint32),
        ("reserved", c_uint32),
    ]


class c4c_info(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("dim", c_uint32),
        ("modality", c_uint32),
        ("head", c_uint32),
        ("activation", c_uint32),
        ("precision", c_uint32),
        ("num_threads", c_uint32),
        ("max_batch", c_uint32),
        ("max_words", c_uint32),
        ("image_size", c_uint32),
        ("patch_size", c_uint32),
        ("vision_width", c_uint32),
        ("vision_layers", c_uint32),
        ("text_width", c_uint32),
        ("text_layers", c_uint32),
        ("context_length", c_uint32),
        ("vocab_size", c_uint32),
        ("logit_scale", c_float),
        ("device", c_char * 32),
        ("model_name", c_char * 32),
        ("weights", c_char * 64),
        ("device_note", c_char * 256),
    ]


class c4c_stats(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_uint32),
        ("calls", c_uint64),
        ("running", c_uint64),
        ("failed_argument", c_uint64),
        ("failed_media", c_uint64),
        ("failed_memory", c_uint64),
        ("failed_other", c_uint64),
        ("cancelled", c_uint64),
        ("timed_out", c_uint64),
        ("texts", c_uint64),
        ("images", c_uint64),
        ("text_batches", c_uint64),
        ("image_batches", c_uint64),
        ("mean_text_batch", c_double),
        ("mean_image_batch", c_double),
        ("queued_texts", c_uint64),
        ("queued_images", c_uint64),
        ("waiting_calls", c_uint64),
        ("bytes_held", c_uint64),
        ("queue_us", c_int64),
        ("decode_us", c_int64),
        ("preprocess_us", c_int64),
        ("text_forward_us", c_int64),
        ("image_forward_us", c_int64),
        ("device_bytes", c_uint64),
    ]


class c4c_call(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_uint32), ("timeout_us", c_int64), ("cancel", c_void_p)]


class c4c_frame(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("planes", c_void_p * 4),
        ("strides", c_int64 * 4),
        ("color_matrix", c_uint32),
        ("color_range", c_uint32),
        ("rotation", c_uint32),
        ("reserved", c_uint32),
        ("location", c_uint32),
        ("device_index", c_uint32),
        ("stream", c_void_p),
    ]


class c4c_video_options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("num_frames", c_uint32),
        ("sampling", c_uint32),
        ("seek", c_uint32),
        ("fps", c_double),
        ("start_us", c_int64),
        ("end_us", c_int64),
        ("color", c_uint32),
        ("flags", c_uint32),
        ("decode_threads", c_uint32),
        ("stream_index_plus_1", c_uint32),
        ("max_pixels", c_uint64),
        ("hwaccel", c_uint32),
        ("hwaccel_device", c_uint32),
    ]


class c4c_io(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_uint32),
        ("user_data", c_void_p),
        ("read", read_fn),
        ("seek", seek_fn),
    ]


# Pointers are void: they take addresses, byref(), arrays and None, and cost least.
_P, _N, _S = c_void_p, c_size_t, c_int32

#: Each function's result and parameters.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "c4c_create": (_S, [_P, _P, _P]),
    "c4c_free": (None, [_P]),
    "c4c_trim": (_S, [_P, _P]),
    "c4c_dim": (_N, [_P]),
    "c4c_get_info": (_S, [_P, _P, _P]),
    "c4c_get_stats": (_S, [_P, _P, _P]),
    "c4c_embed_text": (_S, [_P, _P, _N, _P, _P, _N, _P]),
    "c4c_embed_frames": (_S, [_P, _P, _N, _P, _P, _N, _P]),
    "c4c_embed_images": (_S, [_P, _P, _N, _P, _P, _N, _P]),
    "c4c_score": (_S, [_P, _P, _N, _P, _N, _P, _P, _N, _P]),
    "c4c_embed_video_path": (_S, [_P, c_char_p, _P, _P, _P, _N, _P]),
    "c4c_embed_video_memory": (_S, [_P, _P, _N, _P, _P, _P, _N, _P]),
    "c4c_embed_video_io": (_S, [_P, _P, _P, _P, _P, _N, _P]),
    "c4c_embed_video_paths": (_S, [_P, _P, _N, _P, _P, progress_fn, _P, _P, _N, _P, _P]),
    "c4c_embed_segments": (_S, [_P, c_char_p, _P, c_int64, c_int64, _P, _P, _P]),
    "c4c_segments_count": (_N, [_P]),
    "c4c_segments_data": (_P, [_P]),
    "c4c_segments_time": (_S, [_P, _N, _P, _P]),
    "c4c_segments_free": (None, [_P]),
    "c4c_cancel_new": (_P, []),
    "c4c_cancel_fire": (None, [_P]),
    "c4c_cancel_free": (None, [_P]),
    "c4c_status_name": (c_char_p, [_S]),
    "c4c_version": (c_char_p, []),
    "c4c_abi_version": (c_uint32, []),
    "c4c_build_info": (c_char_p, []),
    "c4c_cuda_devices": (_S, [_P, _P]),
    "c4c_similarity": (_S, [_P, _N, _P, _N, _N, _P, _N, _P]),
}
