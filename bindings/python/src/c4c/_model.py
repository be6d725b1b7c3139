"""The model."""

from __future__ import annotations

import ctypes
import logging
import os
import weakref
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_float, c_int32, c_int64, c_void_p
from typing import Any, Callable, Literal, NoReturn, Union, cast, overload

import numpy as np
import numpy.typing as npt

from ._abi import (
    Activation,
    Head,
    LogLevel,
    Matrix,
    Modality,
    OptionFlag,
    PixelFormat,
    Precision,
    Range,
    c4c_info,
    c4c_options,
    c4c_stats,
    progress_fn,
)
from ._calls import Callbacks, CancelToken, interruptible, microseconds
from ._errors import Error, error
from ._frames import FramesLike, choice, pack, unsigned
from ._handle import Handle, Log, call
from ._library import lib
from ._sources import Reader, VideoSource, encode, memory, path_text
from ._types import Info, Segments, Stats, Vectors, VideoOptions

Path = Union[str, "os.PathLike[str]"]
#: `progress(done, total)`, or an object with `update(n)`, as tqdm's bars are.
Progress = Union[Callable[[int, int], Any], Any]
#: A logger, or `log(level, message)`.
LogReceiver = Union[logging.Logger, Callable[[LogLevel, str], Any]]

_ONE_TEXT = c_char_p * 1
# So many texts are done in a moment. More are embedded so that Ctrl-C ends them.
_FEW_TEXTS = 32
_LEVELS = {
    LogLevel.ERROR: logging.ERROR,
    LogLevel.WARN: logging.WARNING,
    LogLevel.INFO: logging.INFO,
    LogLevel.DEBUG: logging.DEBUG,
}


