"""`Timer`: a callback that a hub makes later, as eventlet's hubs hand them out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from greenlet import greenlet

from .entries import Scheduler, is_past


class Timer:
    """A call that is due later, in the loop greenlet.

    Args:
        hub: The hub that makes the call.
        seconds: How long from now.
        callback: What to call; an exception it raises goes to the loop's exception
            handler.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        local_to: A greenlet; the call is dropped if it has ended by then.
    """

    __slots__ = (
        "_call",
        "_context",
        "_handle",
        "_hub",
        "_local_to",
        "called",
        "made_at",
    )

    # Where it was made; set while `greenio.debug.hub_timer_stacks` is on.
    made_at: str

    def __init__(
        self,
        hub: Scheduler,
        seconds: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        local_to: greenlet | None = None,
    ) -> None:
        self._hub = hub
        self._call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None
        self._call = (callback, args, kwargs or {})
        self._local_to = local_to
        self.called = False
        self._context = copy_context()
        self._handle: asyncio.TimerHandle | None = None
        if seconds > 0:
            self._handle = hub.loop.call_later(
                seconds,
                self._due if hub.defers else self._fire,
                context=self._context,
            )
        else:
            # Due now: in turn with the green threads that are ready, which the loop's
            # own timers would not keep.
            hub.wake(_Due(self))
        hub.timers += 1

    def __repr__(self) -> str:
        state = "pending" if self.pending else "called" if self.called else "canceled"
        return f"<Timer {state}>"

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self._call is not None

    def cancel(self) -> None:
        """Drop the call, if it is still to come."""
        if self._call is not None:
            self._call = None
            self._hub.timers -= 1
            if self._handle is not None:
                self._handle.cancel()
                self._handle = None

    def is_overdue(self, hub: Scheduler, now: float) -> bool:
        """Whether the call should have been made on that hub's loop."""
        return (
            self.pending and self._hub.loop is hub.loop and is_past(self._handle, now)
        )

    def make_due(self) -> None:
        """Make the call when its turn comes."""
        self._due()

    def _due(self) -> None:
        self._handle = None
        self._hub.wake(_Due(self))

    def _fire(self) -> None:
        # It keeps what it calls.
        self._handle = None
        call = self._call
        if call is None:
            return
        self._call = None
        self._hub.timers -= 1
        if self._local_to is not None and self._local_to.dead:
            return
        self.called = True
        callback, args, kwargs = call
        callback(*args, **kwargs)


class _Due:
    """A run-queue entry for a timer that is due; false, so the loop greenlet runs it."""

    __slots__ = ("_timer",)

    def __init__(self, timer: Timer) -> None:
        self._timer = timer

    def __bool__(self) -> bool:
        return False

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self._timer.pending

    def switch(self) -> None:
        timer = self._timer
        try:
            timer._context.run(timer._fire)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            timer._hub.report(f"the callback of {timer!r} failed", exc)
