"""A `c4c_model` that lives as long as calls use it."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import weakref
from ctypes import byref, c_void_p
from typing import Any, Callable

from ._abi import LogLevel, Status, c4c_error, c4c_options, log_fn
from ._calls import CancelToken, in_callback, inside_callback, limits, wait_for
from ._errors import ClosedError, error
from ._library import lib

_ERROR_SIZE = ctypes.sizeof(c4c_error)
# How long the end of the process waits for cancelled calls of daemon threads.
_PATIENCE_S = 5.0


class Log:
    """A Python function for the library's messages. What it raises waits for the next call's end."""

    def __init__(self, receiver: Callable[[LogLevel, str], Any]) -> None:
        self.receiver = receiver
        self.error: BaseException | None = None

    def check(self) -> None:
        """Raises what the function raised."""
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None


def log_function(log: Callable[[], Log | None]) -> Any:
    """The function that the library calls. It does not keep the log alive, which may well refer to its model."""

    def receive(_: Any, level: int, message: bytes) -> None:
        to = log()
        if to is not None:
            try:
                receiver = to.receiver
                inside_callback(lambda: receiver(LogLevel(level), message.decode("utf-8", "replace")))
            except BaseException as e:
                to.error = e

    return log_fn(receive)


def check(status: int, err: c4c_error, path: str | None = None) -> None:
    """Raises a failed call's error."""
    if status:
        raise error(status, err.message.decode("utf-8", "replace"), path)


def call(function: Any, *args: Any) -> None:
    """A call that needs no model."""
    err = c4c_error(_ERROR_SIZE)
    check(function(*args, byref(err)), err)


class Handle:
    """Owns the model. The library wants nobody to use the pointer once `c4c_free` has returned, so whoever is the last
    to leave after `release` frees it."""

    def __init__(self, log: Log | None) -> None:
        self._lock = threading.Lock()
        self._token = CancelToken()  # of the calls that brought none
        self._no_limits = limits(None, self._token)
        self._users: dict[object, CancelToken] = {}
        self._closed = False
        self._ending = False
        self._freed = threading.Event()
        self._process = os.getpid()
        self._log: Callable[[], Log | None] = (lambda: None) if log is None else weakref.ref(log)
        # The library calls it until the model is freed.
        self._log_function = log_fn() if log is None else log_function(self._log)
        self._pointer = c_void_p()
        _alive.add(self)

    @property
    def closed(self) -> bool:
        return self._closed

    def create(self, options: c4c_options, path: str) -> int:
        """Loads the model and returns its dimension. Whatever happens afterwards, `release` frees it."""
        err = c4c_error(_ERROR_SIZE)
        options.log = self._log_function
        status = lib.c4c_create(byref(options), byref(self._pointer), byref(err))
        log = self._log()
        if log is not None:
            log.check()
        check(status, err, path)
        return int(lib.c4c_dim(self._pointer))

    def embed(
        self,
        function: Any,
        inputs: tuple[Any, ...],
        timeout: float | None,
        cancel: CancelToken | None,
        outputs: tuple[Any, ...],
        path: str | None = None,
    ) -> str:
        """As `call`, for a function that takes limits between its inputs and its outputs."""
        token = cancel or self._token
        limit = self._no_limits if timeout is None and cancel is None else limits(timeout, token)
        return self.call(function, *inputs, byref(limit), *outputs, token=token, path=path)

    def call(self, function: Any, *args: Any, token: CancelToken | None = None, path: str | None = None) -> str:
        """Calls `function` with the model, `args` and room for an error, and raises that. Returns the message of a call
        that succeeded and has something to say nevertheless."""
        err = c4c_error(_ERROR_SIZE)
        if os.getpid() != self._process:
            # Another thread may have held the lock when this process was forked. The library refuses the call.
            check(function(self._pointer, *args, byref(err)), err)
            return ""
        user = object()
        try:
            with self._lock:
                if self._closed:
                    raise ClosedError("model: it is closed", Status.CLOSED)
                self._users[user] = token or self._token
            status = function(self._pointer, *args, byref(err))
        finally:
            with self._lock:
                entered = self._users.pop(user, None) is not None
                last = entered and self._closed and not self._users
            if last:
                self._free()
            if self._ending and threading.current_thread() is not threading.main_thread():
                threading.Event().wait()  # the interpreter ends, and stops its daemon threads likewise
        log = self._log()
        if log is not None:
            log.check()
        if status:
            check(status, err, path)
        return err.message.decode("utf-8", "replace") if err.message else ""

    def _free(self) -> None:
        pointer, self._pointer = self._pointer, c_void_p()
        lib.c4c_free(pointer)
        _alive.discard(self)
        self._freed.set()

    def release(self) -> None:
        """Refuses new calls, and frees the model now or at the end of the last running call. Does not wait for that."""
        if os.getpid() != self._process:
            return
        with self._lock:
            idle = not self._closed and not self._users
            self._closed = True
        if idle:
            self._free()

    def close(self) -> None:
        """As `release`, and waits for the running calls, except in a callback, whose own call is among them."""
        self.release()
        if os.getpid() == self._process and not in_callback():
            wait_for(self._freed)

    def end(self) -> None:
        """As `release`, and cancels the running calls. Their threads do not come back."""
        if os.getpid() == self._process:
            self._ending = True
            self.release()
            with self._lock:
                tokens = list(self._users.values())
            for token in tokens:
                token.cancel()

    def await_end(self) -> None:
        """Waits a while for the running calls."""
        if os.getpid() == self._process:
            self._freed.wait(_PATIENCE_S)


_alive: set[Handle] = set()


@atexit.register
def _end() -> None:
    """Libraries that unload under threads that compute would crash the process. At its end, only daemon threads can be
    in a call."""
    handles = list(_alive)
    for handle in handles:
        handle.end()
    for handle in handles:
        handle.await_end()
