"""Finds libc4c.so.0, and the libtorch that it goes with, and loads both.

In this order: the file that the environment variable C4C_LIBRARY names; the one inside the package, if the wheel has
one; the system's. The first that is there is taken, so that a broken one is told and not passed over.

The wheel's library has no libtorch of its own but that of the installed `torch`. Its libraries are loaded first, by
their path: libc4c then finds them by their names, wherever `torch` lies, and an `import torch` before or after shares
them. `torch` itself is not imported.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from . import _abi

SONAME = f"libc4c.so.{_abi.ABI_VERSION}"
TORCH = "2.11"  # libtorch's C++ interface changes with each minor version

_FFMPEG = "libc4c needs the FFmpeg libraries that it was built against (5.1's in Debian 12: libavformat59 libswscale6)"


class Torch(NamedTuple):
    """A `torch` that Python would import, or has imported."""

    folder: Path
    version: str
    imported: bool

    @property
    def fits(self) -> bool:
        return self.version == TORCH or self.version.startswith(TORCH + ".")


def find_torch() -> Torch | None:
    """The `torch` of this interpreter, without importing it."""
    try:
        spec = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    folder = Path(spec.origin).parent
    try:
        found = re.search(
            r"^__version__\s*=\s*['\"]([^'\"]+)", (folder / "version.py").read_text("utf-8"), re.MULTILINE
        )
    except OSError:
        return None
    return Torch(folder, found.group(1) if found else "of unknown version", "torch" in sys.modules)


def _load_libtorch(torch: Torch) -> None:
    for name in ("libc10.so", "libtorch_cpu.so"):
        ctypes.CDLL(str(torch.folder / "lib" / name))


def _choose() -> tuple[str, bool]:
    """The library to load, and whether it is the wheel's."""
    named = os.environ.get("C4C_LIBRARY")
    if named:
        return named, False
    packed = Path(__file__).with_name(SONAME)
    return (str(packed), True) if packed.exists() else (SONAME, False)


def _load() -> tuple[Any, str]:
    name, packed = _choose()
    torch = find_torch()
    wrong = torch is not None and not torch.fits
    if packed and (torch is None or wrong):
        there = f"torch {torch.version} is in {torch.folder}" if torch else "there is no torch"
        raise ImportError(
            f"c4c needs torch {TORCH}, but {there}. Install it with: pip install 'torch=={TORCH}.*'. "
            f"Or name a {SONAME} that has a libtorch of its own in the environment variable C4C_LIBRARY"
        )
    if torch and wrong and torch.imported:
        raise ImportError(
            f"c4c needs libtorch {TORCH}, but this process has imported torch {torch.version} from {torch.folder}, and "
            "two versions of libtorch do not go into one process. Install the right one with: "
            f"pip install 'torch=={TORCH}.*'"
        )
    if torch and torch.fits:
        try:
            _load_libtorch(torch)
        except OSError as e:
            if packed:
                raise ImportError(f"c4c: cannot load the libtorch of torch {torch.version}: {e}") from e
    try:
        library = ctypes.CDLL(name)
    except OSError as e:
        hint = f". {_FFMPEG}" if re.search(r"lib(av|sw)\w+\.so", str(e)) else ""
        if name == SONAME:
            hint += (
                f". This package has no {SONAME} inside: install a wheel that has one, install libc4c on the system, "
                "or name the file in the environment variable C4C_LIBRARY"
            )
        raise ImportError(f"c4c: cannot load {name}: {e}{hint}") from e
    _declare(library, name)
    return library, name


def _declare(library: Any, name: str) -> None:
    """Checks the ABI and tells ctypes the functions' types."""
    try:
        for function, (result, parameters) in _abi.FUNCTIONS.items():
            pointer = getattr(library, function)
            pointer.restype, pointer.argtypes = result, parameters
        version = library.c4c_abi_version()
    except AttributeError as e:
        raise ImportError(f"c4c: {name} is no libc4c, or an older one than this package needs: {e}") from e
    if version != _abi.ABI_VERSION:
        raise ImportError(f"c4c: {name} has ABI {version}, and this package is made for {_abi.ABI_VERSION}")


lib, library_path = _load()
