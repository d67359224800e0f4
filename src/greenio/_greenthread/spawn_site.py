"""Where a green thread was spawned, noted down in debug mode."""

from __future__ import annotations

import sys
from traceback import StackSummary, walk_stack
from types import FrameType

# How many calls of a spawner are noted down in debug mode.
_STACK_DEPTH = 10
_OURS = f"{__name__.partition('.')[0]}."


def stack_of_spawner() -> StackSummary:
    """Where the user's code is, as asyncio notes it down for Tasks."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame = frame.f_back
    stack = StackSummary.extract(
        walk_stack(frame), limit=_STACK_DEPTH, lookup_lines=False
    )
    stack.reverse()
    return stack
