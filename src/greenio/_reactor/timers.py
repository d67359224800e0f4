"""`Timer`: a callback that a hub makes later, as eventlet's hubs hand them out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from inspect import iscoroutinefunction
from typing import Any

from greenlet import getcurrent, greenlet

from .calls import is_past
from .scheduler import NotSwitchedTo, Scheduler

# Returns the hub of the caller; set by `current`, which stands above.
current_hub: Callable[[], Any] | None = None


def check_callback(func: Any, what: str) -> None:
    """Raise TypeError, saying what would work, unless it is a function to be called."""
    if not callable(func):
        raise TypeError(
            f"{what} takes seconds, a function and its arguments, as in "
            f"{what}(1, func, arg), not {func!r}"
        )
    if iscoroutinefunction(func) or iscoroutinefunction(
        getattr(func, "__call__", None)  # noqa: B004 - an object's may be one
    ):
        raise TypeError(
            f"{what} takes a function that does not wait, not the coroutine function "
            f"{func!r}, which nobody would await; spawn_after(seconds, func, arg) runs it"
        )


class Timer:
    """A call that is due later, in the loop greenlet.

    `Hub.schedule_call_global` and its sisters return them. One that a program makes by
    itself counts from `schedule` on.

    Args:
        seconds: How long from then.
        cb: What to call; an exception it raises goes to the loop's exception handler.
        *args: Its positional arguments.
        **kw: Its keyword arguments.

    Attributes:
        seconds: As it was given.
        called: Whether the call has been made, or called off.
    """

    __slots__ = (
        "_call",
        "_context",
        "_handle",
        "_hub",
        "_local_to",
        "_made",
        "_scheduled_time",
        "called",
        "made_at",
        "seconds",
    )

    # Where it was made; set while `greenio.debug.hub_timer_stacks` is on.
    made_at: str
    # Set when the call has been made: it was not called off.
    _made: bool
    _scheduled_time: float

    def __init__(
        self, seconds: float, cb: Callable[..., Any], *args: Any, **kw: Any
    ) -> None:
        self.seconds: float = seconds
        self._call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None
        self._call = (cb, args, kw)
        self._local_to: greenlet | None = None
        self.called: bool = False
        self._hub: Scheduler | None = None
        self._handle: asyncio.TimerHandle | None = None

    @classmethod
    def start(
        cls,
        hub: Scheduler,
        seconds: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        local_to: greenlet | None = None,
    ) -> Timer:
        """Have a hub make a call.

        Args:
            hub: The hub.
            seconds: How long from now.
            callback: What to call.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            local_to: A greenlet; the call is dropped if it has ended by then.
        """
        timer = cls.__new__(cls)
        timer.seconds = seconds
        timer._call = (callback, args, kwargs or {})
        timer._local_to = local_to
        timer.called = False
        timer._hub = timer._handle = None
        timer.start_on(hub)
        return timer

    def start_on(self, hub: Scheduler) -> None:
        """Count from now on."""
        if self._hub is not None or self._call is None:
            return
        self._hub = hub
        self._context = copy_context()
        seconds = self.seconds
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
        state = "called" if hasattr(self, "_made") else "canceled"
        if self.pending:
            state = "pending"
        return f"<{type(self).__name__} {state}>"

    def __lt__(self, other: object) -> bool:
        # For heaps of them.
        return id(self) < id(other)

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self._call is not None

    @property
    def scheduled_time(self) -> float | None:
        """When it is due, by the hub's clock; None before `schedule`."""
        return getattr(self, "_scheduled_time", None)

    @property
    def tpl(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None:
        """What is called, and with which arguments; None when that is over."""
        return self._call

    def schedule(self) -> Timer:
        """Count from now on, on the hub of the caller.

        Returns:
            The timer itself.
        """
        assert current_hub is not None
        self._scheduled_time = current_hub().add_timer(self)
        return self

    def copy(self) -> Timer:
        """Return another timer for the same call, which is not scheduled yet.

        Raises:
            ValueError: The call has been made, or called off.
        """
        if self._call is None:
            raise ValueError(f"{self!r} has nothing to call any more; copy it before")
        callback, args, kwargs = self._call
        return self.__class__(self.seconds, callback, *args, **kwargs)

    def __call__(self, *args: Any) -> None:
        """Make the call now, unless it has been made or called off."""
        call = self._call
        if call is None:
            return
        self._end()
        self._made = True
        callback, arguments, kwargs = call
        callback(*arguments, **kwargs)

    def cancel(self) -> None:
        """Drop the call, if it is still to come."""
        if self._call is not None:
            self._end()

    def _end(self) -> None:
        self._call = None
        self.called = True
        if self._hub is not None:
            self._hub.timers -= 1
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def is_overdue(self, hub: Scheduler, now: float) -> bool:
        """Whether the call should have been made on that hub's loop."""
        own = self._hub
        return (
            self.pending
            and own is not None
            and own.loop is hub.loop
            and is_past(self._handle, now)
        )

    def is_on(self, hub: Scheduler) -> bool:
        """Whether the call is to be made by that hub."""
        return self.pending and self._hub is hub

    def due_in(self, now: float) -> float:
        """How many seconds are left, by the loop's clock."""
        handle = self._handle
        return 0.0 if handle is None else max(handle.when() - now, 0.0)

    def make_due(self) -> None:
        """Make the call when its turn comes."""
        self._due()

    def _due(self) -> None:
        self._handle = None
        assert self._hub is not None
        self._hub.wake(_Due(self))

    def _fire(self) -> None:
        # It keeps what it calls.
        self._handle = None
        call = self._call
        if call is None:
            return
        if self._local_to is not None and self._local_to.dead:
            self._end()
            return
        if type(self) is not Timer:
            # A program's own kind.
            self()
            return
        self._call = None
        self.called = self._made = True
        assert self._hub is not None
        self._hub.timers -= 1
        callback, args, kwargs = call
        callback(*args, **kwargs)

    def fire(self) -> None:
        """Make the call, with what it raises reported."""
        try:
            self._context.run(self._fire)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            assert self._hub is not None
            self._hub.report(f"the callback of {self!r} failed", exc)


class LocalTimer(Timer):
    """A timer whose call is dropped if the greenlet that made it has ended by then."""

    __slots__ = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._local_to = getcurrent()

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        owner = self._local_to
        return super().pending and not (owner is not None and owner.dead)

    @property
    def greenlet(self) -> Any:
        """The greenlet that made it."""
        return self._local_to


class _Due(NotSwitchedTo):
    """A run-queue entry for a timer that is due; false, so the loop greenlet runs it."""

    __slots__ = ("_timer",)

    def __init__(self, timer: Timer) -> None:
        self._timer = timer

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self._timer.pending

    def switch(self) -> None:
        self._timer.fire()
