"""Where the bytes of a video come from: a path, memory, or a file object."""

from __future__ import annotations

import ctypes
import io
import os
from ctypes import c_ubyte
from typing import IO, Any, Union

import numpy as np
import numpy.typing as npt

from ._abi import SEEK_SIZE, c4c_io, read_fn, seek_fn
from ._calls import Callbacks

#: A file's name, its bytes (anything with the buffer interface), or a binary file object.
VideoSource = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, IO[bytes]]


def path_text(path: str | os.PathLike[str], name: str = "path") -> str:
    """A path as str."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"{name}: a str or os.PathLike of str is wanted, not of {type(text).__name__}")
    return text


def encode(text: str, name: str) -> bytes:
    """A string for C, which would end it at a NUL."""
    data = text.encode("utf-8")
    if 0 in data:
        raise ValueError(f"{name}: it has a NUL character")
    return data


def memory(data: Any) -> npt.NDArray[np.uint8] | None:
    """Bytes that lie in memory, without a copy. None for a file object."""
    try:
        view = memoryview(data)
    except TypeError:
        if hasattr(data, "read"):
            return None
        kind = type(data).__name__
        raise TypeError(f"video: a path, bytes or a binary file object is wanted, not {kind}") from None
    return np.frombuffer(view, np.uint8) if view.nbytes else np.empty(0, np.uint8)


class Reader:
    """A file object as the library reads it, from its beginning if it can seek, else from where it is."""

    def __init__(self, file: Any, callbacks: Callbacks) -> None:
        self._file = file
        self._read_into = getattr(file, "readinto", None)
        seekable = getattr(file, "seekable", None)
        can_seek = bool(seekable()) if seekable else hasattr(file, "seek")
        if can_seek:
            file.seek(0)
        # The struct does not keep its functions alive.
        self._functions = read_fn(callbacks.guard(self._read, -1)), seek_fn(callbacks.guard(self._seek, -1))
        self.io = c4c_io(struct_size=ctypes.sizeof(c4c_io), read=self._functions[0])
        if can_seek:
            self.io.seek = self._functions[1]

    def _read(self, _: Any, buffer: int, size: int) -> int:
        target = memoryview((c_ubyte * size).from_address(buffer)).cast("B")
        try:
            if self._read_into is not None:
                n = self._read_into(target)
            else:
                data = self._file.read(size)
                n = None if data is None else len(data)
                target[: n or 0] = data or b""
        finally:
            target.release()  # the buffer is the library's again
        if n is None:
            raise BlockingIOError("video: the file object would block")
        return int(n)

    def _seek(self, _: Any, offset: int, whence: int) -> int:
        if whence != SEEK_SIZE:
            return int(self._file.seek(offset, whence))
        here = self._file.tell()
        size = int(self._file.seek(0, io.SEEK_END))
        self._file.seek(here)
        return size
