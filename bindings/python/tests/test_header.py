"""The binding against the installed header: whatever C has, the binding has, with the same numbers."""

from __future__ import annotations

import ctypes
import dataclasses
import inspect
import re
import subprocess
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import c4c
from c4c import _abi

GROUPS: dict[str, type[IntEnum]] = {
    "c4c_status_code": c4c.Status,
    "c4c_modality": c4c.Modality,
    "c4c_precision": c4c.Precision,
    "c4c_head": c4c.Head,
    "c4c_activation": c4c.Activation,
    "c4c_pixel_format": c4c.PixelFormat,
    "c4c_location": c4c.Location,
    "c4c_matrix": c4c.Matrix,
    "c4c_range": c4c.Range,
    "c4c_sampling": c4c.Sampling,
    "c4c_seek": c4c.Seek,
    "c4c_hwaccel": c4c.HwAccel,
    "c4c_color": c4c.Color,
    "c4c_option_flag": c4c.OptionFlag,  # type: ignore[dict-item]
    "c4c_video_flag": c4c.VideoFlag,  # type: ignore[dict-item]
    "c4c_log_level": c4c.LogLevel,
}
PREFIXES = "E|MODALITY|PRECISION|HEAD|ACTIVATION|PIXEL|LOCATION|MATRIX|RANGE|SAMPLING|SEEK|HWACCEL|COLOR|LOG"


