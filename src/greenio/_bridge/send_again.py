"""Exceptions that came when their receiver could not take them.

Somebody who ends a wait (a kill, a time limit, a cancellation) may meet a receiver who has
been sent another exception in the same turn, or who waits for his clean-up because of one.
The first is the one that goes on. The others are sent again, and arrive where the receiver
next waits, so each is seen once. A Timeout whose block has been left by then is not: who
leaves the block has called it off. Nor is a cancellation that the caller of `run_green`, or a
scope, has taken back; and until it is seen, it stands for the next one, too. anyio's scopes
cancel in each turn of the loop, and all of that is one exception for who is cleaning up.
"""

from __future__ import annotations

from typing import Any

from .._kernel.entries import Throw
from .cancellation import Cancellation, State


class _ThrowAgain(Throw):
    __slots__ = ()

    def switch(self) -> None:
        if not getattr(self._args[0], "called_off", False):
            super().switch()


def put_by(errors: list[BaseException], error: BaseException) -> None:
    """Keep an exception that its receiver could not take, for `send_again`."""
    state = _state_of(error)
    if state is not None:
        state.seen = False
    errors.append(error)


def _state_of(error: BaseException) -> State | None:
    return getattr(error, "_greenio_cancellation", None)


def send_again(hub: Any, receiver: Any, errors: list[BaseException]) -> None:
    """Raise exceptions in a greenlet in its next waits; the list is emptied."""
    if not errors:
        return
    for error in errors:
        state = _state_of(error)
        if state is None or state.seen:
            hub.wake(_ThrowAgain(receiver, (error.with_traceback(None),)))
        else:
            hub.wake(Cancellation(receiver, error, state))
    errors.clear()


class Thrown(Exception):
    """Carries any exception, BaseExceptions too, through a future."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error: BaseException | None = error

    def unpacked(self) -> BaseException:
        """Hand the exception out, for once: it is to go when it has been handled."""
        error = self._error
        assert error is not None
        self._error = None
        # Whoever steps the Task still has the carrier, whose traceback leads to all the
        # frames of the caller.
        self.__traceback__ = None
        return error