class Model:
    """A loaded model: texts and videos go in, vectors of one space come out.

    Any number of threads may call one model; the interpreter's lock is released meanwhile. Vectors are float32 and of
    length 1, so that a dot product is a cosine. Use it as a context manager, or `close` it.

    Failures are `c4c.Error`s, told apart by class and `status`; wrong types are TypeErrors. On a failure nothing is
    written to `out`.

    What all calls that embed share:
        timeout: seconds from the call on, then `TimedOutError`. None: no limit.
        cancel: a `CancelToken`, which ends the call with `CancelledError`.
        out: a C-contiguous float32 array of the result's shape to write into; it is also what the call returns.

    Arguments:
        weights: a checkpoint file, an index of shards, or a model folder, as in the library's docs/models.md.
        modality: "both", or "text" or "video" to load that tower only.
        model_name: "clip_vit_b32" or "clip_vit_b16": the weights must be that model's. None: whatever they are.
        tokenizer: a tokenizer.json. None: the one in a Hugging Face folder, else CLIP's own.
        device: "auto", the first GPU where CUDA can be used, else the CPU, and `info.device_note` says why; "cpu";
            "cuda", which is "cuda:0"; "cuda:1"; several as "cuda:0,cuda:1", or all as "cuda:*". `DeviceError` with the
            reason where a GPU that is named cannot be used.
        precision: "auto", "f32", "bf16", "f16" on GPUs or "int8" on CPUs.
        head: "auto", "mean", "seq_transf", "seq_lstm" or "tight_transf".
        activation: "auto", "quick_gelu" or "gelu".
        max_words: token ids that a text is cut to, start and end counted. 0: 32.
        raw_output: leave out the last normalisation.
        strict_text: a text with more than `max_words` ids is an error.
        cuda_graphs: on GPUs, replay recorded passes instead of launching every kernel of each. Without, small batches
            are slower, and the memory that the recordings hold stays free.
        num_threads: threads of one forward pass on the CPU. 0: one per core that the process may use.
        max_batch: most images in one forward pass. 0: chosen.
        max_batch_delay: seconds that a lone request waits for others' to share its forward pass.
        log: receives the library's messages, from any thread: a `logging.Logger`, or a function of a `LogLevel` and a
            str. What it raises is raised by the next call to end. None: the library is silent.
        log_level: the least important messages wanted.

    Loading cannot be cancelled; Ctrl-C takes effect when it is done.
    """

    def __init__(
        self,
        weights: Path,
        *,
        modality: Modality | str = Modality.BOTH,
        model_name: str | None = None,
        tokenizer: Path | None = None,
        device: str = "auto",
        precision: Precision | str = Precision.AUTO,
        head: Head | str = Head.AUTO,
        activation: Activation | str = Activation.AUTO,
        max_words: int = 0,
        raw_output: bool = False,
        strict_text: bool = False,
        cuda_graphs: bool = True,
        num_threads: int = 0,
        max_batch: int = 0,
        max_batch_delay: float = 0.0,
        log: LogReceiver | None = None,
        log_level: LogLevel | str = LogLevel.DEFAULT,
    ) -> None:
        path = path_text(weights, "weights")
        self._log = None if log is None else Log(_receiver(log))
        options = c4c_options(
            struct_size=ctypes.sizeof(c4c_options),
            modality=choice(Modality, modality, "modality"),
            model_name=None if model_name is None else encode(model_name, "model_name"),
            weights_path=encode(path, "weights"),
            tokenizer_path=None if tokenizer is None else encode(path_text(tokenizer, "tokenizer"), "tokenizer"),
            device=encode(device, "device"),
            precision=choice(Precision, precision, "precision"),
            head=choice(Head, head, "head"),
            activation=choice(Activation, activation, "activation"),
            max_words=unsigned("max_words", max_words),
            flags=(OptionFlag.RAW_OUTPUT if raw_output else 0)
            | (OptionFlag.STRICT_TEXT if strict_text else 0)
            | (0 if cuda_graphs else OptionFlag.NO_CUDA_GRAPHS),
            num_threads=unsigned("num_threads", num_threads),
            max_batch=unsigned("max_batch", max_batch),
            max_batch_delay_us=unsigned("max_batch_delay", microseconds("max_batch_delay", max_batch_delay)),
            log_level=choice(LogLevel, log_level, "log_level"),
        )
        self._handle = Handle(self._log)
        weakref.finalize(self, self._handle.release).atexit = False
        #: Floats in one vector.
        self.dim = self._handle.create(options, path)
        info = c4c_info(struct_size=ctypes.sizeof(c4c_info))
        self._handle.call(lib.c4c_get_info, byref(info))
        #: What was loaded, and how it runs.
        self.info = Info.from_c(info)

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._handle.closed:
            return "<c4c.Model, closed>"
        info = self.info
        return f"<c4c.Model {info.model_name} {info.head.name.lower()} {info.precision.name.lower()} on {info.device}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a c4c.Model cannot be pickled; create one in each process")

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Model:
        # Pipelines copy what they are given, bound methods too; all copies may use one model.
        return self

    def close(self) -> None:
        """Refuses new calls with `ClosedError`, waits for the running ones, and frees the model. In a callback of the
        library's it does not wait. Calling it again does nothing."""
        self._handle.close()

    def stats(self) -> Stats:
        """What the model has done since it was made, and what it holds now."""
        stats = c4c_stats(struct_size=ctypes.sizeof(c4c_stats))
        self._handle.call(lib.c4c_get_stats, byref(stats))
        return Stats.from_c(stats)

    def trim(self) -> None:
        """Gives back memory that is held for speed and not in use: the recordings of a GPU's passes, and what libtorch
        and the C library keep for all models of the process. Waits for the passes that run; the next ones are slower.
        """
        self._handle.call(lib.c4c_trim)

    def embed_text(
        self,
        texts: str | Sequence[str],
        *,
        timeout: float | None = None,
        cancel: CancelToken | None = None,
        out: Vectors | None = None,
    ) -> Vectors:
        """Embeds texts: `[dim]` for a str, `[n, dim]` for a sequence of them."""
        pointers, count = _texts(texts)
        out = _room((self.dim,) if isinstance(texts, str) else (count, self.dim), out)
        if count <= _FEW_TEXTS:
            self._handle.embed(lib.c4c_embed_text, (pointers, count), timeout, cancel, (_address(out), out.size))
            return out
        return self._embed(lib.c4c_embed_text, (pointers, count), out, timeout, cancel)

    def embed_frames(
        self,
        frames: FramesLike,
        format: PixelFormat | str | None = None,
        *,
        color_matrix: Matrix | str = Matrix.UNKNOWN,
        color_range: Range | str = Range.UNKNOWN,
        rotation: int = 0,
        timeout: float | None = None,
        cancel: CancelToken | None = None,
        out: Vectors | None = None,
    ) -> Vectors:
        """Embeds one video given as its frames in the order of time: `[dim]`.

        `frames` is an array `[n, h, w, channels]`, or any iterable of pictures of any sizes: arrays, PIL images,
        `Frame`s. Arrays may be in a GPU's memory, all of them then: CUDA tensors of PyTorch, arrays of CuPy.
        `Frame` says what `format`, `color_matrix`, `color_range` and `rotation` mean; here they hold for all that are
        no `Frame`s.
        """
        packed = pack(frames, format, color_matrix, color_range, rotation)
        return self._embed(
            lib.c4c_embed_frames, (packed.array, packed.count), _room((self.dim,), out), timeout, cancel,
            keep=packed, here=packed.of_this_thread,
        )  # fmt: skip

    def embed_images(
        self,
        images: FramesLike,
        format: PixelFormat | str | None = None,
        *,
        color_matrix: Matrix | str = Matrix.UNKNOWN,
        color_range: Range | str = Range.UNKNOWN,
        rotation: int = 0,
        timeout: float | None = None,
        cancel: CancelToken | None = None,
        out: Vectors | None = None,
    ) -> Vectors:
        """Embeds pictures, each for itself: `[n, dim]`. The arguments are those of `embed_frames`."""
        packed = pack(images, format, color_matrix, color_range, rotation)
        return self._embed(
            lib.c4c_embed_images,
            (packed.array, packed.count),
            _room((packed.count, self.dim), out),
            timeout,
            cancel,
            keep=packed,
            here=packed.of_this_thread,
        )

    def score(
        self,
        texts: str | Sequence[str],
        frames: FramesLike,
        format: PixelFormat | str | None = None,
        *,
        color_matrix: Matrix | str = Matrix.UNKNOWN,
        color_range: Range | str = Range.UNKNOWN,
        rotation: int = 0,
        timeout: float | None = None,
        cancel: CancelToken | None = None,
        out: Vectors | None = None,
    ) -> Vectors:
        """How well each text goes with one video given as frames, by the model's head: `[n]`, larger for a better fit;
        of no axes for a str. For the heads with vectors that is their cosine times `exp(logit_scale)`; tightTransf has
        this call only. The arguments are those of `embed_text` and `embed_frames`."""
        pointers, count = _texts(texts)
        packed = pack(frames, format, color_matrix, color_range, rotation)
        out = _room(() if isinstance(texts, str) else (count,), out)
        return self._embed(
            lib.c4c_score, (pointers, count, packed.array, packed.count), out, timeout, cancel,
            keep=packed, here=packed.of_this_thread,
        )  # fmt: skip

    def embed_video(
        self,
        video: VideoSource,
        options: VideoOptions | None = None,
        *,
        timeout: float | None = None,
        cancel: CancelToken | None = None,
        out: Vectors | None = None,
    ) -> Vectors:
        """Embeds a video file: `[dim]`.

        `video` is a path (or, with `allow_network`, a URL), the file's bytes in memory, or a binary file object. A file
        object is read on the calling thread, from its beginning if it can seek; if it cannot, its packets are kept in
        memory, 256 MiB at most. What it raises ends the call.
        """
        how = _video_options(options)
        out = _room((self.dim,), out)
        if isinstance(video, (str, os.PathLike)):
            path = path_text(video)
            return self._embed(lib.c4c_embed_video_path, (encode(path, "path"), how), out, timeout, cancel, path=path)
        data = memory(video)
        if data is not None:
            inputs = (_address(data), data.size, how)
            return self._embed(lib.c4c_embed_video_memory, inputs, out, timeout, cancel, keep=data)
        callbacks = Callbacks()
        reader = Reader(video, callbacks)
        return self._embed(
            lib.c4c_embed_video_io, (byref(reader.io), how), out, timeout, cancel, callbacks, keep=reader
        )

    @overload
    def embed_videos(
        self,
        paths: Sequence[Path],
        options: VideoOptions | None = None,
        *,
        progress: Progress | None = None,
        errors: Literal["raise"] = "raise",
        timeout: float | None = None,
        cancel: CancelToken | None = None,
        out: Vectors | None = None,
    ) -> Vectors: ...

    @overload
    def embed_videos(
        self,
        paths: Sequence[Path],
        options: VideoOptions | None = None,
        *,
        progress: Progress | None = None,
        errors: Literal["return"],
        timeout: float | None = None,
        cancel: CancelToken | None = None,
        out: Vectors | None = None,
    ) -> tuple[Vectors, list[Error | None]]: ...

    def embed_videos(
        self,
        paths: Sequence[Path],
        options: VideoOptions | None = None,
        *,
        progress: Progress | None = None,
        errors: Literal["raise", "return"] = "raise",
        timeout: float | None = None,
        cancel: CancelToken | None = None,
        out: Vectors | None = None,
    ) -> Vectors | tuple[Vectors, list[Error | None]]:
        """Embeds many files, several of which are decoded at once: `[n, dim]`.

        Arguments:
            progress: called on the calling thread after each file as `progress(done, total)`; or an object with
                `update(n)`, as tqdm's bars are. What it returns is not looked at; what it raises ends the call.
            errors: "raise": a file that cannot be embedded is an error of the call, after all have been tried.
                "return": it costs its own row, which is NaN, and `(vectors, errors)` comes back, with None or an
                exception for each file.
        """
        if errors not in ("raise", "return"):
            raise ValueError(f"errors: {errors!r} is neither 'raise' nor 'return'")
        if isinstance(paths, (str, bytes, os.PathLike)):
            raise TypeError("paths: this is one path; embed_video takes it")
        names = [path_text(path, f"paths[{i}]") for i, path in enumerate(paths)]
        count = len(names)
        pointers = (c_char_p * count)(*[encode(name, f"paths[{i}]") for i, name in enumerate(names)])
        statuses = (c_int32 * count)()
        room = _room((count, self.dim), out)
        how = _video_options(options)
        callbacks = Callbacks()
        told = progress_fn() if progress is None else progress_fn(callbacks.guard(_progress(progress), 1))

        def body(token: CancelToken | None) -> str:
            outputs = (told, None, _address(room), room.size, statuses)
            return self._handle.embed(lib.c4c_embed_video_paths, (pointers, count, how), timeout, token, outputs)

        message = interruptible(body, cancel, callbacks)
        failed = [i for i in range(count) if statuses[i]]
        found: list[Error | None] = [None] * count
        for i in failed:
            # The library has a sentence for the first one only.
            found[i] = error(statuses[i], message if i == failed[0] else f"`{names[i]}` cannot be embedded", names[i])
        if failed and errors == "raise":
            raise cast(Error, found[failed[0]])
        room[failed] = np.nan
        return room if errors == "raise" else (room, found)

    def segments(
        self,
        path: Path,
        window: float,
        step: float | None = None,
        options: VideoOptions | None = None,
        *,
        timeout: float | None = None,
        cancel: CancelToken | None = None,
    ) -> Segments:
        """Embeds every window of a long video from one decode: windows of `window` seconds at 0, `step`, 2 `step` … up
        to the first that reaches the end, which may be shorter. `step` None: `window`. `options.num_frames` frames are
        taken of every window."""
        name = path_text(path)
        encoded = encode(name, "path")
        window_us = microseconds("window", window)
        step_us = window_us if step is None else microseconds("step", step)
        how = _video_options(options)

        def body(token: CancelToken | None) -> Segments:
            found = c_void_p()
            try:
                inputs = (encoded, how, window_us, step_us)
                self._handle.embed(lib.c4c_embed_segments, inputs, timeout, token, (byref(found),), name)
                return _segments(found, self.dim)
            finally:
                lib.c4c_segments_free(found)

        return interruptible(body, cancel)

    @staticmethod
    def similarity(a: npt.ArrayLike, b: npt.ArrayLike, *, out: Vectors | None = None) -> Vectors:
        """`c4c.similarity`."""
        return similarity(a, b, out=out)

    def _embed(
        self,
        function: Any,
        inputs: tuple[Any, ...],
        out: Vectors,
        timeout: float | None,
        cancel: CancelToken | None,
        callbacks: Callbacks | None = None,
        *,
        keep: object = None,
        here: bool = False,
        path: str | None = None,
    ) -> Vectors:
        """A call that may take long. `keep` is what `inputs` point to. `here`: on this thread, where Ctrl-C has to wait
        for it."""

        def body(token: CancelToken | None) -> object:
            self._handle.embed(function, inputs, timeout, token, (_address(out), out.size), path)
            return keep

        if here:
            body(cancel)
        else:
            interruptible(body, cancel, callbacks)
        return out


