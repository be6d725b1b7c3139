"""One model on many threads, and its end."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from conftest import nearly

import c4c
from c4c import Model


def test_eight_threads(model: c4c.Model, video: str, pictures: Any) -> None:
    texts = [f"text number {i}" for i in range(8)]
    expected = (
        [model.embed_text(t) for t in texts],
        model.embed_text(texts * 10),
        model.embed_frames(pictures),
        model.embed_images(pictures),
        model.embed_video(video),
        model.score(texts, pictures),
    )

    def work(i: int) -> None:
        for _ in range(15):
            assert nearly(model.embed_text(texts[i]), expected[0][i])
            assert nearly(model.embed_text(texts * 10), expected[1])
            assert nearly(model.embed_frames(pictures), expected[2])
            assert nearly(model.embed_images(pictures), expected[3])
            assert nearly(model.embed_video(video), expected[4])
            assert np.allclose(model.score(texts, pictures), expected[5])
            with pytest.raises(c4c.MediaNotFoundError):
                model.embed_video("/none")
            with pytest.raises(c4c.TimedOutError):
                model.embed_images([c4c.Frame(pictures[0])] * 200, timeout=0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert model.stats().running == 0


def test_the_lock_of_the_interpreter_is_released(model: c4c.Model, pictures: Any) -> None:
    """While one thread is in a call, another one runs Python."""
    inside = threading.Event()

    def watch() -> None:
        while not inside.is_set():
            if model.stats().running:
                inside.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    while not inside.is_set():
        model.embed_images([c4c.Frame(pictures[0])] * 64)
    watcher.join()


def test_closing_waits_for_running_calls(weights: str, pictures: Any) -> None:
    for _ in range(5):
        m = c4c.Model(weights)
        frames = [c4c.Frame(pictures[0])] * 300
        results: list[Any] = []

        def work(m: c4c.Model = m, frames: Any = frames, results: list[Any] = results) -> None:
            while True:
                try:
                    results.append(m.embed_images(frames).shape)
                except c4c.ClosedError as e:
                    results.append(e)
                    return

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        while not m.stats().running:
            pass
        m.close()
        assert m._handle._users == {}
        for t in threads:
            t.join()
        assert sum(isinstance(r, c4c.ClosedError) for r in results) == 4
        assert all(r == (300, m.dim) for r in results if not isinstance(r, c4c.ClosedError))


@pytest.mark.parametrize("direct", [True, False])
def test_closing_in_a_callback(weights: str, video: str, direct: bool) -> None:
    m = c4c.Model(weights)
    results: list[Any] = []

    def work() -> None:
        results.append(m.embed_videos([video] * 3, progress=lambda done, total: m.close()).shape)

    if direct:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    else:
        work()
    assert results == [(3, m.dim)]
    with pytest.raises(c4c.ClosedError):
        m.embed_text("a")
    m.close()


def test_closing_twice_at_once(weights: str) -> None:
    for _ in range(5):
        m = c4c.Model(weights)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(Model.close, [m] * 4))


def test_a_model_without_references_goes(weights: str) -> None:
    from c4c import _handle

    gc.collect()  # what tests before this one have left behind
    before = set(_handle._alive)
    m = c4c.Model(weights)
    handle = weakref.ref(m._handle)
    assert set(_handle._alive) - before == {m._handle}
    del m
    gc.collect()
    assert handle() is None

    cycle: dict[str, Any] = {}
    cycle["itself"], cycle["model"] = cycle, c4c.Model(weights, log=lambda level, message, held=cycle: None)
    del cycle
    gc.collect()
    assert set(_handle._alive) == before


def test_an_exception_does_not_hold_pictures(model: c4c.Model) -> None:
    token = c4c.CancelToken()
    token.cancel()
    gc.collect()
    gc.disable()
    try:
        pictures = np.zeros((2, 8, 8, 3), np.uint8)
        held = weakref.ref(pictures)
        for call in (model.embed_frames, model.embed_images):
            with contextlib.suppress(c4c.CancelledError):
                call(pictures, cancel=token)
        with contextlib.suppress(LookupError):
            model.embed_videos(["/none"], progress=Raises(pictures))
        del pictures
        assert held() is None
    finally:
        gc.enable()


class Raises:
    """A progress function with a load."""

    def __init__(self, load: Any) -> None:
        self.load = load

    def __call__(self, done: int, total: int) -> None:
        raise LookupError


def test_models_that_cannot_be_made_leave_nothing(tmp_path: Any) -> None:
    from c4c import _handle

    before = set(_handle._alive)
    for _ in range(3):
        with pytest.raises(c4c.WeightsError):
            c4c.Model(tmp_path / "none")
    gc.collect()
    assert set(_handle._alive) == before


def test_a_token_cancels_from_another_thread(model: c4c.Model, pictures: Any) -> None:
    frames = [c4c.Frame(pictures[0])] * 100_000
    token = c4c.CancelToken()
    before = model.stats().images

    def cancel() -> None:
        while model.stats().images == before:
            pass
        token.cancel()

    threading.Thread(target=cancel).start()
    with pytest.raises(c4c.CancelledError):
        model.embed_images(frames, cancel=token)
    assert not token._followers
