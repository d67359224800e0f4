"""What a hub is to those who have something done on its loop.

`Scheduler` is all that timers and descriptors know of a hub, so they stand below it.
What they put into its run queue is greenlets and `NotSwitchedTo`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol


class Switchable(Protocol):
    """What stands in a run queue: a greenlet, or something that is `NotSwitchedTo`."""

    def switch(self) -> Any: ...

    def __bool__(self) -> bool: ...


class PendingCall(Protocol):
    """A call that is due later: a loop's `TimerHandle`, or a `DeferredCall`."""

    def cancel(self) -> None:
        """Do not make it, if it is still to come."""

    def when(self) -> float:
        """When it is due, by the clock of the loop."""


class Scheduler(Protocol):
    """A hub, to those who have something done on its loop."""

    loop: asyncio.AbstractEventLoop
    context: Context
    # Whether what calls back from the loop goes by way of the run queue.
    defers: bool
    # How many timers of greenio's are pending.
    timers: int
    # Who is due in which tick of the loop's clock: a `Moments`, which stands above.
    moments: Any
    # The OS thread that its loop runs in.
    thread_id: int

    # Who is resumed before the loop's turn comes, and how the last one goes back to it.
    batch: deque[Switchable]
    loop_switch: Callable[[], Any]

    def wake(self, target: Switchable) -> None:
        """Resume a greenlet when its turn comes."""

    def wake_all(self, targets: list[Switchable]) -> None:
        """Resume some, at least one, in the next turn; called in the loop greenlet."""

    def park(self) -> Any:
        """Stop the current greenlet until somebody resumes it."""

    def call_threadsafe(self, func: Callable[..., Any], *args: Any) -> bool:
        """Call a function in the loop greenlet, from any OS thread."""

    def call_later(
        self, seconds: float, callback: Callable[..., Any], *args: Any
    ) -> PendingCall:
        """Call a function in the loop greenlet after some seconds."""

    def report(self, message: str, error: BaseException | None, **more: Any) -> None:
        """Hand an error that nobody waits for to the loop's exception handler."""


class NotSwitchedTo:
    """What is in a run queue and is no greenlet: it is false.

    Whoever parks asks for that each time, so it calls no Python function.
    """

    __slots__ = ()

    # `bool()` is False.
    __bool__: Callable[[], bool] = staticmethod(bool)