def similarity(a: npt.ArrayLike, b: npt.ArrayLike, *, out: Vectors | None = None) -> Vectors:
    """Cosines of every vector of `a` `[n_a, dim]` with every one of `b` `[n_b, dim]`: `[n_a, n_b]` float32. An axis is
    left out where a single vector `[dim]` is given."""
    first, second = (np.ascontiguousarray(x, np.float32) for x in (a, b))
    if not (first.ndim in (1, 2) and second.ndim in (1, 2) and first.shape[-1] == second.shape[-1]):
        raise ValueError(f"similarity wants [n, dim] or [dim] twice, not {first.shape} and {second.shape}")
    counts = [1 if x.ndim == 1 else len(x) for x in (first, second)]
    result = _room(first.shape[:-1] + second.shape[:-1], out)
    call(
        lib.c4c_similarity, _address(first), counts[0], _address(second), counts[1], first.shape[-1], _address(result),
        result.size,
    )  # fmt: skip
    return result


def _receiver(log: LogReceiver) -> Callable[[LogLevel, str], Any]:
    if isinstance(log, logging.Logger):
        logger = log
        return lambda level, message: logger.log(_LEVELS[level], "%s", message)
    if callable(log):
        return log
    raise TypeError(f"log: a logging.Logger or a function is wanted, not {type(log).__name__}")


