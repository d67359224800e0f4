"""Waits in the middle of another wait of the same greenlet: a resume for both.

A finalizer or signal handler may wait where it interrupts somebody who is about to: who has
joined the waiters, or set his timer, has looked whether he has to wait, and has not parked yet.
What resumes him then finds the greenlet in the inner wait, which looks at its own condition,
finds it unmet, and parks again. The outer wait, whose condition holds by now, would park and
never be resumed.

So the inner one, having got what it waits for, has the greenlet resumed as often as it was
resumed for something else (`look_again`). A resume says no more than "look again": at worst the
outer wait looks once too often. What is put on the run queue to be taken once, as by `sleep(0)`,
needs none of that: who takes another's entry leaves his own.

That costs nothing where nobody is interrupted: a wait comes here only when it has been resumed
for nothing. It then looks through the frames: to pass each such resume on would be to pass it on
for ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import Context
from types import FrameType
from typing import Any, Protocol

from greenlet import getcurrent

from .interrupted import is_ours

# Functions in which somebody may be about to park.
_WAITS = frozenset(
    {
        "_let_receiver_run",
        "_sleep_until_called",
        "_sleep_until_moment",
        "_wait",
        "_wait_behind",
        "block",
        "block_for",
        "kill",
        "let_others_run",
        "look_again",
        "park",
        "sleep",
        "switch",
        "wait",
        "wait_if_known",
    }
)


class _Hub(Protocol):
    context: Context

    @property
    def loop_call_soon(self) -> Callable[..., Any]: ...

    @property
    def wake(self) -> Callable[..., Any]: ...


def look_again(
    hub: Any, park: Callable[[], Any], is_over: Callable[[], bool], resumed: Any
) -> None:
    """Go on waiting: the current greenlet has been resumed for something else.

    Args:
        hub: The current greenlet's.
        park: How it parks.
        is_over: Whether it has what it waits for.
        resumed: What it was resumed with.
    """
    interrupts = _interrupts_a_wait(sys._getframe(1))
    others: list[Any] = []
    try:
        while True:
            if interrupts:
                others.append(resumed)
            resumed = park()
            if is_over():
                return
    finally:
        for other in others:
            _resume(hub, other)


def _resume(hub: _Hub, value: Any) -> None:
    current = getcurrent()
    if value == ():
        hub.wake(current)
    else:
        hub.loop_call_soon(current.switch, value, context=hub.context)


def _interrupts_a_wait(frame: FrameType | None) -> bool:
    """Whether a wait was called by what has interrupted another one.

    Args:
        frame: The inner wait's.
    """
    while frame is not None and is_ours(frame):
        frame = frame.f_back
    while frame is not None:
        if frame.f_code.co_name in _WAITS and is_ours(frame):
            return True
        frame = frame.f_back
    return False
