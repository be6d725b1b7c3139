"""Towhee's operators for video retrieval, on libc4c: what they take, and what they return.

A pipeline changes the line that makes the operator,

    .map('text', 'vec', ops.video_text_embedding.clip4clip(model_name='clip_vit_b32', modality='text', device='cpu'))
    .map('text', 'vec', c4c.towhee.clip4clip('clip_vit_b32', 'text', 'pytorch_model.bin.1', device='cpu'))

or the one that imports them, `from c4c import towhee as ops`. Towhee itself is not needed.

What differs, on purpose: weights must be named, since none are shipped, and are refused where the operator would go on
with random numbers; a modality that there is not is refused at once; no frames are an error, and more than 12 are none.
Besides what the operator takes, `clip4clip` takes a path for a video, and a list of str for texts.

`device` is where the model computes, as with the operator: 'cuda', 'cuda:1', 'cpu', also a `torch.device`. None takes
the first GPU, and the CPU where there is none that can be used: the operator's `model.info.device_note` says why. On a
GPU it computes in half precision; `precision='f32'` among the options asks for more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from ._frames import Frame, FrameLike
from ._model import Model
from ._types import Vectors, VideoOptions

__all__ = ["Clip", "clip4clip", "ffmpeg", "video_decode", "video_text_embedding"]

# What Towhee's VideoFrame.mode may say.
_MODES = {"RGB": "rgb24", "BGR": "bgr24", "RGBA": "rgba", "BGRA": "bgra", "L": "gray8", "GRAY": "gray8"}
# As the operator's decoder converted pictures.
_OPERATOR = VideoOptions(num_frames=12, color="operator")


class Clip:
    """A video yet to be decoded: what `ffmpeg` returns in place of frames. Iterating over it gives itself, once, so
    that a pipeline's `lambda x: [y for y in x]` passes it on; its frames never become Python objects."""

    def __init__(self, path: str, options: VideoOptions) -> None:
        self.path, self.options = path, options

    def __iter__(self) -> Iterator[Clip]:
        return iter((self,))

    def __repr__(self) -> str:
        return f"<c4c.towhee.Clip {self.path!r}>"


class ffmpeg:
    """`video_decode.ffmpeg` for a `clip4clip` of this module behind it. Calling it with a path gives a `Clip`.

    Arguments:
        start_time, end_time: the part of the video, in seconds from its first frame.
        sample_type: "uniform_temporal_subsample"; the operator's other ways are not served.
        args: {"num_samples": n}.

    Frames are counted, not estimated from the duration as the operator does, so that there are always `num_samples`.
    """

    def __init__(
        self,
        start_time: float | None = None,
        end_time: float | None = None,
        sample_type: str | None = None,
        args: dict[str, Any] | None = None,
    ) -> None:
        if sample_type != "uniform_temporal_subsample":
            raise ValueError(f"sample_type: 'uniform_temporal_subsample' is served here, not {sample_type!r}")
        if not args or "num_samples" not in args:
            raise ValueError("args: 'num_samples' is missing")
        self.options = VideoOptions(
            num_frames=int(args["num_samples"]), start=start_time or 0.0, end=end_time, color="operator"
        )

    def __call__(self, video_path: str) -> Clip:
        return Clip(os.fspath(video_path), self.options)


class clip4clip:
    """`video_text_embedding.clip4clip`: a callable that makes `(512,)` float32 vectors of length 1.

    Arguments:
        model_name: "clip_vit_b32" or "clip_vit_b16"; the weights must be that model's. None: whatever they are.
        modality: "text" or "video".
        weight_path: CLIP4Clip's `pytorch_model.bin.N`, or whatever else `c4c.Model` loads.
        device: 'cpu', 'cuda', 'cuda:1' or whatever else `c4c.Model` takes, or a `torch.device`. None: the first GPU,
            else the CPU. A GPU that is named and cannot be used is a `DeviceError` with the reason.
        options: more of `c4c.Model`'s, by name.

    Any number of threads may call it.
    """

    def __init__(
        self,
        model_name: str | None,
        modality: str,
        weight_path: str | os.PathLike[str] | None = None,
        device: Any = None,
        **options: Any,
    ) -> None:
        if modality not in ("text", "video"):
            raise ValueError(f"modality[{modality}] not implemented: 'text' or 'video'")
        if weight_path is None:
            raise ValueError("weight_path: the package ships no weights; name CLIP4Clip's pytorch_model.bin.N")
        device = "auto" if device is None else str(device)  # a torch.device is written as it is named
        self._made_with = model_name, modality, os.fspath(weight_path), device, options
        #: The `c4c.Model` behind it.
        self.model = Model(weight_path, modality=modality, model_name=model_name, device=device, **options)
        self.modality = modality

    def __call__(self, data: Any) -> Vectors | list[Vectors]:
        """For modality "text" `data` is a str; for a list of them a list of vectors comes back. For "video" it is the
        frames of a video in RGB, as VideoFrames or arrays `[h, w, 3]`; or a path; or what `ffmpeg` returned."""
        if self.modality == "text":
            vectors = self.model.embed_text(data)
            return vectors if isinstance(data, str) else list(vectors)
        return self._video(data)

    def _video(self, data: Any) -> Vectors:
        if isinstance(data, (str, os.PathLike)):
            return self.model.embed_video(data, _OPERATOR)
        if isinstance(data, Clip):
            return self.model.embed_video(data.path, data.options)
        frames = list(data)
        if len(frames) == 1 and isinstance(frames[0], Clip):
            return self._video(frames[0])
        return self.model.embed_frames(_frames(frames))

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, self._made_with

    def __deepcopy__(self, _: dict[int, Any]) -> clip4clip:
        return self  # Towhee copies the operators of each pipeline; they may share the model

    def close(self) -> None:
        """Frees the model. Otherwise it goes with the last reference to it."""
        self.model.close()


def _again(model_name: str | None, modality: str, weights: str, device: str, options: Any) -> clip4clip:
    """An operator that comes out of a pickle, in a process that may be another, has a model of its own."""
    return clip4clip(model_name, modality, weights, device, **options)


def _frames(frames: Iterable[Any]) -> Iterator[FrameLike]:
    for frame in frames:
        mode = getattr(frame, "mode", None)
        yield Frame(frame, _MODES[mode]) if hasattr(frame, "timestamp") and mode in _MODES else frame


class video_decode:
    """Where Towhee's `ops` have it."""

    ffmpeg = ffmpeg


class video_text_embedding:
    """Where Towhee's `ops` have it."""

    clip4clip = clip4clip
