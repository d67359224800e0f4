"""Coroutines of a patched program that block for a moment, as they may unpatched.

A library that a coroutine imports runs a child, looks a name up, sleeps a millisecond.
The real call would hold up the loop for that long and no longer; to refuse it would break
programs that work. So in a patched program what the system ends by itself (a descriptor,
a child, a name, time) is waited for by blocking the thread, and the place that does so is
warned of once. Locks and queues are refused as ever: a green thread may have to see to
them, and it cannot run meanwhile.
"""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType

from .._kernel.current import hub_to_park_in, is_held_up
from .._kernel.hub import Hub
from .._std.errors import BlockingInLoopError, BlockingInLoopWarning
from .._std.places import PACKAGE, of_the_standard_library

VARIABLE = "GREENIO_BLOCKING_IN_LOOP"
POLICIES = ("warn", "allow", "refuse")

# What works instead, by the call; where nothing is said, `run_green`.
_INSTEAD = {
    "time.sleep()": "await asyncio.sleep(...)",
    "getaddrinfo()": "await asyncio.get_running_loop().getaddrinfo(...)",
    "os.waitpid()": "await asyncio.create_subprocess_exec(...)",
    "Popen.wait()": "await asyncio.create_subprocess_exec(...)",
}
_RUN_GREEN = "await greenio.run_green(func, ...)"

# What the program has chosen; None for the environment's choice, else the default.
_chosen: str | None = None
_patched = False
_warned: set[tuple[str, int]] = set()


def blocking_in_loop(policy: str | None) -> None:
    """Choose what becomes of calls that block in a coroutine or a loop's callback.

    What the system ends by itself is meant: `time.sleep`, waiting for descriptors and
    children, looking names up. Locks and queues are refused there in any case.

    Args:
        policy: ``"warn"``, the default of a patched program: the call is made and holds up
            the loop, and each place that does so is warned of once
            (`BlockingInLoopWarning`). ``"allow"``: without the warning. ``"refuse"``, the
            default of an unpatched program: `BlockingInLoopError`. None: what the
            environment variable GREENIO_BLOCKING_IN_LOOP says, else the default.

    Raises:
        ValueError: There is no such policy.
    """
    global _chosen  # noqa: PLW0603 - one choice per program
    if policy is not None and policy not in POLICIES:
        raise ValueError(
            f"blocking_in_loop() takes one of {', '.join(POLICIES)}, not {policy!r}"
        )
    _chosen = policy


def note_patched() -> None:
    """The program is patched: what blocks in its coroutines may not know that."""
    global _patched  # noqa: PLW0603 - one standard library per program
    _patched = True


def current_policy() -> str:
    """Return what becomes of blocking calls in coroutines."""
    if _chosen is not None:
        return _chosen
    wish = os.environ.get(VARIABLE, "")
    if wish in POLICIES:
        return wish
    return "warn" if _patched else "refuse"


def hub_to_wait_in(what: str) -> Hub | None:
    """Return the hub to park the caller in; None to block its OS thread.

    Args:
        what: The call that wants to wait, for the message.

    Raises:
        BlockingInLoopError: The caller can do neither.
    """
    if is_held_up():
        return None
    try:
        return hub_to_park_in(what)
    except BlockingInLoopError:
        if not may_hold_up():
            raise
    note_held_up(what)
    return None


def may_hold_up() -> bool:
    """Whether a call that cannot park may block the loop instead."""
    return is_held_up() or current_policy() != "refuse"


def note_held_up(what: str) -> None:
    """Warn of a call that is about to block the loop, once for each place."""
    if is_held_up() or current_policy() != "warn":
        return
    frame = _users_frame()
    filename, line = frame.f_code.co_filename, frame.f_lineno
    place = (filename, line)
    if place in _warned:
        return
    _warned.add(place)
    instead = next((how for call, how in _INSTEAD.items() if call in what), _RUN_GREEN)
    warnings.warn_explicit(
        f"{what} holds up the event loop, and with it every coroutine and green thread, "
        f"because a coroutine or callback of the loop makes it. Use `{instead}` there",
        BlockingInLoopWarning,
        filename,
        line,
        module=frame.f_globals.get("__name__"),
    )


def places_held_up() -> list[tuple[str, int]]:
    """Where the loop has been blocked so far: files and lines that were warned of."""
    return sorted(_warned)


def _users_frame() -> FrameType:
    """The innermost frame that is neither greenio's nor the standard library's."""
    innermost = frame = sys._getframe(2)
    outside: FrameType | None = None
    walked: FrameType | None = frame
    while walked is not None:
        name = walked.f_code.co_filename
        if not name.startswith((PACKAGE, "<frozen ")):
            if outside is None:
                outside = walked
            if not of_the_standard_library(name):
                return walked
        walked = walked.f_back
    return outside or innermost
