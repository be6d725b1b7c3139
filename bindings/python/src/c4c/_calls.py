"""How a call runs: its limits, its callbacks, and what a signal does to it.

Python runs a signal's handler on the main thread, between two of its own instructions, so not while that thread is
inside a library's call. A call that may take long is therefore made on another thread while the main thread waits
where a handler can run. If the handler raises, as Ctrl-C's does, the call is cancelled and the exception goes on; if it
returns, nothing happens to the call. The call's callbacks are handed back to the waiting thread. On every other thread,
where no signal arrives, calls are made directly.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import math
import os
import threading
import weakref
from queue import Empty, SimpleQueue
from typing import Any, Callable, Generic, TypeVar

from ._abi import c4c_call
from ._errors import Error
from ._library import lib

T = TypeVar("T")

_CALL_SIZE = ctypes.sizeof(c4c_call)
_MOST_US = 2**63 - 1
# A signal that comes just before a wait, or to another thread, does not end the wait; its handler runs after this long.
_LOOK_UP_S = 0.1
# A cancelled call that reads from a dead file server may not come back; Ctrl-C does not wait for it longer than this.
_PATIENCE_S = 10.0


class CancelToken:
    """Cancels the calls that are given it, from any thread or from a signal's handler.

    One token may be given to any number of calls. Once fired it stays so: calls that get it later end at once.
    """

    def __init__(self) -> None:
        self.pointer: int = lib.c4c_cancel_new()
        weakref.finalize(self, lib.c4c_cancel_free, self.pointer).atexit = False
        self._cancelled = False
        self._followers: set[CancelToken] = set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Ends the calls that were given this token, and all that will be, with `CancelledError`."""
        self._cancelled = True
        lib.c4c_cancel_fire(self.pointer)
        for follower in tuple(self._followers):
            follower.cancel()

    def _lead(self, follower: CancelToken) -> None:
        self._followers.add(follower)
        if self._cancelled:
            follower.cancel()


def microseconds(name: str, seconds: float) -> int:
    """Seconds in the library's unit, within its range."""
    if math.isnan(seconds):
        raise ValueError(f"{name} is not a number")
    return round(max(-_MOST_US, min(_MOST_US, seconds * 1e6)))


def limits(timeout: float | None, cancel: CancelToken) -> c4c_call:
    """The `c4c_call` for a call."""
    # The library's 0 is "no limit"; ours is "no time".
    time = 0 if timeout is None else microseconds("timeout", timeout) or 1
    return c4c_call(_CALL_SIZE, 0, time, cancel.pointer)


class _Ask(Generic[T]):
    """A callback on its way to the waiting thread, and its answer on the way back."""

    def __init__(self, question: Callable[[], T]) -> None:
        self.question = question
        self.reply: SimpleQueue[T] = SimpleQueue()


class _Done(Generic[T]):
    """What a call came to."""

    def __init__(self, value: T | None, error: BaseException | None) -> None:
        self.value, self.error = value, error


_inside = threading.local()


def in_callback() -> bool:
    """Whether this thread is in a callback of the library's."""
    return getattr(_inside, "callback", False)


def inside_callback(function: Callable[[], T]) -> T:
    """Runs a callback's body so that `in_callback` is true meanwhile."""
    before = getattr(_inside, "callback", False)
    try:
        _inside.callback = True
        return function()
    finally:
        _inside.callback = before


class Callbacks:
    """The caller's functions that the library calls during one call. The first exception of theirs ends it."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        #: Where the thread that made the call waits for questions, if that is another one.
        self.inbox: SimpleQueue[Any] | None = None
        #: Whether that thread has gone away from the call, which then gets no answers any more.
        self.left = False

    def guard(self, function: Callable[..., T], failure: T) -> Callable[..., T]:
        """`function` for the library to call: an exception is kept, and the library is told `failure`."""

        def attempt(args: tuple[Any, ...]) -> T:
            if self.error is None:
                try:
                    return inside_callback(lambda: function(*args))
                except BaseException as e:
                    self.error = e
            return failure

        def guarded(*args: Any) -> T:
            inbox = self.inbox
            if inbox is None:
                return attempt(args)
            ask = _Ask(lambda: attempt(args))
            inbox.put(ask)
            while not self.left:
                with contextlib.suppress(Empty):
                    return ask.reply.get(timeout=_LOOK_UP_S)
            return failure

        return guarded


def interruptible(
    body: Callable[[CancelToken | None], T], cancel: CancelToken | None, callbacks: Callbacks | None = None
) -> T:
    """Runs `body`, which makes a call with the token it is given, so that Ctrl-C ends it. What a callback raised goes
    before what the call made of it."""
    callbacks = callbacks or Callbacks()
    failure: BaseException | None = None
    try:
        if threading.current_thread() is threading.main_thread():
            result = _from_main(body, cancel, callbacks)
        else:
            result = body(cancel)
    except Error as e:
        failure = e
    failure = callbacks.error or failure
    if failure is None:
        return result
    try:
        raise failure
    finally:
        callbacks.error = failure = None  # its traceback holds this frame, and with it the caller's pictures


def _from_main(body: Callable[[CancelToken | None], T], cancel: CancelToken | None, callbacks: Callbacks) -> T:
    token = CancelToken()
    if cancel is not None:
        cancel._lead(token)
    try:
        return _wait_for(body, token, callbacks)
    finally:
        if cancel is not None:
            cancel._followers.discard(token)


def _wait_for(body: Callable[[CancelToken | None], T], token: CancelToken, callbacks: Callbacks) -> T:
    inbox: SimpleQueue[_Ask[Any] | _Done[T]] = SimpleQueue()
    ended = threading.Event()
    try:
        worker = _idle.pop() if _idle else _Worker()
    except RuntimeError:  # no more threads: a limit, or the interpreter ends
        return body(token)
    callbacks.inbox = inbox
    try:
        worker.jobs.put((body, token, inbox, ended))
        message = _next(inbox)
        while isinstance(message, _Ask):
            message.reply.put(message.question())
            message = _next(inbox)
    except BaseException:
        callbacks.left = True
        worker.jobs.put(None)
        token.cancel()
        ended.wait(_PATIENCE_S)  # until the call has let go of the caller's memory
        raise
    _idle.append(worker)
    try:
        if message.error is not None:
            raise message.error
        return message.value  # type: ignore[return-value]
    finally:
        del message  # the error's traceback holds this frame


class _Worker:
    """A thread that makes the main thread's calls. It is kept for the next one, since a new one waits for a core where
    the machine is busy."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Any] = SimpleQueue()
        _thread.start_new_thread(_work, (self.jobs,))


def _work(jobs: SimpleQueue[Any]) -> None:
    while True:
        job = jobs.get()
        if job is None:
            return
        body, token, inbox, ended = job
        done = _run(body, token)
        del job, body, token  # and with them the caller's pictures
        inbox.put(done)
        ended.set()
        del done, inbox, ended


def _run(body: Callable[[CancelToken | None], T], token: CancelToken) -> _Done[T]:
    try:
        return _Done(body(token), None)
    except BaseException as e:
        return _Done(None, e)


# The main thread's only. One, unless a callback calls the library again.
_idle: list[_Worker] = []
os.register_at_fork(after_in_child=_idle.clear)


def _next(inbox: SimpleQueue[T]) -> T:
    while True:
        with contextlib.suppress(Empty):
            return inbox.get(timeout=_LOOK_UP_S)


def wait_for(event: threading.Event) -> None:
    """Waits where a signal's handler can run."""
    while not event.wait(_LOOK_UP_S):
        pass
