"""Pictures in memory: every layout comes to the same vector, and nothing is copied that need not be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import close_to, nearly

import c4c
from c4c._frames import Frame


@pytest.fixture(scope="module")
def expected(model: c4c.Model, pictures: Any) -> Any:
    return model.embed_images(pictures)


def same(model: c4c.Model, images: Any, expected: Any, *more: Any, **named: Any) -> bool:
    return nearly(model.embed_images(images, *more, **named), expected)


def test_images_and_frames(model: c4c.Model, pictures: Any, expected: Any) -> None:
    assert expected.shape == (5, model.dim)
    assert not close_to(expected[0], expected[1], 1e-9)
    video = model.embed_frames(pictures)
    assert video.shape == (model.dim,)
    if model.info.head is c4c.Head.MEAN:
        mean = expected.mean(0)
        assert close_to(video, mean / np.linalg.norm(mean))
    out = np.zeros(model.dim, np.float32)
    assert model.embed_frames(list(pictures), out=out) is out
    assert nearly(out, video)
    assert same(model, pictures, expected, out=np.zeros_like(expected))


def test_any_iterable(model: c4c.Model, pictures: Any, expected: Any) -> None:
    assert same(model, list(pictures), expected)
    assert same(model, tuple(pictures), expected)
    assert same(model, (p for p in pictures), expected)
    assert same(model, [Frame(p) for p in pictures], expected)


def test_sizes_may_differ(model: c4c.Model, pictures: Any, expected: Any) -> None:
    mixed = [pictures[0], pictures[1][:31, :17], pictures[2]]
    vectors = model.embed_images(mixed)
    assert nearly(vectors[[0, 2]], expected[[0, 2]])
    assert nearly(vectors[1], model.embed_images([np.ascontiguousarray(mixed[1])])[0])


def test_formats(model: c4c.Model, pictures: Any, expected: Any) -> None:
    alpha = np.full((*pictures.shape[:3], 1), 9, np.uint8)
    bgr = np.ascontiguousarray(pictures[..., ::-1])
    assert same(model, pictures, expected, "rgb24")
    assert same(model, pictures, expected, c4c.PixelFormat.RGB24)
    assert same(model, bgr, expected, "bgr24")
    assert same(model, np.concatenate([pictures, alpha], 3), expected, "rgba")
    assert same(model, np.concatenate([pictures, alpha], 3), expected)
    assert same(model, np.concatenate([bgr, alpha], 3), expected, "bgra")
    gray = pictures[..., 0]
    as_rgb = model.embed_images(np.repeat(gray[..., None], 3, 3))
    assert same(model, gray, as_rgb, "gray8")
    assert same(model, list(gray), as_rgb)
    assert same(model, list(gray[..., None]), as_rgb)


def addresses(array: Any) -> tuple[int, int]:
    module: Any = getattr(np.lib, "array_utils", np)
    low, high = module.byte_bounds(array)
    return low, high


def borrowed(frame: Frame, array: Any) -> bool:
    low, high = addresses(array)
    return all(low <= plane < high for plane in frame.planes)


@pytest.mark.parametrize(
    "view",
    [
        lambda p: p,
        lambda p: p[5:50],
        lambda p: p[:, 7:60],
        lambda p: p[::2],
        lambda p: p[::-1],
        lambda p: p[50:5:-3, 1:],
        lambda p: p[..., ::-1],
        lambda p: p[:1],
        lambda p: p[:, :1],
        lambda p: p[:1, :1],
        lambda p: p[10:11, ::-1][:, :1],
    ],
)
def test_views_are_not_copied(model: c4c.Model, pictures: Any, view: Any) -> None:
    whole = pictures[0]
    frame = Frame(view(whole))
    assert borrowed(frame, whole)
    assert same(model, [frame], model.embed_images([np.ascontiguousarray(view(whole))]))


@pytest.mark.parametrize(
    "view",
    [
        lambda p: p[:, ::2],
        lambda p: p[:, ::-1],
        lambda p: p.transpose(1, 0, 2),
        lambda p: np.asfortranarray(p),
        lambda p: np.broadcast_to(p[:1], p.shape),
        lambda p: p[:, ::-1, ::-1],
    ],
)
def test_what_the_library_cannot_read_is_copied(model: c4c.Model, pictures: Any, view: Any) -> None:
    seen = view(pictures[0])
    assert same(model, [seen], model.embed_images([np.ascontiguousarray(seen)]))


def test_read_only_memory(model: c4c.Model, pictures: Any, expected: Any) -> None:
    locked = pictures.copy()
    locked.flags.writeable = False
    assert borrowed(Frame(locked[0]), locked)
    assert same(model, locked, expected)
    assert same(model, [np.frombuffer(p.tobytes(), np.uint8).reshape(p.shape) for p in pictures], expected)


def test_rotation(model: c4c.Model, pictures: Any, expected: Any) -> None:
    for quarter in (0, 1, 2, 3):
        # Turned against the clock, so that the library has to turn it with the clock.
        turned = [np.rot90(p, quarter) for p in pictures]
        assert close_to(model.embed_images(turned, rotation=90 * quarter), expected)
        assert close_to(model.embed_images([Frame(p, rotation=90 * quarter) for p in turned]), expected)


def yuv(pictures: Any) -> tuple[Any, Any, Any]:
    """Made-up planes in the layout of I420; what they show does not matter."""
    return pictures[0, ..., 0], pictures[0, ::2, ::2, 1], pictures[0, ::2, ::2, 2]


def test_i420_and_nv12_are_the_same_picture(model: c4c.Model, pictures: Any) -> None:
    y, u, v = (np.ascontiguousarray(p) for p in yuv(pictures))
    uv = np.stack([u, v], -1)
    expected = model.embed_images([(y, u, v)], "i420")
    assert same(model, [(y, uv)], expected, "nv12")
    assert same(model, [(y, uv.reshape(30, 80))], expected, "nv12")
    packed = np.concatenate([y.ravel(), u.ravel(), v.ravel()]).reshape(90, 80)
    assert same(model, [packed], expected, "i420")
    assert same(model, packed[None], expected, "i420")
    assert same(model, np.concatenate([y, uv.reshape(30, 80)])[None], expected, "nv12")
    assert borrowed(Frame(packed, "i420"), packed)
    # Rows with something behind them, as decoders have them.
    wide = [np.pad(p, ((0, 0), (0, 16)))[:, : p.shape[1]] for p in (y, u, v)]
    assert Frame(wide, "i420").planes == [p.__array_interface__["data"][0] for p in wide]
    assert same(model, [wide], expected, "i420")
    upside_down = [np.ascontiguousarray(p[::-1])[::-1] for p in (y, u, v)]
    assert same(model, [Frame(upside_down, "i420")], expected)


def test_odd_sides(model: c4c.Model, pictures: Any) -> None:
    y = np.ascontiguousarray(pictures[0, :31, :17, 0])
    u, v = (np.ascontiguousarray(pictures[0, :16, :9, i]) for i in (1, 2))
    assert same(model, [(y, np.stack([u, v], -1))], model.embed_images([(y, u, v)], "i420"), "nv12")


def test_color(model: c4c.Model, pictures: Any) -> None:
    planes = [yuv(pictures)]
    bt601 = model.embed_images(planes, "i420")
    assert same(model, planes, bt601, "i420", color_matrix="bt601", color_range="limited")
    assert not same(model, planes, bt601, "i420", color_matrix=c4c.Matrix.BT709)
    assert not same(model, planes, bt601, "i420", color_range=c4c.Range.FULL)
    assert not same(model, [Frame(planes[0], "i420", color_matrix="bt2020")], bt601)
    with pytest.raises(c4c.Error, match="color_range"):
        model.embed_images(pictures, color_range="limited")


def test_pil(model: c4c.Model, pictures: Any, expected: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    pil = [image.fromarray(p) for p in pictures]
    assert same(model, pil, expected)
    assert close_to(model.embed_frames(pil), model.embed_frames(pictures))
    assert same(model, [p.convert("RGBA") for p in pil], expected)
    gray = pictures[..., 0]
    assert same(model, [image.fromarray(g) for g in gray], model.embed_images(gray, "gray8"))
    palette = pil[0].convert("P")
    assert same(model, [palette], model.embed_images([palette.convert("RGB")]))
    assert same(model, [pil[0], pictures[1], Frame(pil[2])], expected[:3])
    with pytest.raises(ValueError, match="one picture"):
        model.embed_images(pil[0])


@pytest.mark.parametrize(
    ("frames", "format", "kind"),
    [
        ([], None, ValueError),
        (np.zeros((4, 4, 3), np.uint8), None, ValueError),
        (np.zeros((4, 4), np.uint8), "gray8", ValueError),
        (np.zeros((1, 4, 4, 2), np.uint8), None, ValueError),
        (np.zeros((1, 4, 4, 3), np.uint8), "rgba", ValueError),
        (np.zeros((1, 4, 4, 3), np.uint8), "nv12", ValueError),
        (np.zeros((1, 0, 4, 3), np.uint8), None, ValueError),
        (np.zeros((1, 4, 4, 3), np.float32), None, TypeError),
        (np.zeros((1, 4, 4, 3), np.int8), None, TypeError),
        ([[[1, 2, 3]]], None, ValueError),
        ([np.zeros((4, 4, 3), np.uint8), None], None, TypeError),
        ([(np.zeros((4, 4), np.uint8),) * 2], "i420", ValueError),
        ([(np.zeros((4, 4), np.uint8),) * 3], "i420", ValueError),
        ([(np.zeros((4, 4), np.uint8),) * 2], "nv12", ValueError),
        ([np.zeros((5, 4), np.uint8)], "nv12", ValueError),
        ([np.zeros((6, 3), np.uint8)], "i420", ValueError),
        (3, None, TypeError),
    ],
)
def test_wrong_frames(model: c4c.Model, frames: Any, format: Any, kind: type[Exception]) -> None:
    for call in (model.embed_frames, model.embed_images):
        with pytest.raises(kind):
            call(frames, format)


def test_the_message_names_the_frame(model: c4c.Model, pictures: Any) -> None:
    with pytest.raises(ValueError, match=r"frames\[2\]"):
        model.embed_frames([*pictures[:2], pictures[2, :, :, :2]])


def test_score(model: c4c.Model, pictures: Any) -> None:
    texts = ["a dog", "a cat"]
    scores = model.score(texts, pictures)
    assert scores.shape == (2,)
    assert model.score("a cat", pictures).shape == ()
    assert np.allclose(model.score("a cat", pictures), scores[1])
    if model.info.head is c4c.Head.MEAN:
        cosines = c4c.similarity(model.embed_text(texts), model.embed_frames(pictures))
        assert np.allclose(scores, cosines * np.exp(model.info.logit_scale), rtol=1e-4)
    out = np.zeros(2, np.float32)
    assert model.score(texts, list(pictures), "rgb24", out=out) is out
    assert np.array_equal(out, scores)
