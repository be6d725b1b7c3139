"""How the library and libtorch are found. C4C_TEST_TORCH_PYTHON may name an interpreter with torch and numpy, for the
tests that share libtorch with it; without, they run where this interpreter has torch, and are skipped elsewhere."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import c4c
from c4c import _abi

PACKAGE = Path(c4c.__file__).parent


def stub(folder: Path, abi: int = _abi.ABI_VERSION, leave_out: str = "") -> str:
    """A library that has the functions, and does nothing."""
    functions = [
        f"int {name}(void) {{ return 0; }}" for name in _abi.FUNCTIONS if name not in ("c4c_abi_version", leave_out)
    ]
    source = folder / "stub.c"
    source.write_text("\n".join(functions) + f"\nunsigned c4c_abi_version(void) {{ return {abi}; }}\n")
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", folder / "stub.so"], check=True)
    return str(folder / "stub.so")


def torch_folder(folder: Path, version: str) -> Path:
    """Something that looks like an installed torch."""
    (folder / "torch" / "lib").mkdir(parents=True)
    (folder / "torch" / "__init__.py").write_text("raise SystemExit('torch must not be imported')")
    (folder / "torch" / "version.py").write_text(f"from typing import Optional\n__version__ = '{version}'\n")
    return folder


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A copy of the package with a library inside, which is none."""
    shutil.copytree(PACKAGE, tmp_path / "site" / "c4c", ignore=shutil.ignore_patterns("*.so*", "__pycache__"))
    (tmp_path / "site" / "c4c" / "libc4c.so.0").write_bytes(b"no library")
    return tmp_path / "site"


def loaded(*folders: Path, library: str = "", code: str = "import c4c; print(c4c.library_path)", **env: str) -> str:
    """What an interpreter says to `import c4c`, with numpy and these folders alone."""
    numpy = Path(np.__file__).parent.parent
    own = folders[0] / "numpy-only"
    own.mkdir(exist_ok=True)
    for name in ("numpy", "numpy.libs"):
        if (numpy / name).exists() and not (own / name).exists():
            (own / name).symlink_to(numpy / name)
    environment = {k: v for k, v in os.environ.items() if k not in ("C4C_LIBRARY", "PYTHONPATH")}
    environment.update(env, PYTHONPATH=os.pathsep.join(map(str, (*folders, own))))
    if library:
        environment["C4C_LIBRARY"] = library
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    return done.stdout + done.stderr


def test_the_environment_goes_first(packed: Path) -> None:
    assert loaded(packed, library=c4c.library_path, code="import c4c; print(c4c.version())").strip() == c4c.version()
    out = loaded(packed, library="/none/libc4c.so.0")
    assert "ImportError" in out
    assert "/none/libc4c.so.0" in out


def test_the_systems_library_goes_last(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "site" / "c4c", ignore=shutil.ignore_patterns("*.so*", "__pycache__"))
    out = loaded(tmp_path / "site")
    if "ImportError" in out:
        assert "C4C_LIBRARY" in out
        assert "libc4c.so.0" in out
    else:
        assert out.strip() == "libc4c.so.0"
    system = tmp_path / "lib"
    system.mkdir()
    shutil.copy(stub(tmp_path), system / "libc4c.so.0")
    assert loaded(tmp_path / "site", LD_LIBRARY_PATH=str(system)).strip() == "libc4c.so.0"


def test_the_wheels_library_wants_torch(packed: Path) -> None:
    out = loaded(packed)
    assert "ImportError" in out
    assert "there is no torch" in out
    assert "pip install 'torch==2.11.*'" in out


@pytest.mark.parametrize("version", ["2.10.1", "2.12.0+cpu", "2.110.0", "1.13"])
def test_the_wheels_library_wants_this_torch(packed: Path, tmp_path: Path, version: str) -> None:
    out = loaded(packed, torch_folder(tmp_path / "other", version))
    assert "ImportError" in out
    assert f"torch {version} is in {tmp_path / 'other' / 'torch'}" in out
    assert "pip install 'torch==2.11.*'" in out