@pytest.fixture(scope="module")
def text(header: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", Path(header).read_text(), flags=re.DOTALL)


def test_every_constant_has_its_number(text: str) -> None:
    enums = {
        name: {k: int(v) for k, v in re.findall(r"(C4C_\w+) = (-?\d+)", body)}
        for name, body in re.findall(r"enum (c4c_\w+)[^{;]*\{(.*?)\};", text, re.DOTALL)
    }
    assert enums.keys() == GROUPS.keys()
    for name, constants in enums.items():
        ours = {member.name: member.value for member in GROUPS[name]}
        assert ours == {re.sub(rf"^C4C_(({PREFIXES})_)?", "", k): v for k, v in constants.items()}, name


def test_every_macro_has_its_number(text: str) -> None:
    macros = {name: int(value) for name, value in re.findall(r"#define C4C_(\w+) (-?\d+)", text)}
    assert macros.keys() >= {"ABI_VERSION", "SEEK_SIZE"}
    for name, value in macros.items():
        assert getattr(c4c, name) == value


def test_every_function_is_declared_with_as_many_parameters(text: str) -> None:
    functions = {
        name: 0 if parameters.strip() == "void" else parameters.count(",") + 1
        for name, parameters in re.findall(r"C4C_API[^;(]*?\b(c4c_\w+)\s*\(([^)]*)\)", text)
    }
    assert len(functions) >= 26
    assert {name: len(parameters) for name, (_, parameters) in _abi.FUNCTIONS.items()} == functions


def test_every_function_is_used() -> None:
    folder = Path(c4c.__file__).parent
    code = "".join(file.read_text() for file in folder.glob("*.py") if file.name != "_abi.py")
    for name in _abi.FUNCTIONS:
        assert re.search(rf"\b{name}\b", code), name


def structs(text: str) -> dict[str, list[str]]:
    """Each struct with its fields."""
    found: dict[str, Any] = {}
    for name, body in re.findall(r"typedef struct (c4c_\w+) \{(.*?)\} \1;", text, re.DOTALL):
        members = [m.strip() for m in body.split(";") if m.strip()]
        found[name] = [re.findall(r"\(\*(\w+)\)|(\w+)(?:\[\d+\])?$", m)[0] for m in members]
        found[name] = [pointer or plain for pointer, plain in found[name]]
    return found


def test_every_struct_has_the_size_and_offsets_of_c(text: str, header: str, tmp_path: Path) -> None:
    found = structs(text)
    assert len(found) >= 8
    lines = []
    for name, fields in found.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        lines += [f'printf("{name}.{f} %zu\\n", offsetof({name}, {f}));' for f in fields]
    source, program = tmp_path / "sizes.c", tmp_path / "sizes"
    source.write_text('#include "c4c.h"\n#include <stdio.h>\nint main(void) {\n' + "\n".join(lines) + "\n}\n")
    subprocess.run(["cc", f"-I{Path(header).parent}", source, "-o", program], check=True)
    output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    c = {name: int(value) for name, value in (line.split() for line in output.splitlines())}
    ours: dict[str, int] = {}
    for name in found:
        struct = getattr(_abi, name)
        ours[name] = ctypes.sizeof(struct)
        ours.update({f"{name}.{field[0]}": getattr(struct, field[0]).offset for field in struct._fields_})
    assert ours == c


def test_every_field_can_be_reached(text: str) -> None:
    found = structs(text)
    internal = {"struct_size", "reserved", "log_user_data", "user_data"}
    reached = {
        "c4c_options": set(inspect.signature(c4c.Model).parameters),
        "c4c_video_options": {field.name for field in dataclasses.fields(c4c.VideoOptions)},
        "c4c_info": {field.name for field in dataclasses.fields(c4c.Info)},
        "c4c_stats": {field.name for field in dataclasses.fields(c4c.Stats)},
        "c4c_frame": set(c4c.Frame.__slots__),
        "c4c_call": set(inspect.signature(c4c.Model.embed_text).parameters),
        "c4c_error": {"status", "message"},
        "c4c_io": {"read", "seek"},
    }
    # Where the idiom of Python has another name for it.
    names = {
        "weights_path": "weights",
        "tokenizer_path": "tokenizer",
        "max_batch_delay_us": "max_batch_delay",
        "start_us": "start",
        "end_us": "end",
        "stream_index_plus_1": "stream_index",
        "timeout_us": "timeout",
    }
    assert found.keys() == reached.keys()
    for name, fields in found.items():
        missing = {names.get(f, f) for f in fields} - internal - reached[name]
        if name in ("c4c_options", "c4c_video_options"):
            assert missing == {"flags"}, name
        elif name in ("c4c_info", "c4c_stats"):
            assert {f for f in fields if f not in internal} == reached[name]
        else:
            assert missing == set(), name


def test_every_flag_has_an_argument() -> None:
    flags = {flag.name.lower().replace("no_cuda", "cuda") for flag in c4c.OptionFlag if flag.name}
    assert flags <= set(inspect.signature(c4c.Model).parameters)
    assert {flag.name.lower() for flag in c4c.VideoFlag if flag.name} <= {
        field.name for field in dataclasses.fields(c4c.VideoOptions)
    }


def test_status_names_are_the_headers() -> None:
    for status in c4c.Status:
        name = status.name if status is c4c.Status.OK else f"E_{status.name}"
        assert c4c.status_name(status) == f"C4C_{name}"
    assert c4c.status_name(-12345) == "unknown status"


@pytest.mark.parametrize("name", ["modality", "precision", "head", "activation", "log_level"])
@pytest.mark.parametrize("value", ["wrong", "", 99, None, True])
def test_an_unknown_option_is_an_error(weights: str, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        c4c.Model(weights, **{name: value})


@pytest.mark.parametrize("name", ["sampling", "seek", "color", "hwaccel"])
def test_an_unknown_video_option_is_an_error(model: c4c.Model, video: str, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        model.embed_video(video, c4c.VideoOptions(**{name: "wrong"}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"), [("format", "rgb25"), ("color_matrix", "bt710"), ("color_range", "wide"), ("rotation", 45)]
)
def test_an_unknown_value_of_a_frame_is_an_error(model: c4c.Model, pictures: Any, name: str, value: Any) -> None:
    for call in (model.embed_frames, model.embed_images):
        with pytest.raises(ValueError, match=name):
            call(list(pictures), **{name: value})
    with pytest.raises(ValueError, match=name):
        c4c.Frame(pictures[0], **{name: value})


def test_a_wrong_number_is_not_cut(weights: str, model: c4c.Model, video: str) -> None:
    for name in ("max_words", "num_threads", "max_batch", "max_batch_delay"):
        for value in (-1, 2**32):
            with pytest.raises(ValueError, match=name):
                c4c.Model(weights, **{name: value})  # type: ignore[arg-type]
    numbers = {"num_frames": 2**32, "decode_threads": -1, "stream_index": -1, "max_pixels": 2**64, "hwaccel_device": -1}
    for name, value in numbers.items():
        with pytest.raises(ValueError, match=name):
            model.embed_video(video, c4c.VideoOptions(**{name: value}))  # type: ignore[arg-type]
    for name, number in {"start": -1.0, "end": 0.0, "fps": np.nan}.items():
        with pytest.raises(ValueError, match=name):
            model.embed_video(video, c4c.VideoOptions(**{name: number}))  # type: ignore[arg-type]
