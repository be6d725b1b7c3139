"""GPUs: how many there are, and pictures in their memory.

Such pictures come by `__cuda_array_interface__`, which PyTorch, CuPy, Numba and others have; none of them is imported.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import byref, c_uint32
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ._abi import c4c_error
from ._handle import check
from ._library import lib

#: CUDA's handles of the two streams that everybody has; as the C interface has it, the legacy one is NULL.
LEGACY_STREAM, PER_THREAD_STREAM = 1, 2
_DLPACK_CUDA = (2, 13)  # kDLCUDA, kDLCUDAManaged


@dataclass(frozen=True)
class CudaDevices:
    """How many GPUs this process can use through CUDA, and where that is 0, why."""

    count: int
    reason: str


def cuda_devices() -> CudaDevices:
    """How many GPUs this process can use, or why none: no driver, a libtorch for the CPU only, a missing library.

    The first call, or the first model for a GPU or "auto", loads libtorch's CUDA half and wakes the driver: a child
    that is forked after that cannot use CUDA. The answer does not change later.
    """
    count, err = c_uint32(), c4c_error(ctypes.sizeof(c4c_error))
    check(lib.c4c_cuda_devices(byref(count), byref(err)), err)
    return CudaDevices(count.value, err.message.decode("utf-8", "replace"))


class CudaArray(Protocol):
    """An array in a GPU's memory: a CUDA tensor of PyTorch, an array of CuPy."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class CudaPixels:
    """uint8 in a GPU's memory, described as numpy does."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    device: int | None  # CUDA's number; None: the array does not tell
    stream: int  # a cudaStream_t; 0: the legacy default stream
    owner: object  # keeps the memory

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def rows(self, start: int, stop: int) -> CudaPixels:
        """A part, as `array[start:stop]`."""
        address = self.address + start * self.strides[0]
        return replace(self, address=address, shape=(stop - start, *self.shape[1:]))

    def __iter__(self) -> Iterator[CudaPixels]:
        for i in range(self.shape[0]):
            address = self.address + i * self.strides[0]
            yield replace(self, address=address, shape=self.shape[1:], strides=self.strides[1:])


def cuda_pixels(data: Any) -> CudaPixels | None:
    """What an array in a GPU's memory tells of itself; None for anything else."""
    if isinstance(data, CudaPixels):
        return data
    interface = getattr(data, "__cuda_array_interface__", None)
    if interface is None:
        return None
    if np.dtype(interface["typestr"]) != np.uint8:
        raise TypeError(f"pixels are uint8, not {np.dtype(interface['typestr'])}")
    if interface.get("mask") is not None:
        raise ValueError("__cuda_array_interface__: masks are not served")
    shape = tuple(int(n) for n in interface["shape"])
    strides = interface.get("strides")
    return CudaPixels(
        address=int(interface["data"][0] or 0),
        shape=shape,
        strides=_dense(shape) if strides is None else tuple(int(n) for n in strides),
        device=_device(data),
        stream=_stream(interface.get("stream")),
        owner=data,
    )


def stream_handle(stream: int) -> int:
    """A cudaStream_t as the C interface takes it."""
    return 0 if stream == LEGACY_STREAM else stream


def _stream(stream: int | None) -> int:
    # None, and no entry before the protocol's version 3, ask for no wait. That for the default stream costs next to
    # nothing, and is the right one for PyTorch, which has version 2 and computes there unless told otherwise.
    if stream is None:
        return 0
    if stream == 0:
        raise ValueError("__cuda_array_interface__: stream 0 is none; the protocol has 1 for the legacy default stream")
    return stream_handle(int(stream))


def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1]
    for n in reversed(shape[1:]):
        strides.insert(0, strides[0] * n)
    return tuple(strides[: len(shape)])


def _device(data: Any) -> int | None:
    # The interface itself does not say which GPU it is.
    ask = getattr(data, "__dlpack_device__", None)
    if ask is None:
        return None
    kind, number = ask()
    if kind not in _DLPACK_CUDA:
        raise ValueError(f"the pixels are in the memory of a device that is none of CUDA's (DLPack's kind {int(kind)})")
    return int(number)
