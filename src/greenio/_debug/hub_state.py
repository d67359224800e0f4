"""What a hub waits for: its descriptors and timers, as text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from .._kernel.current import get_hub
from .._reactor.descriptors import Listener
from .._reactor.scheduler import Scheduler
from .._reactor.timers import Timer
from .frames import lines, stack_of, title_of, users_frames

_start_timer = Timer.start_on
_with_listener_stacks = False


def show_listener_stacks(state: bool) -> None:
    """Choose whether `describe_listeners` shows where each waits."""
    global _with_listener_stacks  # noqa: PLW0603 - a process-wide debug switch
    _with_listener_stacks = state


def note_timer_stacks(state: bool) -> None:
    """Choose whether timers remember where they were made. Nothing is paid when off."""
    Timer.start_on = _start_and_note if state else _start_timer  # type: ignore[method-assign]


def _start_and_note(self: Timer, hub: Scheduler) -> None:
    _start_timer(self, hub)
    self.made_at = "\n".join(lines(users_frames(stack_of(sys._getframe(1)))))


def describe_listeners() -> Iterator[str]:
    """Say who waits on which descriptor of the current hub."""
    hub = get_hub()
    for title, listeners in (
        ("READERS:", hub.get_readers()),
        ("WRITERS:", hub.get_writers()),
    ):
        yield title
        for listener in listeners:
            yield f"  {listener!r}"
            if _with_listener_stacks:
                yield from _indented(_where(listener))


def _where(listener: Listener) -> Iterator[str]:
    waiter = listener.waiter
    if waiter is not None:
        yield from lines(users_frames(stack_of(waiter.gr_frame)))


def describe_timers() -> Iterator[str]:
    """Say which calls the current hub is to make later."""
    hub = get_hub()
    now = hub.clock()
    yield "TIMERS:"
    for when, timer in hub.next_timers:
        call = timer.tpl
        if call is not None:
            yield f"  in {max(when - now, 0):.3f} s: {title_of(call[0])}"
            yield from _indented(getattr(timer, "made_at", "").splitlines())


def _indented(text: Any) -> Iterator[str]:
    for line in text:
        yield f"      {line}"
