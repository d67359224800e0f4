"""Exceptions that came when their receiver could not take them.

Somebody who ends a wait (a kill, a time limit, a cancellation) may meet a receiver who has
been sent another exception in the same turn, or who waits for his clean-up because of one.
The first is the one that goes on. The others are sent again, and arrive where the receiver
next waits, so each is seen once. A Timeout whose block has been left by then is not: who
leaves the block has called it off.
"""

from __future__ import annotations

from typing import Any

from .._kernel.entries import Throw


class _ThrowAgain(Throw):
    __slots__ = ()

    def switch(self) -> None:
        if not getattr(self._args[0], "called_off", False):
            super().switch()


def send_again(hub: Any, receiver: Any, errors: list[BaseException]) -> None:
    """Raise exceptions in a greenlet in its next waits; the list is emptied."""
    if not errors:
        return
    for error in errors:
        hub.wake(_ThrowAgain(receiver, (error.with_traceback(None),)))
    errors.clear()
