"""Texts, options, errors, limits."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any

import numpy as np
import pytest
from conftest import close_to

import c4c


def test_about() -> None:
    assert c4c.abi_version() == c4c.ABI_VERSION
    assert c4c.build_info()["c4c"] == c4c.version()
    assert "libtorch" in c4c.build_info()


def test_texts(model: c4c.Model) -> None:
    one = model.embed_text("a dog runs on the beach")
    assert one.shape == (model.dim,)
    assert one.dtype == np.float32
    assert abs(np.linalg.norm(one) - 1) < 1e-5
    many = model.embed_text(["a cat sleeps", "a dog runs on the beach", ""])
    assert many.shape == (3, model.dim)
    assert close_to(many[1], one)
    assert not close_to(many[0], one, 1e-4)
    assert close_to(model.embed_text(("a cat sleeps",)), many[:1])


def test_many_texts_are_the_same_as_one_by_one(model: c4c.Model) -> None:
    texts = [f"number {i}" for i in range(100)]
    assert close_to(model.embed_text(texts), np.stack([model.embed_text(t) for t in texts]))


def test_text_is_unicode(model: c4c.Model) -> None:
    assert close_to(model.embed_text("Ein Hund läuft – 犬"), model.embed_text("ein hund läuft – 犬"))


@pytest.mark.parametrize(
    ("texts", "kind", "words"),
    [
        ("a\0b", ValueError, "NUL"),
        (["a", "b\0"], ValueError, r"texts\[1\].*NUL"),
        (["a", 1], TypeError, r"texts\[1\]"),
        (b"bytes", TypeError, r"texts\[0\]"),
        (["\ud800"], ValueError, "surrogates"),
        ([], ValueError, "n_texts"),
        (None, TypeError, "NoneType"),
    ],
)
def test_wrong_texts(model: c4c.Model, texts: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        model.embed_text(texts)


def test_out(model: c4c.Model) -> None:
    expected = model.embed_text(["a", "b"])
    out = np.zeros((2, model.dim), np.float32)
    assert model.embed_text(["a", "b"], out=out) is out
    assert np.array_equal(out, expected)
    rows = np.zeros((4, model.dim), np.float32)
    model.embed_text(["a", "b"], out=rows[1:3])
    assert np.array_equal(rows[1:3], expected)
    assert not rows[0].any()
    assert not rows[3].any()


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((2, 3), np.float32),
        np.zeros(7, np.float32),
        [0.0],
        "transposed",
        "double",
        "read-only",
    ],
)
def test_wrong_out(model: c4c.Model, out: Any) -> None:
    if isinstance(out, str):
        made = {
            "transposed": np.zeros((model.dim, 2), np.float32).T,
            "double": np.zeros((2, model.dim)),
            "read-only": np.zeros((2, model.dim), np.float32),
        }[out]
        made.flags.writeable = out != "read-only"
        out = made
    with pytest.raises((ValueError, TypeError), match="out"):
        model.embed_text(["a", "b"], out=out)


def test_info(model: c4c.Model) -> None:
    info = model.info
    assert info.dim == model.dim
    assert info.modality is c4c.Modality.BOTH
    assert info.head is not c4c.Head.AUTO
    assert info.precision is not c4c.Precision.AUTO
    assert info.device == ("cuda:0" if c4c.cuda_devices().count else "cpu")
    assert info.context_length >= info.max_words == 32
    assert info.device in repr(model)


def test_options_arrive(weights: str) -> None:
    with c4c.Model(
        weights, modality="text", precision=c4c.Precision.F32, max_words=20, num_threads=1, max_batch=3, raw_output=True
    ) as m:
        info = m.info
        assert (info.modality, info.precision) == (c4c.Modality.TEXT, c4c.Precision.F32)
        assert (info.max_words, info.num_threads, info.max_batch) == (20, 1, 3)
        assert abs(np.linalg.norm(m.embed_text("a dog")) - 1) > 1e-3
        with pytest.raises(c4c.ModalityError, match="text only"):
            m.embed_images(np.zeros((1, 4, 4, 3), np.uint8))


def test_strict_text(weights: str) -> None:
    with c4c.Model(weights, modality="text", strict_text=True, max_words=4) as m:
        with pytest.raises(c4c.TextTooLongError) as caught:
            m.embed_text("one two three four five")
        assert caught.value.status is c4c.Status.TEXT_TOO_LONG


def test_stats(weights: str) -> None:
    with c4c.Model(weights) as m:
        m.embed_text(["a", "b", "c"])
        with pytest.raises(c4c.InvalidArgumentError):
            m.embed_text([])
        stats = m.stats()
    assert (stats.calls, stats.texts, stats.failed_argument, stats.running) == (2, 3, 1, 0)
    assert isinstance(stats.mean_text_batch, float)


@pytest.mark.parametrize(
    ("name", "kinds", "status"),
    [
        ("missing", (c4c.WeightsNotFoundError, c4c.WeightsError, FileNotFoundError), c4c.Status.WEIGHTS_IO),
        ("empty", (c4c.WeightsFormatError, ValueError), c4c.Status.WEIGHTS_FORMAT),
        ("noise", (c4c.WeightsFormatError, ValueError), c4c.Status.WEIGHTS_FORMAT),
    ],
)
def test_wrong_weights(tmp_path: Any, name: str, kinds: tuple[type[Exception], ...], status: c4c.Status) -> None:
    path = tmp_path / name
    if name != "missing":
        path.write_bytes(b"noise" * 100 if name == "noise" else b"")
    with pytest.raises(c4c.Error) as caught:
        c4c.Model(path)
    for kind in kinds:
        assert isinstance(caught.value, kind)
    assert caught.value.status is status
    assert isinstance(caught.value.status, c4c.Status)
    if name == "missing":
        assert str(path) in str(caught.value)
        assert caught.value.filename == str(path)  # type: ignore[attr-defined]


def test_another_model_than_asked_for(weights: str) -> None:
    with pytest.raises(c4c.WeightsFormatError) as caught:
        c4c.Model(weights, model_name="clip_vit_b32")
    assert caught.value.status is c4c.Status.WEIGHTS_MISMATCH
    with pytest.raises(ValueError, match="model_name"):
        c4c.Model(weights, model_name="clip_vit_b33")


def test_a_device_that_is_not_there(weights: str) -> None:
    with pytest.raises(c4c.DeviceError, match="`cuda:4095` cannot be used"):
        c4c.Model(weights, device="cuda:4095")
    for wrong in ("toaster", "cuda:", "cuda:0,cuda:0", "cpu,cuda", ""):
        with pytest.raises(ValueError, match="device"):
            c4c.Model(weights, device=wrong)
    with pytest.raises(c4c.UnsupportedError, match="F16 is for GPUs"):
        c4c.Model(weights, device="cpu", precision="f16")


def test_the_device_is_chosen_or_missing_for_a_reason(weights: str) -> None:
    gpus = c4c.cuda_devices()
    with c4c.Model(weights, device="auto", cuda_graphs=False) as m:
        info = m.info
    if gpus.count:
        assert (gpus.reason, info.device, info.device_note) == ("", "cuda:0", "")
        assert info.precision is c4c.Precision.F16
        return
    assert gpus.reason
    assert (info.device, info.device_note) == ("cpu", gpus.reason[:255])
    for device in ("cuda", "cuda:1", "cuda:0,cuda:1", "cuda:*"):
        with pytest.raises(c4c.DeviceError) as caught:
            c4c.Model(weights, device=device)
        assert caught.value.status is c4c.Status.DEVICE
        assert gpus.reason in str(caught.value)


def test_trim(weights: str) -> None:
    with c4c.Model(weights, device="cpu") as m:
        before = m.embed_text("a dog")
        m.trim()
        assert np.array_equal(m.embed_text("a dog"), before)
        assert m.stats().device_bytes == 0
        assert m.info.device_note == ""
    with pytest.raises(c4c.ClosedError):
        m.trim()


def test_paths_are_paths(weights: str, tmp_path: Any) -> None:
    for wrong in (None, 3, b"/bytes"):
        with pytest.raises(TypeError):
            c4c.Model(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="NUL"):
        c4c.Model("a\0b")
    with pytest.raises(c4c.TokenizerError):
        c4c.Model(weights, tokenizer=tmp_path / "none.json")


def test_errors_travel() -> None:
    for error in (c4c.Error("a", -5), c4c.WeightsNotFoundError("b", -20), c4c.TimedOutError("c", -81)):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.status) == (type(error), str(error), error.status)


def test_every_status_has_an_exception() -> None:
    from c4c._errors import error

    for status in c4c.Status:
        if status is not c4c.Status.OK:
            made = error(status, "words")
            assert made.status is status
            assert str(made) == "words"
            assert (type(made) is c4c.InternalError) == (status is c4c.Status.INTERNAL)
    unknown = error(-1000, "words")
    assert isinstance(unknown, c4c.InternalError)
    assert unknown.status == -1000


def test_builtins_are_caught() -> None:
    for kind, builtin in {
        c4c.InvalidArgumentError: ValueError,
        c4c.MediaNotFoundError: FileNotFoundError,
        c4c.MediaIOError: OSError,
        c4c.MediaFormatError: ValueError,
        c4c.ForbiddenError: PermissionError,
        c4c.OutOfMemoryError: MemoryError,
        c4c.TimedOutError: TimeoutError,
        c4c.UnsupportedError: NotImplementedError,
    }.items():
        assert issubclass(kind, builtin)
        assert issubclass(kind, c4c.Error)


def test_closing(weights: str) -> None:
    m = c4c.Model(weights)
    m.embed_text("a")
    m.close()
    m.close()
    assert "closed" in repr(m)
    for call in (lambda: m.embed_text("a"), m.stats, lambda: m.embed_images(np.zeros((1, 4, 4, 3), np.uint8))):
        with pytest.raises(c4c.ClosedError):
            call()


def test_copies_are_the_same_model_and_pickles_are_refused(model: c4c.Model) -> None:
    assert copy.copy(model) is model
    assert copy.deepcopy({"f": model.embed_text})["f"]("a").shape == (model.dim,)
    with pytest.raises(TypeError, match="each process"):
        pickle.dumps(model)


def test_timeouts(model: c4c.Model, video: str) -> None:
    # Much work, so that it is not done before somebody looks at the clock.
    pictures = [c4c.Frame(np.zeros((60, 80, 3), np.uint8))] * 200
    for timeout in (0, 1e-9, 1e-6):
        for call in (
            lambda: model.embed_text(["a"] * 3000, timeout=timeout),
            lambda: model.embed_frames(pictures[:60], timeout=timeout),
            lambda: model.embed_images(pictures, timeout=timeout),
            lambda: model.embed_video(video, timeout=timeout),
            lambda: model.embed_videos([video], timeout=timeout),
            lambda: model.segments(video, 0.5, timeout=timeout),
            lambda: model.score("a", pictures[:60], timeout=timeout),
        ):
            with pytest.raises(c4c.TimedOutError):
                call()
    for timeout in (1e3, 1e300, float("inf"), 60):
        assert model.embed_text("a", timeout=timeout).shape == (model.dim,)
    for timeout in (-1, float("-inf"), float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            model.embed_text("a", timeout=timeout)


def test_a_token(model: c4c.Model, video: str) -> None:
    token = c4c.CancelToken()
    picture = np.zeros((1, 8, 8, 3), np.uint8)
    assert model.embed_text("a", cancel=token).shape == (model.dim,)
    assert model.embed_video(video, cancel=token).shape == (model.dim,)
    assert not token.cancelled
    token.cancel()
    assert token.cancelled
    for call in (
        lambda: model.embed_text("a", cancel=token),
        lambda: model.embed_text(["a"] * 100, cancel=token),
        lambda: model.embed_frames(picture, cancel=token),
        lambda: model.embed_images(picture, cancel=token),
        lambda: model.embed_video(video, cancel=token),
        lambda: model.embed_videos([video], cancel=token),
        lambda: model.segments(video, 0.5, cancel=token),
        lambda: model.score("a", picture, cancel=token),
    ):
        with pytest.raises(c4c.CancelledError) as caught:
            call()
        assert caught.value.status is c4c.Status.CANCELLED
    assert model.embed_text("a").shape == (model.dim,)


def test_similarity(model: c4c.Model) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(3, 16)), rng.normal(size=(4, 16))
    expected = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    assert np.allclose(c4c.similarity(a, b), expected, atol=1e-6)
    assert np.allclose(c4c.similarity(a[0], b), expected[0], atol=1e-6)
    assert np.allclose(c4c.similarity(a, b[1]), expected[:, 1], atol=1e-6)
    assert c4c.similarity(a[0], b[0]).shape == ()
    assert np.allclose(model.similarity(a[:, ::2].copy(), b[:, ::2]), c4c.similarity(a[:, ::2], b[:, ::2]))
    out = np.zeros((3, 4), np.float32)
    assert c4c.similarity(a, b, out=out) is out
    assert np.allclose(out, expected, atol=1e-6)
    for wrong in (np.zeros((3, 16)), np.zeros((0, 16)), np.ones((2, 3)), np.ones((1, 1, 16)), np.full((1, 16), np.nan)):
        with pytest.raises(ValueError):  # noqa: PT011 (several messages)
            c4c.similarity(wrong, b)


def test_log_to_a_function(weights: str) -> None:
    said: list[tuple[c4c.LogLevel, str]] = []
    with c4c.Model(weights, log=lambda level, message: said.append((level, message)), log_level="debug"):
        pass
    assert said
    assert all(isinstance(level, c4c.LogLevel) and message for level, message in said)


def test_log_to_a_logger(weights: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "some.logger"), c4c.Model(weights, log=logging.getLogger("some.logger")):
        pass
    assert any(record.name == "some.logger" and record.levelno == logging.INFO for record in caplog.records)
    with pytest.raises(TypeError, match="log"):
        c4c.Model(weights, log=3)  # type: ignore[arg-type]


def test_what_the_log_raises_is_raised(weights: str) -> None:
    def log(level: c4c.LogLevel, message: str) -> None:
        raise LookupError(message)

    with pytest.raises(LookupError):
        c4c.Model(weights, log=log)
