"""The stand-ins for Towhee's operators."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import close_to

import c4c
import c4c.towhee as ops


class VideoFrame(np.ndarray):
    """An array with a mode and a timestamp, like Towhee's."""

    mode: Any
    timestamp: Any

    def __new__(cls, data: Any, mode: Any = "RGB", timestamp: int = 0) -> VideoFrame:
        made: VideoFrame = np.asarray(data).view(cls)
        made.mode, made.timestamp = mode, timestamp
        return made


@pytest.fixture(scope="module")
def text(weights: str) -> Iterator[ops.clip4clip]:
    op = ops.clip4clip(None, "text", weights)
    yield op
    op.close()


@pytest.fixture(scope="module")
def vision(weights: str) -> Iterator[ops.clip4clip]:
    op = ops.clip4clip(model_name=None, modality="video", weight_path=weights, device="cpu", num_threads=1)
    yield op
    op.close()


def test_text(text: ops.clip4clip, model: c4c.Model) -> None:
    vector = text("kids feeding and playing with the horse")
    assert type(vector) is np.ndarray
    assert vector.shape == (model.dim,)
    assert vector.dtype == np.float32
    assert vector.flags.c_contiguous
    assert close_to(vector, model.embed_text("kids feeding and playing with the horse"))
    vectors = text(["a", "b"])
    assert isinstance(vectors, list)
    assert [v.shape for v in vectors] == [(model.dim,)] * 2
    for wrong in (3, None, [1]):
        with pytest.raises(TypeError):
            text(wrong)


def test_frames(vision: ops.clip4clip, model: c4c.Model, pictures: Any) -> None:
    expected = model.embed_frames(pictures)
    vector = vision([VideoFrame(p) for p in pictures])
    assert isinstance(vector, np.ndarray)
    assert vector.shape == (model.dim,)
    assert vector.dtype == np.float32
    assert close_to(vector, expected)
    assert close_to(vision(list(pictures)), expected)
    assert close_to(vision(VideoFrame(p) for p in pictures), expected)
    assert close_to(vision([VideoFrame(p, mode=None) for p in pictures]), expected)
    assert close_to(vision([VideoFrame(p[..., ::-1].copy(), mode="BGR") for p in pictures]), expected)
    many = [VideoFrame(p) for p in pictures] * 5
    assert close_to(vision(many), model.embed_frames(many))
    with pytest.raises(ValueError, match="n_frames"):
        vision([])
    for wrong in (None, 3):
        with pytest.raises(TypeError):
            vision(wrong)


def test_paths_and_the_decoder(vision: ops.clip4clip, model: c4c.Model, video: str) -> None:
    expected = model.embed_video(video, c4c.VideoOptions(num_frames=12, color="operator"))
    assert close_to(vision(video), expected)
    decode = ops.video_decode.ffmpeg(sample_type="uniform_temporal_subsample", args={"num_samples": 12})
    assert close_to(vision(decode(video)), expected)
    assert close_to(vision([frame for frame in decode(video)]), expected)  # noqa: C416 (as pipelines have it)
    part = ops.ffmpeg(0.5, 1.0, "uniform_temporal_subsample", {"num_samples": 3})
    options = c4c.VideoOptions(num_frames=3, start=0.5, end=1.0, color="operator")
    assert close_to(vision(part(video)), model.embed_video(video, options))
    with pytest.raises(FileNotFoundError):
        vision("/none.mp4")


def test_what_is_not_served(weights: str) -> None:
    for modality in ("both", "audio", "", None):
        with pytest.raises(ValueError, match="modality"):
            ops.clip4clip("clip_vit_b32", modality, weights)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight_path"):
        ops.clip4clip("clip_vit_b32", "text")
    with pytest.raises(ValueError, match="model_name"):
        ops.clip4clip("resnet50", "text", weights)
    with pytest.raises(c4c.WeightsError):
        ops.clip4clip("clip_vit_b32", "text", weights)  # it is another model
    for sample_type, args in ((None, None), ("time_step_sample", {"time_step": 1}), ("uniform_temporal_subsample", {})):
        with pytest.raises(ValueError, match=r"sample_type|num_samples"):
            ops.ffmpeg(sample_type=sample_type, args=args)


class Device:
    """Like torch.device."""

    def __str__(self) -> str:
        return "cuda:4095"


def test_the_device_is_the_models(weights: str, text: ops.clip4clip) -> None:
    for device in ("cuda:4095", Device()):
        with pytest.raises(c4c.DeviceError, match="`cuda:4095` cannot be used"):
            ops.clip4clip(None, "text", weights, device=device)
    assert text.model.info.device == ("cuda:0" if c4c.cuda_devices().count else "cpu")
    with contextlib.closing(ops.clip4clip(None, "text", weights, device="cpu", cuda_graphs=False)) as on_cpu:
        assert on_cpu.model.info.device == "cpu"
        with contextlib.closing(pickle.loads(pickle.dumps(on_cpu))) as again:
            assert again.model.info.device_note == ""  # it was named, and not chosen


def test_copies(text: ops.clip4clip) -> None:
    assert copy.deepcopy(text) is text
    with contextlib.closing(pickle.loads(pickle.dumps(text))) as other:
        assert other.model is not text.model
        assert np.array_equal(other("a dog"), text("a dog"))


def test_in_a_real_pipeline(weights: str, video: str, model: c4c.Model) -> None:
    towhee = pytest.importorskip("towhee")
    texts = (
        towhee.pipe.input("text")
        .map("text", "vec", ops.video_text_embedding.clip4clip(None, "text", weights))
        .output("vec")
    )
    assert close_to(texts("a dog").get()[0], model.embed_text("a dog"))
    decode = ops.video_decode.ffmpeg(sample_type="uniform_temporal_subsample", args={"num_samples": 12})
    videos = (
        towhee.pipe.input("path")
        .map("path", "generator", decode)
        .map("generator", "frames", lambda x: [y for y in x])  # noqa: C416
        .map("frames", "vec", ops.video_text_embedding.clip4clip(None, "video", weights))
        .output("vec")
    )
    expected = model.embed_video(video, c4c.VideoOptions(color="operator"))
    assert close_to(videos(video).get()[0], expected)
