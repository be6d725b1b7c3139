"""Videos from files, memory and file objects."""

from __future__ import annotations

import io
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import close_to, nearly

import c4c


@pytest.fixture(scope="module")
def expected(model: c4c.Model, video: str) -> Any:
    return model.embed_video(video)


@pytest.fixture(scope="module")
def data(video: str) -> bytes:
    return Path(video).read_bytes()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[Any, Any, Any]]]:
    """An uncompressed video of 20 frames, and its planes."""
    rng = np.random.default_rng(3)
    frames = [
        (rng.integers(16, 236, (48, 64), np.uint8), *rng.integers(16, 241, (2, 24, 32), np.uint8)) for _ in range(20)
    ]
    path = tmp_path_factory.mktemp("raw") / "video.y4m"
    body = b"".join(b"FRAME\n" + b"".join(plane.tobytes() for plane in frame) for frame in frames)
    path.write_bytes(b"YUV4MPEG2 W64 H48 F10:1 Ip A1:1 C420jpeg\n" + body)
    return path, frames


def test_path(model: c4c.Model, video: str, expected: Any) -> None:
    assert expected.shape == (model.dim,)
    assert abs(np.linalg.norm(expected) - 1) < 1e-5
    out = np.zeros(model.dim, np.float32)
    assert model.embed_video(Path(video), out=out) is out
    assert nearly(out, expected)


def test_a_name_that_is_not_ascii(model: c4c.Model, data: bytes, expected: Any, tmp_path: Path) -> None:
    path = tmp_path / "Hündin läuft 犬.mp4"
    path.write_bytes(data)
    assert nearly(model.embed_video(path), expected)