def test_a_torch_without_its_libraries(packed: Path, tmp_path: Path) -> None:
    out = loaded(packed, torch_folder(tmp_path / "other", "2.11.0+cpu"))
    assert "ImportError" in out
    assert "libc10.so" in out
    # A library with a libtorch of its own does not need torch's.
    assert loaded(packed, tmp_path / "other", library=c4c.library_path).strip() == c4c.library_path


def test_another_torch_that_is_imported_already(packed: Path, tmp_path: Path) -> None:
    other = torch_folder(tmp_path / "other", "2.5.1")
    (other / "torch" / "__init__.py").write_text("")
    assert "ImportError" in loaded(packed, other, library=c4c.library_path, code="import torch, c4c")
    assert loaded(packed, other, library=c4c.library_path, code="import c4c, torch; print('fine')").strip() == "fine"


def test_another_abi(tmp_path: Path) -> None:
    out = loaded(tmp_path, PACKAGE.parent, library=stub(tmp_path, abi=7))
    assert "ImportError" in out
    assert "has ABI 7" in out


def test_no_libc4c(tmp_path: Path) -> None:
    out = loaded(tmp_path, PACKAGE.parent, library=stub(tmp_path, leave_out="c4c_score"))
    assert "ImportError" in out
    assert "c4c_score" in out
    (tmp_path / "text").write_text("no library")
    assert "ImportError" in loaded(tmp_path, PACKAGE.parent, library=str(tmp_path / "text"))


def test_ffmpeg_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "av.c").write_text("int av(void) { return 0; }\n")
    flags = ["-shared", "-fPIC", "-Wl,--no-as-needed", "-Wl,-soname,libavformat.so.999"]
    subprocess.run(["cc", *flags, tmp_path / "av.c", "-o", tmp_path / "libav.so"], check=True)
    subprocess.run(
        ["cc", *flags[:3], tmp_path / "av.c", tmp_path / "libav.so", "-o", tmp_path / "needs.so"], check=True
    )
    out = loaded(tmp_path, PACKAGE.parent, library=str(tmp_path / "needs.so"))
    assert "ImportError" in out
    assert "libavformat.so.999" in out
    assert "FFmpeg" in out


@pytest.fixture(scope="session")
def torch_python() -> str:
    python = os.environ.get("C4C_TEST_TORCH_PYTHON")
    if not python and importlib.util.find_spec("sympy") and importlib.util.find_spec("torch"):
        python = sys.executable  # a torch without its needs, as libtorch's sake has it, has no sympy
    if not python:
        pytest.skip("no torch here, and C4C_TEST_TORCH_PYTHON is not set")
    return python


@pytest.mark.parametrize("first", ["c4c", "torch"])
def test_libtorch_is_shared_with_torch(script: Any, torch_python: str, first: str) -> None:
    second = "torch" if first == "c4c" else "c4c"
    done = script(
        f"""
        import {first}
        import sys
        if "{first}" == "c4c":
            assert "torch" not in sys.modules
            model = c4c.Model(WEIGHTS, precision="f32")
            vector = model.embed_video(VIDEO)
        else:
            import numpy
            total = torch.ones(300, 300) @ torch.ones(300, 300)
        import {second}
        import torch, numpy
        model = c4c.Model(WEIGHTS, precision="f32")
        assert model.embed_video(VIDEO).shape == (model.dim,)
        assert float((torch.ones(300, 300) @ torch.ones(300, 300)).sum()) == 300 ** 3
        texts = torch.from_numpy(model.embed_text(["a", "b"]))
        assert numpy.allclose(torch.nn.functional.normalize(texts).numpy(), texts.numpy(), atol=1e-6)
        images = torch.randint(0, 256, (2, 40, 60, 3), dtype=torch.uint8)
        assert numpy.array_equal(model.embed_images(images), model.embed_images(images.numpy()))
        maps = {{line.split()[-1] for line in open("/proc/self/maps") if "libtorch_cpu.so" in line}}
        print(len(maps), torch.__file__.rsplit("/", 1)[0] in maps.pop())
        """,
        python=torch_python,
        PYTHONPATH=str(PACKAGE.parent),
    )
    assert done.stdout.split() == ["1", "True"]
