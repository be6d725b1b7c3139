"""What the tests need: C4C_TEST_WEIGHTS (a checkpoint with both towers; the smaller, the faster), C4C_TEST_VIDEO and,
for the header's tests, C4C_TEST_HEADER. Everything else they make."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

import c4c


def needed(variable: str, what: str) -> str:
    value = os.environ.get(variable)
    if not value or not Path(value).is_file():
        pytest.fail(f"set {variable} to {what}; it is {value!r}", pytrace=False)
    return value


@pytest.fixture(scope="session")
def weights() -> str:
    return needed("C4C_TEST_WEIGHTS", "a checkpoint with both towers")


@pytest.fixture(scope="session")
def video() -> str:
    return needed("C4C_TEST_VIDEO", "a video file of at least a second")


@pytest.fixture(scope="session")
def header() -> str:
    return needed("C4C_TEST_HEADER", "the installed c4c.h")


@pytest.fixture(scope="session")
def model(weights: str) -> Iterator[c4c.Model]:
    with c4c.Model(weights) as model:
        yield model


@pytest.fixture(scope="session")
def pictures() -> np.ndarray[Any, Any]:
    """`[5, 60, 80, 3]`: different pictures, of no symmetry."""
    return np.random.default_rng(7).integers(0, 256, (5, 60, 80, 3), np.uint8)


@pytest.fixture
def script(weights: str, video: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python code in a process of its own, with WEIGHTS and VIDEO, and gives what came out."""

    def run(
        code: str, check: bool = True, python: str = sys.executable, **env: str
    ) -> subprocess.CompletedProcess[str]:
        head = f"WEIGHTS, VIDEO = {weights!r}, {video!r}\n"
        done = subprocess.run(
            [python, "-c", head + textwrap.dedent(code)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, **env},
        )
        if check:
            assert done.returncode == 0, f"rc {done.returncode}\n{done.stdout}\n{done.stderr}"
            assert done.stderr == ""
        return done

    return run


def nearly(a: Any, b: Any) -> bool:
    """Whether two results are the same but for the company that they were computed in, which some CPUs let be seen."""
    return bool(np.allclose(a, b, rtol=0, atol=2e-6))


def close_to(a: Any, b: Any, most: float = 1e-6) -> bool:
    """Whether the cosines of two vectors, or of rows, are 1 but for rounding."""
    a, b = np.atleast_2d(np.asarray(a, np.float64)), np.atleast_2d(np.asarray(b, np.float64))
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return bool(np.all(1 - cosine < most))
