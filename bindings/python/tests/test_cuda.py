"""Pictures in a GPU's memory, told by objects that only say so: what goes to C is looked at, and no pixel is."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import c4c
from c4c import _abi
from c4c._frames import Packed, pack

BASE = 0x7F00_0000_0000


class Tensor:
    """An array on a GPU, as PyTorch (version 2 of the protocol, no stream) or CuPy (3) describe theirs."""

    def __init__(
        self, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, address: int = BASE, **more: Any
    ) -> None:
        data = (address, False)
        self.__cuda_array_interface__ = {
            "typestr": "|u1", "shape": shape, "strides": strides, "data": data, "version": 2, **more,
        }  # fmt: skip


class OnGpu(Tensor):
    def __init__(self, *args: Any, device: int = 0, **more: Any) -> None:
        super().__init__(*args, **more)
        self.device = device

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device


def packed(frames: Any, format: str | None = None) -> Packed:
    return pack(frames, format, "unknown", "unknown", 0)


def slot(frame: c4c.Frame) -> _abi.c4c_frame:
    made: _abi.c4c_frame = packed([frame]).array[0]
    return made


def test_a_picture() -> None:
    got = slot(c4c.Frame(OnGpu((60, 80, 3), device=2)))
    assert (got.location, got.device_index, got.stream) == (c4c.Location.CUDA, 2, None)
    assert (got.format, got.width, got.height) == (c4c.PixelFormat.RGB24, 80, 60)
    assert (got.planes[0], got.strides[0]) == (BASE, 240)
    assert repr(c4c.Frame(OnGpu((60, 80, 3), device=2))) == "<c4c.Frame 80x60 rgb24 on cuda:2>"


def test_rows_may_be_strided() -> None:
    for stride in (256, -256, 240):
        got = slot(c4c.Frame(OnGpu((60, 80, 3), (stride, 3, 1))))
        assert (got.planes[0], got.strides[0]) == (BASE, stride)
    assert slot(c4c.Frame(OnGpu((60, 80), (100, 1)))).format == c4c.PixelFormat.GRAY8
    assert slot(c4c.Frame(OnGpu((60, 80, 4), (512, 4, 1)), "bgra")).strides[0] == 512


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        ((60, 80, 3), (80, 1, 4800)),  # [3, h, w] seen as [h, w, 3]
        ((60, 80, 3), (480, 6, 1)),
        ((60, 80, 3), (240, -3, 1)),
        ((60, 80, 3), (240, 3, -1)),
        ((60, 80, 3), (0, 3, 1)),
    ],
)
def test_what_the_library_cannot_read_is_not_copied(shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="contiguous"):
        c4c.Frame(OnGpu(shape, strides))


def test_planes() -> None:
    y, uv = OnGpu((31, 17), (512, 1)), OnGpu((16, 9, 2), (512, 2, 1), address=BASE + 31 * 512)
    got = slot(c4c.Frame((y, uv), "nv12"))
    assert (got.location, got.width, got.height) == (c4c.Location.CUDA, 17, 31)
    assert list(got.planes)[:2] == [BASE, BASE + 31 * 512]
    assert list(got.strides)[:2] == [512, 512]
    # As decoders give it: both planes in one surface.
    surface = slot(c4c.Frame(OnGpu((1620, 1920), (2048, 1)), "nv12"))
    assert (surface.width, surface.height) == (1920, 1080)
    assert list(surface.planes)[:2] == [BASE, BASE + 1080 * 2048]
    u = OnGpu((16, 9))
    assert list(slot(c4c.Frame((y, u, u), "i420")).strides)[:3] == [512, 9, 9]
    with pytest.raises(ValueError, match="three planes"):
        c4c.Frame(OnGpu((90, 80)), "i420")
    with pytest.raises(ValueError, match="some of these"):
        c4c.Frame((y, np.zeros((16, 9, 2), np.uint8)), "nv12")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one GPU"):
        c4c.Frame((y, OnGpu((16, 9, 2), device=1)), "nv12")
    with pytest.raises(ValueError, match="one GPU"):
        c4c.Frame((y, OnGpu((16, 9, 2), stream=5)), "nv12")


def test_arrays_of_pictures() -> None:
    # 2 pictures out of a ring of 4 with padded rows.
    frames = packed(OnGpu((2, 60, 80, 3), (4 * 60 * 256, 256, 3, 1), device=1))
    assert frames.count == 2
    assert [got.planes[0] for got in frames.array] == [BASE, BASE + 4 * 60 * 256]
    assert [got.strides[0] for got in frames.array] == [256, 256]
    assert [got.device_index for got in frames.array] == [1, 1]
    assert [got.planes[0] for got in packed(OnGpu((2, 60, 80)), "gray8").array] == [BASE, BASE + 4800]
    assert packed([OnGpu((6, 8, 3)), OnGpu((60, 80, 3))]).count == 2
    for one in (OnGpu((60, 80, 3)), OnGpu((60, 80))):
        with pytest.raises(ValueError, match="one picture goes in a list"):
            packed(one)


@pytest.mark.parametrize(
    ("told", "handle"),
    [({}, None), ({"stream": None}, None), ({"stream": 1}, None), ({"stream": 2}, 2), ({"stream": 0x5500}, 0x5500)],
)
def test_the_stream_is_the_arrays(told: dict[str, Any], handle: int | None) -> None:
    assert slot(c4c.Frame(OnGpu((6, 8, 3), version=3, **told))).stream == handle
    # What is said goes before it.
    assert slot(c4c.Frame(OnGpu((6, 8, 3), version=3, **told), stream=0x6600)).stream == 0x6600
    assert slot(c4c.Frame(OnGpu((6, 8, 3), version=3, **told), stream=0)).stream is None


def test_the_gpu_is_the_arrays_or_is_named() -> None:
    with pytest.raises(ValueError, match="device_index"):
        c4c.Frame(Tensor((6, 8, 3)))
    assert slot(c4c.Frame(Tensor((6, 8, 3)), device_index=3)).device_index == 3
    assert slot(c4c.Frame(OnGpu((6, 8, 3), device=1), device_index=0)).device_index == 0
    with pytest.raises(ValueError, match="device_index"):
        c4c.Frame(Tensor((6, 8, 3)), device_index=-1)
    elsewhere = OnGpu((6, 8, 3))
    elsewhere.__dlpack_device__ = lambda: (10, 0)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="none of CUDA's"):
        c4c.Frame(elsewhere)
    here = np.zeros((6, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="are not"):
        c4c.Frame(here, device_index=0)
    with pytest.raises(ValueError, match="are not"):
        c4c.Frame(here, stream=0)


def test_wrong_arrays() -> None:
    for typestr in ("<f4", "|i1", "|b1"):
        with pytest.raises(TypeError, match="uint8"):
            c4c.Frame(OnGpu((6, 8, 3), typestr=typestr))
    with pytest.raises(ValueError, match="stream 0"):
        c4c.Frame(OnGpu((6, 8, 3), version=3, stream=0))
    with pytest.raises(ValueError, match="mask"):
        c4c.Frame(OnGpu((6, 8, 3), mask=OnGpu((6, 8, 3))))
    for shape in ((6, 8, 2), (8,), (2, 6, 8, 3)):
        with pytest.raises(ValueError, match="not that of a picture"):
            c4c.Frame(OnGpu(shape))
    with pytest.raises(ValueError, match=r"frames\[1\].*contiguous"):
        packed([OnGpu((6, 8, 3)), OnGpu((6, 8, 3), (8, 1, 48))])


def test_pictures_on_the_host_say_so(pictures: Any) -> None:
    for got in packed(pictures).array:
        assert (got.location, got.device_index, got.stream) == (c4c.Location.HOST, 0, None)


class CpuTensor:
    """PyTorch's on the CPU have the attribute, which raises."""

    def __init__(self, array: Any) -> None:
        self.array = array

    @property
    def __cuda_array_interface__(self) -> Any:
        raise AttributeError("Can't get __cuda_array_interface__ on non-CUDA tensor type")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.array


