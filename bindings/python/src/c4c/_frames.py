"""Pictures as numpy and PIL have them, as the library wants them, without a copy where the memory is already right."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar, Union

import numpy as np
import numpy.typing as npt

from ._abi import Location, Matrix, PixelFormat, Range, c4c_frame
from ._cuda import PER_THREAD_STREAM, CudaArray, CudaPixels, cuda_pixels, stream_handle

if TYPE_CHECKING:
    import PIL.Image

E = TypeVar("E", bound=IntEnum)
Pixels = npt.NDArray[np.uint8]
#: One picture: an array, a Frame, a PIL image, or the planes of I420 and NV12.
FrameLike = Union[Pixels, CudaArray, "Frame", "PIL.Image.Image", Sequence[Pixels], Sequence[CudaArray]]
#: Several: an array of them, or an iterable.
FramesLike = Union[Iterable[FrameLike], CudaArray]
Plane = Union[Pixels, CudaPixels]

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


def unsigned(name: str, value: int, bits: int = 32) -> int:
    """A number that fits its C field; ctypes would cut it without a word."""
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{name}: {value} is not from 0 to 2**{bits} - 1")
    return int(value)


class Frame:
    """A picture with what an array does not tell.

    Arguments:
        data: uint8. `[h, w, 3]` or `[h, w, 4]` for the packed formats, `[h, w]` for gray8. For i420 the planes Y
            `[h, w]`, U and V `[h/2, w/2]`; for nv12 the planes Y and UV `[h/2, w/2, 2]` or `[h/2, w]`, halves rounded
            up. With even sides, i420 and nv12 may also be one array `[h*3/2, w]`. Or a PIL image. Row strides may be
            anything, also negative. Arrays may be in a GPU's memory: CUDA tensors of PyTorch, arrays of CuPy and
            whatever else has `__cuda_array_interface__`.
        format: a `PixelFormat` or its name. None: by the shape, "rgb24", "rgba" or "gray8". A PIL image brings its own.
        color_matrix: how YUV becomes RGB, a `Matrix` or its name.
        color_range: which numbers are black and white, a `Range` or its name.
        rotation: clockwise degrees to show it upright: 0, 90, 180 or 270.
        device_index: CUDA's number of the GPU that the pixels are on. None: as the array tells (`__dlpack_device__`).
        stream: a cudaStream_t, as a number, whose work so far makes pixels in a GPU's memory: the library waits for it.
            None: as the array tells, and where it does not, as PyTorch's, the legacy default stream. Under
            `torch.cuda.stream(…)` say `stream=torch.cuda.current_stream().cuda_stream`.

    The pixels are borrowed, not copied, unless the memory is laid out in a way that the library cannot read; in a GPU's
    memory that is a ValueError.
    """

    __slots__ = (
        "_kept",
        "color_matrix",
        "color_range",
        "device_index",
        "format",
        "height",
        "location",
        "planes",
        "rotation",
        "stream",
        "strides",
        "width",
    )

    def __init__(
        self,
        data: FrameLike,
        format: PixelFormat | str | None = None,
        *,
        color_matrix: Matrix | str = Matrix.UNKNOWN,
        color_range: Range | str = Range.UNKNOWN,
        rotation: int = 0,
        device_index: int | None = None,
        stream: int | None = None,
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
        self._place(arrays, device_index, stream)
        self.height, self.width = int(arrays[0].shape[0]), int(arrays[0].shape[1])
        #: Addresses of the planes' top rows, and bytes from a row to the next.
        self.planes: list[int] = []
        self.strides: list[int] = []
        self._kept: list[Plane] = []
        for array in arrays:
            self._add(array)

    def _place(self, arrays: Sequence[Plane], device_index: int | None, stream: int | None) -> None:
        """Which memory the planes are in, which is one."""
        self.location, self.device_index, self.stream = Location.HOST, 0, 0
        on_gpu = [array for array in arrays if isinstance(array, CudaPixels)]
        if not on_gpu:
            if device_index is not None or stream is not None:
                raise ValueError("device_index and stream are for pixels in a GPU's memory, and these are not")
            return
        if len(on_gpu) != len(arrays):
            raise ValueError("the planes of one picture are in the same memory; some of these are in a GPU's")
        devices = {array.device for array in on_gpu} if device_index is None else {device_index}
        streams = {array.stream for array in on_gpu} if stream is None else {stream_handle(stream)}
        if len(devices) > 1 or len(streams) > 1:
            raise ValueError(f"the planes of one picture are on one GPU and stream, not on {devices} and {streams}")
        device = devices.pop()
        if device is None:
            raise ValueError("device_index: this array does not tell which GPU it is on; give c4c.Frame CUDA's number")
        self.location, self.stream = Location.CUDA, streams.pop()
        self.device_index = unsigned("device_index", device)

    def _packed(self, array: Plane) -> Plane:
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
        if isinstance(array, np.ndarray) and channels == 3 and array.strides[2] == -1 and self.format in _REVERSED:
            self.format = _REVERSED[self.format]
            return array[..., ::-1]
        return array

    def _add(self, array: Plane) -> None:
        height, width = array.shape[:2]
        pixel = array.shape[2] if array.ndim == 3 else 1
        row = width * pixel
        # Along an axis of length 1 numpy may say any stride.
        dense = (pixel == 1 or array.ndim < 3 or array.strides[2] == 1) and (width == 1 or array.strides[1] == pixel)
        if not dense or (height > 1 and abs(array.strides[0]) < row):
            if isinstance(array, CudaPixels):
                raise ValueError(
                    f"in a GPU's memory the pixels of a row lie side by side, [h, w, channels]; shape {array.shape} "
                    f"has the strides {array.strides}: copy it first, in PyTorch with .contiguous()"
                )
            array = np.ascontiguousarray(array)
        self._kept.append(array)
        self.planes.append(array.address if isinstance(array, CudaPixels) else array.__array_interface__["data"][0])
        self.strides.append(array.strides[0] if height > 1 else row)

    def __repr__(self) -> str:
        name = self.format.name.lower() if self.format else None
        place = f" on cuda:{self.device_index}" if self.location is Location.CUDA else ""
        return f"<c4c.Frame {self.width}x{self.height} {name}{place}>"


def _is_pil(data: Any) -> bool:
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(data, module.Image)


def _from_pil(image: Any) -> tuple[Pixels, PixelFormat]:
    own = {"RGB": PixelFormat.RGB24, "RGBA": PixelFormat.RGBA, "L": PixelFormat.GRAY8}
    if image.mode not in own:
        image = image.convert("RGB")
    return np.asarray(image), own[image.mode]


def _pixels(data: Any) -> Plane:
    on_gpu = cuda_pixels(data)
    if on_gpu is not None:
        return on_gpu
    array = np.asarray(data)
    if array.dtype != np.uint8:
        raise TypeError(f"pixels are uint8, not {array.dtype}")
    return array


def _planes(data: Any, format: PixelFormat) -> list[Plane]:
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


def _split(array: Plane, format: PixelFormat) -> list[Plane]:
    """The planes of a picture whose planes lie one below the other in one array."""
    if array.ndim != 2 or array.shape[0] % 3 or array.shape[1] % 2:
        raise ValueError(
            f"{format.name.lower()} in one array has the shape [h*3/2, w] with even h and w, not {array.shape}"
        )
    width = array.shape[1]
    height = array.shape[0] // 3 * 2
    if isinstance(array, CudaPixels):
        if format is PixelFormat.I420:
            raise ValueError("i420 in a GPU's memory is given as its three planes")
        return [array.rows(0, height), array.rows(height, array.shape[0])]
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
        #: Whether the call must be made by the thread that has made the pixels, whose stream no other thread can name.
        self.of_this_thread = any(frame.stream == PER_THREAD_STREAM for frame in frames)
        self.array = (c4c_frame * len(frames))()
        for slot, frame in zip(self.array, frames):
            assert frame.format is not None
            slot.struct_size, slot.format = _FRAME_SIZE, frame.format
            slot.width, slot.height = frame.width, frame.height
            for i, (plane, stride) in enumerate(zip(frame.planes, frame.strides)):
                slot.planes[i], slot.strides[i] = plane, stride
            slot.color_matrix, slot.color_range = frame.color_matrix, frame.color_range
            slot.rotation = frame.rotation
            slot.location, slot.device_index, slot.stream = frame.location, frame.device_index, frame.stream or None


def pack(
    frames: FramesLike,
    format: PixelFormat | str | None,
    color_matrix: Matrix | str,
    color_range: Range | str,
    rotation: int,
) -> Packed:
    """The library's array for pictures. The arguments hold for those that are no `Frame`."""
    if isinstance(frames, Frame) or _is_pil(frames):
        raise ValueError("frames: this is one picture; give a sequence of them")
    pictures: Any = cuda_pixels(frames) or frames
    if isinstance(pictures, (np.ndarray, CudaPixels)) and pictures.ndim < 4 and not _is_stack(pictures, format):
        raise ValueError(
            f"frames: an array of pictures is [n, h, w, channels], not {pictures.shape}; one picture goes in a list"
        )
    more: dict[str, Any] = {"color_matrix": color_matrix, "color_range": color_range, "rotation": rotation}
    made = []
    for i, frame in enumerate(pictures):
        try:
            made.append(frame if isinstance(frame, Frame) else Frame(frame, format, **more))
        except (ValueError, TypeError) as e:
            kind = TypeError if isinstance(e, TypeError) else ValueError
            raise kind(f"frames[{i}]: {e}") from None
    return Packed(made)


def _is_stack(frames: Any, format: PixelFormat | str | None) -> bool:
    """Whether an array of fewer than four axes is one of pictures with two axes each."""
    flat = (PixelFormat.GRAY8, PixelFormat.I420, PixelFormat.NV12)
    if isinstance(frames, np.ndarray) and frames.dtype == object:
        return True
    return frames.ndim == 3 and format is not None and choice(PixelFormat, format, "format") in flat
