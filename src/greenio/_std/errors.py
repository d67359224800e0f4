"""Exceptions of the engine.

    Exception
    ├── RuntimeError
    │   ├── BlockingInLoopError     you blocked where only `await` may wait
    │   └── SimultaneousUseError    two green threads wait on one descriptor
    ├── AssertionError
    │   ├── AlreadySentError        an event was sent twice without a reset
    │   └── WaitingForItselfError   a green thread waits for its own pool to be idle
    ├── HubError                    a hub could not be chosen, made or used
    │   ├── DeadlockError           the main program would wait for ever
    │   └── HubClosedError          the loop behind a green thread is gone
    ├── OSError
    │   └── IOClosed                the descriptor was closed while waiting on it
    ├── RuntimeWarning
    │   └── BlockingInLoopWarning   you blocked there for a moment, in a patched program
    └── Warning
        └── EventletDeprecationWarning  never given: for filters that name it

`Timeout` (a BaseException) lives in `greenio.timeout`, `greenlet.GreenletExit` is
what a killed green thread sees. Each class bears the name of the module that users import
it from, which may not have been imported yet when it is raised.
"""

from __future__ import annotations

import errno
import os
from typing import Any


class _Explained(BaseException):
    """Makes its message of what it is called with; copies and pickles keep the message."""

    def __reduce__(self) -> Any:
        return _copied, (type(self), self.args), self.__dict__ or None


def _copied(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    return cls.__new__(cls, *args)


class BlockingInLoopError(_Explained, RuntimeError):
    """A green call would have to wait in the greenlet that runs the event loop.

    Waiting there would stop every coroutine and every green thread. The message names
    the ways out.
    """

    def __init__(self, what: str = "this call") -> None:
        super().__init__(
            f"{what} would have to wait, but it was called in the greenlet that runs "
            "the event loop (directly from a coroutine or a loop callback), where "
            "waiting would stop everything. From a coroutine, call it as "
            "`await greenio.run_green(func, ...)`, or use the `*_async` form of the "
            "method; from a callback, start it with `greenio.spawn(func, ...)`."
        )


class BlockingInLoopWarning(RuntimeWarning):
    """A coroutine of a patched program holds up the loop; see `greenio.patcher`."""


class EventletDeprecationWarning(Warning):
    """What eventlet warns with when it is imported: for programs that filter it."""


class SimultaneousUseError(RuntimeError):
    """Two green threads wait for the same event of the same descriptor."""


class AlreadySentError(_Explained, AssertionError):
    """An `Event` was sent twice; an AssertionError, as eventlet raises."""

    __module__ = "greenio.event"

    def __init__(self, what: str = "the event") -> None:
        super().__init__(
            f"{what} was sent already; call reset() before sending again, or make a "
            "new Event"
        )


class WaitingForItselfError(AssertionError, RuntimeError):
    """A green thread of a pool waits until all of the pool's have ended."""

    __module__ = "greenio.greenpool"


class HubError(Exception):
    """A hub could not be chosen, made or used."""

    __module__ = "greenio.hubs"


class HubNotFoundError(HubError, ImportError):
    """There is no hub of the name that was asked for, or it is not installed.

    An ImportError, too, since programs for eventlet look out for that.
    """

    __module__ = "greenio.hubs"


class HubClosedError(_Explained, HubError, RuntimeError):
    """The loop behind a hub is closed, so nothing on it can be woken any more."""

    __module__ = "greenio.hubs"

    def __init__(self, what: str = "the hub") -> None:
        super().__init__(
            f"{what} belongs to an event loop that is closed; green threads, timers and "
            "waiters end with their loop. Start new ones with greenio.spawn() in a "
            "running program, or keep the loop open for as long as they are needed."
        )


class DeadlockError(_Explained, HubError):
    """The main program waits, and nothing that could wake anybody is left."""

    __module__ = "greenio.hubs"

    def __init__(self, run_info: str = "") -> None:
        super().__init__(
            "This would wait for ever: the main program waits, and there is no timer, "
            "descriptor, task, other OS thread or signal handler that could wake "
            "anybody. If it is to wait for a signal, call "
            f"greenio.hubs.detect_deadlocks(False) first.\n{run_info}"
        )


class IOClosed(OSError):
    """The descriptor was closed while somebody waited on it, or before."""

    __module__ = "greenio.hubs"

    def __init__(self, *args: object) -> None:
        super().__init__(*(args or (errno.EBADF, os.strerror(errno.EBADF))))
