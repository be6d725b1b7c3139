"""The wheel and the sdist, as users install them. Needs hatchling and pip, and the folder of an unpacked or installed
torch (C4C_TEST_TORCH, else this interpreter's torch)."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import c4c
from c4c._library import find_torch

PROJECT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("hatchling") or not (PROJECT / "pyproject.toml").exists(),
    reason="hatchling is not installed, or the project is not beside the tests",
)


def library() -> Path:
    """The file that this process has loaded."""
    with open("/proc/self/maps") as maps:
        return Path(next(line.split()[-1] for line in maps if "libc4c.so" in line))


def build(kind: str, folder: Path, named: str | None) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("C4C_LIBRARY", "PYTHONPATH")}
    if named is not None:
        env["C4C_LIBRARY"] = named
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)],
        cwd=PROJECT, capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = build("wheel", folder, str(library()))
    assert done.returncode == 0, done.stderr
    (found,) = folder.iterdir()
    return found


def test_what_is_in_the_wheel(wheel: Path) -> None:
    assert wheel.name == f"c4c-{c4c.__version__}-py3-none-linux_{os.uname().machine}.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert {"c4c/libc4c.so.0", "c4c/py.typed", "c4c/towhee.py"} <= set(names)
        assert any(name.endswith("/LICENSE") for name in names)
        assert any(name.endswith("/NOTICE") for name in names)
        assert all(name.startswith("c4c") for name in names)
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
        assert "Requires-Dist: torch==2.11.*" in metadata
        assert "Requires-Dist: numpy" in metadata
        assert "Root-Is-Purelib: false" in archive.read(next(n for n in names if n.endswith("/WHEEL"))).decode()


def test_the_runpath(wheel: Path, tmp_path: Path) -> None:
    if not shutil.which("patchelf") or not shutil.which("readelf"):
        pytest.skip("no patchelf or no readelf")
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.extract("c4c/libc4c.so.0", tmp_path)
    dynamic = subprocess.run(["readelf", "-d", packed], capture_output=True, text=True, check=True).stdout
    assert "[$ORIGIN/../torch/lib]" in dynamic


def test_a_wheel_without_a_library(tmp_path: Path) -> None:
    done = build("wheel", tmp_path, None)
    assert done.returncode != 0
    assert "C4C_LIBRARY" in done.stderr
    for wrong in (str(PROJECT / "pyproject.toml"), str(tmp_path / "none")):
        assert build("wheel", tmp_path, wrong).returncode != 0
    assert build("wheel", tmp_path, "system").returncode == 0
    (made,) = tmp_path.glob("*.whl")
    assert made.name.endswith("-py3-none-any.whl")


def test_what_is_in_the_sdist(tmp_path: Path) -> None:
    assert build("sdist", tmp_path, None).returncode == 0
    (made,) = tmp_path.iterdir()
    with tarfile.open(made) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
        assert all(member.isfile() for member in archive.getmembers())
    wanted = {
        "pyproject.toml",
        "hatch_build.py",
        "README.md",
        "LICENSE",
        "NOTICE",
        "tests/test_wheel.py",
        "src/c4c/__init__.py",
    }
    assert wanted <= names
    assert not any(name.endswith(".so.0") for name in names)


def test_the_licence_is_the_projects() -> None:
    for name in ("LICENSE", "NOTICE"):
        above = PROJECT.parent.parent / name
        if above.exists():
            assert (PROJECT / name).read_bytes() == above.read_bytes()


def test_it_works_in_a_fresh_environment(wheel: Path, weights: str, video: str, tmp_path: Path) -> None:
    torch = os.environ.get("C4C_TEST_TORCH")
    if not torch:
        found = find_torch()
        if found is None or not found.fits:
            pytest.skip("no torch 2.11 here, and C4C_TEST_TORCH does not name the folder that it is in")
        torch = str(found.folder.parent)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    env = {k: v for k, v in os.environ.items() if k not in ("C4C_LIBRARY", "PYTHONPATH", "LD_LIBRARY_PATH")}
    subprocess.run([*install, str(wheel)], check=True, env=env)
    # numpy from here, torch from there, without what else is in those folders.
    others = tmp_path / "others"
    others.mkdir()
    numpy = Path(np.__file__).parent.parent
    for name in ("numpy", "numpy.libs"):
        if (numpy / name).exists():
            (others / name).symlink_to(numpy / name)
    code = f"""
import sys, c4c
assert "torch" not in sys.modules
model = c4c.Model({weights!r})
print(c4c.library_path)
print(model.embed_video({video!r}).shape == (model.dim,), model.embed_text("a dog").shape == (model.dim,))
print(next(line.split()[-1] for line in open("/proc/self/maps") if "libtorch_cpu" in line))
"""
    env["PYTHONPATH"] = os.pathsep.join([torch, str(others)])
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, env=env, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path, worked, libtorch = done.stdout.splitlines()
    assert Path(path).is_relative_to(tmp_path / "venv")
    assert worked == "True True"
    assert Path(libtorch).resolve() == (Path(torch) / "torch" / "lib" / "libtorch_cpu.so").resolve()
    env["PYTHONPATH"] = str(others)
    done = subprocess.run(
        [python, "-c", "import c4c"], capture_output=True, text=True, env=env, check=False, cwd=tmp_path
    )
    assert "pip install 'torch==2.11.*'" in done.stderr