def _progress(progress: Progress) -> Callable[..., int]:
    if hasattr(progress, "update"):
        last = 0

        def update(_: Any, done: int, total: int) -> int:
            nonlocal last
            step, last = done - last, done
            progress.update(step)
            return 0

        return update
    if callable(progress):

        def tell(_: Any, done: int, total: int) -> int:
            progress(done, total)
            return 0

        return tell
    raise TypeError(f"progress: a function or an object with update() is wanted, not {type(progress).__name__}")


def _texts(texts: str | Sequence[str]) -> tuple[Any, int]:
    """A C array of strings, which owns them."""
    if isinstance(texts, str):
        return _ONE_TEXT(encode(texts, "texts")), 1
    encoded = []
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{i}]: a str is wanted, not {type(text).__name__}")
        encoded.append(encode(text, f"texts[{i}]"))
    return (c_char_p * len(encoded))(*encoded), len(encoded)


def _video_options(options: VideoOptions | None) -> Any:
    return None if options is None else byref(options.to_c())


def _room(shape: tuple[int, ...], out: Vectors | None) -> Vectors:
    """Where a result of this shape goes."""
    if out is None:
        return np.empty(shape, np.float32)
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        raise TypeError("out: a numpy array of float32 is wanted")
    if out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"out: a writeable C-contiguous array of shape {shape} is wanted, not {out.shape}")
    return out


def _address(array: npt.NDArray[Any]) -> int:
    return cast(int, array.__array_interface__["data"][0])


def _segments(found: c_void_p, dim: int) -> Segments:
    count = lib.c4c_segments_count(found)
    data = (c_float * (count * dim)).from_address(lib.c4c_segments_data(found))
    vectors = np.frombuffer(data, np.float32).reshape(count, dim).copy()
    times = np.empty((2, count), np.int64)
    start, end = c_int64(), c_int64()
    for i in range(count):
        lib.c4c_segments_time(found, i, byref(start), byref(end))
        times[:, i] = start.value, end.value
    return Segments(vectors, times[0] / 1e6, times[1] / 1e6)