def test_tensors_on_the_host_are_arrays(model: c4c.Model, pictures: Any) -> None:
    frames = [c4c.Frame(CpuTensor(p)) for p in pictures]
    assert {frame.location for frame in frames} == {c4c.Location.HOST}
    assert np.array_equal(model.embed_images(frames), model.embed_images(pictures))


def test_a_stream_of_each_thread_is_waited_for_on_that_thread(model: c4c.Model, monkeypatch: Any) -> None:
    made_by: list[threading.Thread] = []

    def embed(*args: Any) -> str:
        made_by.append(threading.current_thread())
        return ""

    monkeypatch.setattr(model._handle, "embed", embed)
    for stream, here in ((2, True), (1, False), (0x5500, False)):
        frame = c4c.Frame(OnGpu((6, 8, 3), version=3, stream=stream))
        for call in (model.embed_images, model.embed_frames, lambda frames: model.score("a", frames)):
            call([frame])
            assert (made_by.pop() is threading.current_thread()) == here


def test_options_that_are_about_gpus_arrive() -> None:
    how = c4c.VideoOptions(hwaccel="cuda", hwaccel_device=3).to_c()
    assert (how.hwaccel, how.hwaccel_device) == (c4c.HwAccel.CUDA, 3)
    assert (c4c.VideoOptions().to_c().hwaccel, c4c.VideoOptions(hwaccel=c4c.HwAccel.CUDA).to_c().hwaccel) == (0, 1)
