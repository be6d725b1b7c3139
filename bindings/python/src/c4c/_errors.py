"""What calls raise."""

from __future__ import annotations

import os
from typing import Any

from ._abi import Status


class Error(Exception):
    """A call's failure. Its text is the library's sentence, which names the thing that is wrong."""

    #: What kind of failure it is.
    status: Status

    def __init__(self, message: str, status: int = Status.INTERNAL) -> None:
        super().__init__(message)
        self.status = Status(status)

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], int(self.status))


class InvalidArgumentError(Error, ValueError):
    """An argument breaks the rules that its call states."""


class UnsupportedError(Error, NotImplementedError):
    """A known option or value that the loaded library does not serve."""


class ClosedError(Error, RuntimeError):
    """The model has been closed."""


class ForkedError(Error, RuntimeError):
    """The model belongs to the process that this one was forked from."""


class WeightsError(Error):
    """Something is wrong with the weights."""


class WeightsIOError(WeightsError, OSError):
    """The weights cannot be read."""


class WeightsNotFoundError(WeightsIOError, FileNotFoundError):
    """The weights are not there."""


class WeightsFormatError(WeightsError, ValueError):
    """The weights are damaged, no CLIP, or another model than was asked for."""


class ModalityError(Error, ValueError):
    """The model has not got the tower or the head that the call needs."""


class TokenizerError(Error, RuntimeError):
    """The tokenizer failed."""


class TextTooLongError(Error, ValueError):
    """With `strict_text`: a text makes more than `max_words` token ids."""


class DeviceError(Error, RuntimeError):
    """The named device is not there."""


class OutOfMemoryError(Error, MemoryError):
    """Memory ran out."""


class BackendError(Error, RuntimeError):
    """libtorch reported an error."""


class MediaError(Error):
    """Something is wrong with a video."""


class MediaIOError(MediaError, OSError):
    """The video cannot be read."""


class MediaNotFoundError(MediaIOError, FileNotFoundError):
    """The video file is not there."""


class MediaFormatError(MediaError, ValueError):
    """No video that can be decoded."""


class LimitError(MediaError, ValueError):
    """A stated bound such as `max_pixels` is exceeded."""


class ForbiddenError(MediaError, PermissionError):
    """A URL without `allow_network` or of a kind that is never opened, or a file that wants others opened."""


class CancelledError(Error):
    """The call's token was fired."""


class TimedOutError(Error, TimeoutError):
    """The call's time was up."""


class InternalError(Error, RuntimeError):
    """A bug in the library, or a status that this package does not know."""


_CLASSES: dict[int, type[Error]] = {
    Status.INVALID_ARGUMENT: InvalidArgumentError,
    Status.BUFFER_TOO_SMALL: InvalidArgumentError,
    Status.UNSUPPORTED: UnsupportedError,
    Status.CLOSED: ClosedError,
    Status.FORKED: ForkedError,
    Status.WEIGHTS_IO: WeightsIOError,
    Status.WEIGHTS_FORMAT: WeightsFormatError,
    Status.WEIGHTS_MISMATCH: WeightsFormatError,
    Status.MODALITY: ModalityError,
    Status.TOKENIZER: TokenizerError,
    Status.TEXT_TOO_LONG: TextTooLongError,
    Status.DEVICE: DeviceError,
    Status.OUT_OF_MEMORY: OutOfMemoryError,
    Status.BACKEND: BackendError,
    Status.MEDIA_IO: MediaIOError,
    Status.MEDIA_FORMAT: MediaFormatError,
    Status.NO_VIDEO: MediaFormatError,
    Status.DECODE: MediaFormatError,
    Status.LIMIT: LimitError,
    Status.FORBIDDEN: ForbiddenError,
    Status.CANCELLED: CancelledError,
    Status.TIMEOUT: TimedOutError,
    Status.INTERNAL: InternalError,
}
_MISSING: dict[type[Error], type[Error]] = {WeightsIOError: WeightsNotFoundError, MediaIOError: MediaNotFoundError}


def error(status: int, message: str, path: str | None = None) -> Error:
    """The exception for a status. `path` is the file that the call was about."""
    kind = _CLASSES.get(status, InternalError)
    if kind in _MISSING and path is not None and not os.path.lexists(path):
        kind = _MISSING[kind]
    made = kind(message or Status(status).name, status)
    if path is not None and isinstance(made, OSError):
        made.filename = path
    return made
