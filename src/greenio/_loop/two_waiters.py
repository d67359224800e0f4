"""What to say when two green threads wait for the same event of one descriptor."""

from __future__ import annotations

import sys
import traceback
from types import FrameType
from typing import Any

from greenlet import greenlet

from .._std.places import PACKAGE

_ROOMS = ("_loop", "_reactor", "_kernel", "_sync", "_greenthread", "_bridge", "_net")
_OURS = tuple(PACKAGE + room for room in _ROOMS)
_FRAMES = 8


def _users_stack(frame: FrameType | None) -> str:
    """The innermost frames of a stack, without those of greenio's machinery."""
    if frame is None:
        return "  (not known)\n"
    frames = traceback.extract_stack(frame)
    theirs = [entry for entry in frames if not entry.filename.startswith(_OURS)]
    return "".join(traceback.format_list((theirs or frames[-1:])[-_FRAMES:]))


def stack_of(waiter: greenlet) -> str:
    """Where a greenlet waits, without greenio's own frames."""
    return _users_stack(waiter.gr_frame)


def simultaneous_use(listener: Any, second: greenlet) -> str:
    """The message for two who wait for one thing, with where each of them is."""
    first = listener.waiter
    assert first is not None
    return (
        f"second simultaneous {listener.event} on descriptor {listener.fd}: {first!r} "
        f"waits for it already, and now {second!r} does too. Give each green thread a "
        "descriptor of its own, guard this one with a lock, or allow several waiters "
        "with greenio.debug.hub_prevent_multiple_readers(False).\n"
        f"The first waits at:\n{stack_of(first)}"
        f"The second comes from:\n{_users_stack(sys._getframe(1))}"
    )