def test_memory(model: c4c.Model, video: str, data: bytes, expected: Any) -> None:
    for held in (data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert nearly(model.embed_video(held), expected)  # type: ignore[arg-type]
    with open(video, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert nearly(model.embed_video(mapped), expected)  # type: ignore[arg-type]


class ReadOnly:
    """The least of a file object."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.threads: set[int] = set()

    def read(self, size: int) -> bytes:
        self.threads.add(threading.get_ident())
        return self._file.read(size)


def test_file_objects(model: c4c.Model, video: str, data: bytes, expected: Any) -> None:
    with open(video, "rb") as file:
        file.seek(100)
        assert nearly(model.embed_video(file), expected)
    with open(video, "rb", buffering=0) as unbuffered:
        assert nearly(model.embed_video(unbuffered), expected)
    assert nearly(model.embed_video(io.BytesIO(data)), expected)


def test_file_objects_that_cannot_seek(model: c4c.Model, raw: Any) -> None:
    path = raw[0]
    expected = model.embed_video(path)
    once = ReadOnly(path.read_bytes())
    assert nearly(model.embed_video(once), expected)  # type: ignore[arg-type]
    assert once.threads == {threading.get_ident()}
    read, write = os.pipe()

    def fill() -> None:
        with os.fdopen(write, "wb") as file:
            file.write(path.read_bytes())

    threading.Thread(target=fill).start()
    with os.fdopen(read, "rb") as pipe:
        assert nearly(model.embed_video(pipe), expected)


def test_the_same_frames_from_memory(model: c4c.Model, raw: Any) -> None:
    path, frames = raw
    wanted = [int(i * 19 / 11) for i in range(12)]
    assert close_to(model.embed_video(path), model.embed_frames([frames[i] for i in wanted], "i420"))
    four = [frames[i] for i in (0, 6, 12, 19)]
    assert close_to(model.embed_video(path, c4c.VideoOptions(num_frames=4)), model.embed_frames(four, "i420"))


def test_options(model: c4c.Model, raw: Any) -> None:
    path, frames = raw

    def video(**options: Any) -> Any:
        return model.embed_video(path, c4c.VideoOptions(**options))

    def these(*numbers: int) -> Any:
        return model.embed_frames([frames[i] for i in numbers], "i420")

    assert close_to(video(num_frames=1, start=0.5), these(5))
    assert close_to(video(num_frames=2, start=0.5, end=1.0), these(5, 9))
    assert close_to(video(sampling="fps", fps=2.0), these(0, 5, 10, 15))
    assert close_to(video(sampling=c4c.Sampling.KEYFRAMES, num_frames=2), these(0, 19))
    assert close_to(video(num_frames=2, stream_index=0, decode_threads=1, seek="approximate"), these(0, 19), 1e-3)
    assert close_to(video(apply_rotation=True, strict_decode=True, color="operator"), video())
    wrong: list[tuple[type[c4c.Error], dict[str, Any]]] = [
        (c4c.LimitError, {"max_pixels": 10}),
        (c4c.InvalidArgumentError, {"start": 100.0}),
        (c4c.InvalidArgumentError, {"num_frames": 5000}),
        (c4c.InvalidArgumentError, {"start": 1.0, "end": 0.5}),
        (c4c.Error, {"stream_index": 7}),
    ]
    for kind, options in wrong:
        with pytest.raises(kind):
            video(**options)


def test_wrong_videos(model: c4c.Model, tmp_path: Path) -> None:
    with pytest.raises(c4c.MediaNotFoundError) as caught:
        model.embed_video(tmp_path / "none.mp4")
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.filename == str(tmp_path / "none.mp4")
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(b"noise" * 1000)
    for source in (noise, noise.read_bytes(), io.BytesIO(noise.read_bytes())):
        with pytest.raises(c4c.MediaFormatError):
            model.embed_video(source)
    with pytest.raises(c4c.Error):
        model.embed_video(b"")
    with pytest.raises(c4c.MediaIOError):
        model.embed_video(tmp_path)
    with pytest.raises(c4c.ForbiddenError):
        model.embed_video("http://127.0.0.1:9/video.mp4")
    for wrong in (None, 3, 2.5, object()):
        with pytest.raises(TypeError, match="video"):
            model.embed_video(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        model.embed_video(io.StringIO("text"))  # type: ignore[arg-type]


def test_many(model: c4c.Model, video: str, raw: Any, expected: Any) -> None:
    paths = [video, raw[0], video]
    vectors = model.embed_videos(paths)
    assert vectors.shape == (3, model.dim)
    assert nearly(vectors[[0, 2]], [expected, expected])
    assert nearly(vectors[1], model.embed_video(raw[0]))
    out = np.zeros((3, model.dim), np.float32)
    assert model.embed_videos(paths, out=out) is out
    assert nearly(out, vectors)
    two = c4c.VideoOptions(num_frames=2)
    assert nearly(model.embed_videos(paths, two)[0], model.embed_video(video, two))


def test_files_that_fail(model: c4c.Model, video: str, expected: Any, tmp_path: Path) -> None:
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(b"noise" * 1000)
    paths: list[Any] = [video, tmp_path / "none.mp4", noise, video]
    with pytest.raises(c4c.MediaNotFoundError, match=r"none\.mp4"):
        model.embed_videos(paths)
    vectors, errors = model.embed_videos(paths, errors="return")
    assert [None if e is None else e.status for e in errors] == [
        None,
        c4c.Status.MEDIA_IO,
        c4c.Status.MEDIA_FORMAT,
        None,
    ]
    assert isinstance(errors[1], FileNotFoundError)
    assert nearly(vectors[[0, 3]], [expected, expected])
    assert np.isnan(vectors[1:3]).all()
    vectors, errors = model.embed_videos([video], errors="return")
    assert errors == [None]
    with pytest.raises(ValueError, match="errors"):
        model.embed_videos([video], errors="ignore")
    with pytest.raises(TypeError, match="one path"):
        model.embed_videos(video)
    with pytest.raises(c4c.InvalidArgumentError):
        model.embed_videos([])


class Bar:
    """As much of tqdm as is used."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def update(self, n: int) -> bool:
        self.steps.append(n)
        return True


def test_progress(model: c4c.Model, video: str) -> None:
    told: list[tuple[int, int, int]] = []
    model.embed_videos([video] * 4, progress=lambda done, total: told.append((done, total, threading.get_ident())))
    assert told == [(i, 4, threading.get_ident()) for i in (1, 2, 3, 4)]
    bar = Bar()
    model.embed_videos([video] * 3, progress=bar)
    assert bar.steps == [1, 1, 1]
    # What it returns is no request to stop.
    assert model.embed_videos([video] * 2, progress=lambda done, total: True).shape == (2, model.dim)
    with pytest.raises(TypeError, match="progress"):
        model.embed_videos([video], progress=3)


def on_thread(call: Callable[[], Any]) -> Any:
    """What the call gives on another thread, where it is made directly."""
    got: list[Any] = []

    def run() -> None:
        try:
            got.append(call())
        except BaseException as e:
            got.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(got[0], BaseException):
        raise got[0]
    return got[0]


def here(call: Callable[[], Any]) -> Any:
    return call()


@pytest.mark.parametrize("run", [here, on_thread])
def test_exceptions_of_callbacks(model: c4c.Model, video: str, data: bytes, run: Any) -> None:
    def progress(done: int, total: int) -> None:
        raise LookupError(f"after {done}")

    with pytest.raises(LookupError, match="after 1"):
        run(lambda: model.embed_videos([video] * 3, progress=progress))

    class Broken(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone") as caught:
        run(lambda: model.embed_video(Broken(data)))
    assert not isinstance(caught.value, c4c.Error)

    class Unseekable(io.BytesIO):
        asked = 0

        def seek(self, *args: Any) -> int:
            self.asked += 1
            if self.asked > 1:
                raise OSError("cannot seek")
            return super().seek(*args)

    with pytest.raises(OSError, match="cannot seek"):
        run(lambda: model.embed_video(Unseekable(data)))

    class Early(BaseException):
        pass

    def stop(done: int, total: int) -> None:
        raise Early

    with pytest.raises(Early):
        run(lambda: model.embed_videos([video] * 3, progress=stop))
    assert run(lambda: model.embed_video(data)).shape == (model.dim,)


@pytest.mark.parametrize("run", [here, on_thread])
def test_callbacks_come_on_the_calling_thread(model: c4c.Model, video: str, data: bytes, run: Any) -> None:
    def call() -> None:
        threads: set[int] = set()
        model.embed_videos([video] * 2, progress=lambda done, total: threads.add(threading.get_ident()))

        class Noted(io.BytesIO):
            def readinto(self, buffer: Any) -> int:
                threads.add(threading.get_ident())
                return super().readinto(buffer)

        model.embed_video(Noted(data))
        assert threads == {threading.get_ident()}

    run(call)


@pytest.mark.parametrize("run", [here, on_thread])
def test_a_callback_may_cancel_and_call(model: c4c.Model, video: str, run: Any) -> None:
    token = c4c.CancelToken()

    def progress(done: int, total: int) -> None:
        assert model.embed_text("a dog").shape == (model.dim,)
        token.cancel()

    with pytest.raises(c4c.CancelledError):
        run(lambda: model.embed_videos([video] * 40, progress=progress, cancel=token))


def test_a_file_that_would_block(model: c4c.Model) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with os.fdopen(read, "rb", buffering=0) as pipe, pytest.raises(BlockingIOError):
        model.embed_video(pipe)
    os.close(write)


def test_segments(model: c4c.Model, raw: Any) -> None:
    path, _ = raw
    segments = model.segments(path, 0.8, 0.4)
    assert segments.vectors.shape == (len(segments), model.dim)
    assert segments.starts.tolist() == pytest.approx([0.0, 0.4, 0.8, 1.2])
    assert segments.ends.tolist() == pytest.approx([0.8, 1.2, 1.6, 2.0])
    for segment in segments:
        part = c4c.VideoOptions(start=segment.start, end=segment.end)
        assert close_to(segment.vector, model.embed_video(path, part))
    assert len(model.segments(path, 1.0)) == 2
    assert segments[-1].end == pytest.approx(2.0)
    few = model.segments(path, 1.0, None, c4c.VideoOptions(num_frames=1))
    assert not np.array_equal(few.vectors, model.segments(path, 1.0).vectors)
    for window, step in ((0, 1), (1, 0), (-1, 1)):
        with pytest.raises(ValueError, match="_us"):
            model.segments(path, window, step)
    with pytest.raises(FileNotFoundError):
        model.segments("/none.mp4", 1.0)
