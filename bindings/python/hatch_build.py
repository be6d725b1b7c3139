"""Puts libc4c into the wheel.

C4C_LIBRARY names the libc4c.so.0 to put there; the wheel is then for its machine. "system" makes a wheel without one,
for every machine, which takes the system's library when it runs: that is for packagers. Editable installs have none
inside either.

With patchelf at hand, the copy's RUNPATH becomes $ORIGIN/../torch/lib, where pip puts libtorch. Without, it stays as it
was, which works all the same, since the package loads libtorch before it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SONAME = "libc4c.so.0"
RUNPATH = "$ORIGIN/../torch/lib"
# ELF's e_machine, at byte 18 of 64-bit little-endian files.
MACHINES = {62: "x86_64", 183: "aarch64"}


def machine(library: Path) -> str:
    """The machine that a library is for, as wheels' tags name it."""
    head = library.read_bytes()[:20]
    if head[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"C4C_LIBRARY: {library} is no 64-bit little-endian ELF file")
    number = int.from_bytes(head[18:20], "little")
    if number not in MACHINES:
        raise ValueError(f"C4C_LIBRARY: {library} is for an unknown machine (ELF's number {number})")
    return MACHINES[number]


class CustomBuildHook(BuildHookInterface[Any]):
    """hatchling looks for a class of this kind."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        named = os.environ.get("C4C_LIBRARY")
        if version == "editable" or named == "system":
            return
        if not named:
            raise ValueError(
                f"C4C_LIBRARY is not set: name the {SONAME} for the wheel, or say 'system' for a wheel that has none"
            )
        source = Path(named).resolve(strict=True)
        # The library needs FFmpeg's and glibc's of the machine that it was built on, so no manylinux tag would be true.
        build_data["tag"] = f"py3-none-linux_{machine(source)}"
        build_data["pure_python"] = False
        self._folder = tempfile.TemporaryDirectory()
        library = Path(self._folder.name, SONAME)
        shutil.copy(source, library)
        library.chmod(0o755)
        if shutil.which("patchelf"):
            subprocess.run(["patchelf", "--set-rpath", RUNPATH, library], check=True)
        else:
            self.app.display_warning(f"patchelf is not there: the RUNPATH of {source.name} stays as it is")
        build_data["force_include"][str(library)] = f"c4c/{SONAME}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()
