"""Pictures as numpy and PIL have them, as the library wants them, without a copy where the memory is already right."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar, Union

import numpy as np
import numpy.typing as npt

from ._abi import Matrix, PixelFormat, Range, c4c_frame

if TYPE_CHECKING:
    import PIL.Image

E = TypeVar("E", bound=IntEnum)
Pixels = npt.NDArray[np.uint8]
#: One picture: an array, a Frame, a PIL image, or the planes of I420 and NV12.
FrameLike = Union[Pixels, "Frame", "PIL.Image.Image", Sequence[Pixels]]

_CHANNELS = {
    PixelFormat.RGB24: 3,
    PixelFormat.BGR24: 3,
    PixelFormat.RGBA: 4,
    PixelFormat.BGRA: 4,
    PixelFormat.GRAY8: 1,
}
# numpy's image[..., ::-1] on these is the same memory, read as the other one.
_REVERSED = {PixelFormat.RGB24: PixelFormat.BGR24, PixelFormat.BGR24: PixelFormat.RGB24}
_FRAME_SIZE = ctypes.sizeof(c4c_frame)


def choice(kind: type[E], value: E | str, name: str) -> E:
    """A member of an enumeration, given as itself or by its name in lower case."""
    if isinstance(value, kind):
        return value
    if isinstance(value, str) and value.upper() in kind.__members__:
        return kind[value.upper()]
    raise ValueError(f"{name}: {value!r} is none of {', '.join(repr(member.name.lower()) for member in kind)}")


class Frame:
    """A picture with what an array does not tell.

    Arguments:
        data: uint8. `[h, w, 3]` or `[h, w, 4]` for the packed formats, `[h, w]` for gray8. For i420 the planes Y
            `[h, w]`, U and V `[h/2, w/2]`; for nv12 the planes Y and UV `[h/2, w/2, 2]` or `[h/2, w]`, halves rounded
            up. With even sides, i420 and nv12 may also be one array `[h*3/2, w]`. Or a PIL image. Row strides may be
            anything, also negative.
        format: a `PixelFormat` or its name. None: by the shape, "rgb24", "rgba" or "gray8". A PIL image brings its own.
        color_matrix: how YUV becomes RGB, a `Matrix` or its name.
        color_range: which numbers are black and white, a `Range` or its name.
        rotation: clockwise degrees to show it upright: 0, 90, 180 or 270.

    The pixels are borrowed, not copied, unless the memory is laid out in a way that the library cannot read.
    """

    __slots__ = ("_kept", "color_matrix", "color_range", "format", "height", "planes", "rotation", "strides", "width")

    def __init__(
        self,
        data: FrameLike,
        format: PixelFormat | str | None = None,
        *,
        color_matrix: Matrix | str = Matrix.UNKNOWN,
        color_range: Range | str = Range.UNKNOWN,
        rotation: int = 0,
    ) -> None:
        self.format = None if format is None else choice(PixelFormat, format, "format")
        self.color_matrix = choice(Matrix, color_matrix, "color_matrix")
        self.color_range = choice(Range, color_range, "color_range")
        if rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation: {rotation!r} is none of 0, 90, 180, 270")
        self.rotation = rotation
        if _is_pil(data):
            data, self.format = _from_pil(data)
        if self.format in (PixelFormat.I420, PixelFormat.NV12):
            arrays = _planes(data, self.format)
        elif isinstance(data, (list, tuple)):
            raise ValueError("a picture in planes needs a format: 'i420' or 'nv12'")
        else:
            arrays = [self._packed(_pixels(data))]
        self.height, self.width = arrays[0].shape[:2]
        #: Addresses of the planes' top rows, and bytes from a row to the next.
        self.planes: list[int] = []
        self.strides: list[int] = []
        self._kept: list[Pixels] = []
        for array in arrays:
            self._add(array)

    def _packed(self, array: Pixels) -> Pixels:
        channels = array.shape[2] if array.ndim == 3 else 1
        if self.format is None:
            by_channels = {1: PixelFormat.GRAY8, 3: PixelFormat.RGB24, 4: PixelFormat.RGBA}
            self.format = by_channels.get(channels)
        if array.ndim not in (2, 3) or self.format is None or channels != _CHANNELS[self.format]:
            wanted = "" if self.format is None else f" for {self.format.name.lower()}"
            raise ValueError(
                f"shape {array.shape} is not that of a picture{wanted}: [h, w, channels], or [h, w] for gray8"
            )
        # Flipped channels are the other order of the same memory.
        if channels == 3 and array.strides[2] == -1 and self.format in _REVERSED:
            self.format = _REVERSED[self.format]
            return array[..., ::-1]
        return array

    def _add(self, array: Pixels) -> None:
        height, width = array.shape[:2]
        pixel = array.shape[2] if array.ndim == 3 else 1
        row = width * pixel
        # Along an axis of length 1 numpy may say any stride.
        dense = (pixel == 1 or array.ndim < 3 or array.strides[2] == 1) and (width == 1 or array.strides[1] == pixel)
        if not dense or (height > 1 and abs(array.strides[0]) < row):
            array = np.ascontiguousarray(array)
        self._kept.append(array)
        self.planes.append(array.__array_interface__["data"][0])
        self.strides.append(array.strides[0] if height > 1 else row)

    def __repr__(self) -> str:
        name = self.format.name.lower() if self.format else None
        return f"<c4c.Frame {self.width}x{self.height} {name}>"


def _is_pil(data: Any) -> bool:
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(data, module.Image)


def _from_pil(image: Any) -> tuple[Pixels, PixelFormat]:
    own = {"RGB": PixelFormat.RGB24, "RGBA": PixelFormat.RGBA, "L": PixelFormat.GRAY8}
    if image.mode not in own:
        image = image.convert("RGB")
    return np.asarray(image), own[image.mode]


def _pixels(data: Any) -> Pixels:
    array = np.asarray(data)
    if array.dtype != np.uint8:
        raise TypeError(f"pixels are uint8, not {array.dtype}")
    return array


def _planes(data: Any, format: PixelFormat) -> list[Pixels]:
    """The planes of a picture in I420 or NV12."""
    name = format.name.lower()
    if not isinstance(data, (list, tuple)):
        return _split(_pixels(data), format)
    planes = [_pixels(plane) for plane in data]
    wanted = 3 if format is PixelFormat.I420 else 2
    if len(planes) != wanted or planes[0].ndim != 2:
        raise ValueError(f"{name} has {wanted} planes, the first [h, w]; these are {[p.shape for p in planes]}")
    height, width = planes[0].shape
    half = ((height + 1) // 2, (width + 1) // 2)
    if format is PixelFormat.I420:
        fits = planes[1].shape == half and planes[2].shape == half
    else:
        fits = planes[1].shape in ((*half, 2), (half[0], 2 * half[1]))
    if not fits:
        raise ValueError(
            f"{name}: beside Y of {width}x{height} the planes have the wrong shape: {[p.shape for p in planes[1:]]}"
        )
    return planes


def _split(array: Pixels, format: PixelFormat) -> list[Pixels]:
    """The planes of a picture whose planes lie one below the other in one array."""
    if array.ndim != 2 or array.shape[0] % 3 or array.shape[1] % 2:
        raise ValueError(
            f"{format.name.lower()} in one array has the shape [h*3/2, w] with even h and w, not {array.shape}"
        )
    width = array.shape[1]
    height = array.shape[0] // 3 * 2
    if format is PixelFormat.NV12:
        return [array[:height], array[height:]]
    # U and V have rows of half the width, so they run on from one row of the array to the next.
    chroma = np.ascontiguousarray(array[height:]).reshape(2, height // 2, width // 2)
    return [array[:height], chroma[0], chroma[1]]


class Packed:
    """A `c4c_frame` array and the memory that it points to."""

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.count = len(frames)
        self.array = (c4c_frame * len(frames))()
        for slot, frame in zip(self.array, frames):
            assert frame.format is not None
            slot.struct_size, slot.format = _FRAME_SIZE, frame.format
            slot.width, slot.height = frame.width, frame.height
            for i, (plane, stride) in enumerate(zip(frame.planes, frame.strides)):
                slot.planes[i], slot.strides[i] = plane, stride
            slot.color_matrix, slot.color_range = frame.color_matrix, frame.color_range
            slot.rotation = frame.rotation


def pack(
    frames: Iterable[FrameLike],
    format: PixelFormat | str | None,
    color_matrix: Matrix | str,
    color_range: Range | str,
    rotation: int,
) -> Packed:
    """The library's array for pictures. The arguments hold for those that are no `Frame`."""
    if isinstance(frames, Frame) or _is_pil(frames):
        raise ValueError("frames: this is one picture; give a sequence of them")
    if isinstance(frames, np.ndarray) and frames.ndim < 4 and not _is_stack(frames, format):
        raise ValueError(
            f"frames: an array of pictures is [n, h, w, channels], not {frames.shape}; one picture goes in a list"
        )
    more: dict[str, Any] = {"color_matrix": color_matrix, "color_range": color_range, "rotation": rotation}
    made = []
    for i, frame in enumerate(frames):
        try:
            made.append(frame if isinstance(frame, Frame) else Frame(frame, format, **more))
        except (ValueError, TypeError) as e:
            kind = TypeError if isinstance(e, TypeError) else ValueError
            raise kind(f"frames[{i}]: {e}") from None
    return Packed(made)


def _is_stack(frames: Any, format: PixelFormat | str | None) -> bool:
    """Whether an array of fewer than four axes is one of pictures with two axes each."""
    flat = (PixelFormat.GRAY8, PixelFormat.I420, PixelFormat.NV12)
    return frames.dtype == object or (
        frames.ndim == 3 and format is not None and choice(PixelFormat, format, "format") in flat
    )
