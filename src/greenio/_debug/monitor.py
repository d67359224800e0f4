"""Telling who blocks a loop, from a real OS thread.

The monitor's thread asks the loop for a sign of life and looks again after a while. A loop
that waits for something to happen is left alone: it blocks nobody. If the sign has not
come, whatever runs in the loop's thread at that moment is what keeps it from coming.
Nothing is added to a switch, a spawn or a callback.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from .._greenthread.thread import GreenThread
from .._kernel.current import get_hub
from .._kernel.hub import Hub, known_hubs
from .._std.originals import allocate_lock, monotonic, start_new_thread
from .frames import (
    STANDARD_LIBRARY,
    above_the_loop,
    green_title,
    is_ours,
    lines,
    stack_of,
    title_of,
)

_SELECTORS = str(STANDARD_LIBRARY / "selectors.py")
# Where the innermost frame is while a loop waits, or sees to itself.
_LOOPS = (
    _SELECTORS,
    asyncio.base_events.__file__,
    asyncio.runners.__file__,
)

_log = logging.getLogger("greenio.debug")


@dataclass(frozen=True)
class Blocking:
    """A loop that somebody keeps from going on.

    Attributes:
        who: The green thread, task or callback.
        seconds: For how long it was blocked, so far or in all.
        over: Whether the loop goes on again, or somebody else keeps it from that.
        stack: Where it was when that was noticed, as text.
    """

    who: str
    seconds: float
    over: bool
    stack: str

    def __str__(self) -> str:
        if self.over:
            return f"{self.who} blocked the loop for {self.seconds:.3f} seconds"
        return (
            f"{self.who} has been blocking the loop for {self.seconds:.3f} seconds:\n"
            f"{self.stack}"
        )


@dataclass(frozen=True)
class _Seen:
    """Who was seen running where the loop should."""

    culprit: str
    who: str
    stack: str

    def blocking(self, seconds: float, *, over: bool = False) -> Blocking:
        return Blocking(self.who, seconds, over, self.stack)


def _warn(blocking: Blocking) -> None:
    _log.warning("%s", blocking)


class monitor:  # noqa: N801 - reads as a function, and is used as a context manager
    """Report who blocks the current loop, until it ends or `close` is called.

    Each time that the loop does not go on for so long, `report` is called twice: when that
    is noticed, with the name and the stack of whoever runs then, and when the loop goes on.
    If somebody else keeps it by then, and is still there after as long again, that is
    reported likewise.

    It runs in an OS thread of its own, for the caller's OS thread: for its hub, or the
    hub of the loop that is run there later, until the caller's hub ends. It costs a loop that is
    busy a few callbacks per `max_blocking` seconds, and one that waits nothing (uvloop,
    which does not show that it waits, as much as when it is busy). Use it with ``with``,
    or keep it and `close` it.

    Args:
        max_blocking: How long a loop may be kept from going on, in seconds.
        report: Called with a `Blocking`, in the monitor's OS thread; by default it goes
            to the logger ``greenio.debug`` as a warning.

    Raises:
        ValueError: `max_blocking` is not positive.
    """

    def __init__(
        self,
        max_blocking: float = 0.1,
        report: Callable[[Blocking], object] = _warn,
    ) -> None:
        if not max_blocking > 0:
            raise ValueError(
                f"monitor() takes a number of seconds above 0, not {max_blocking!r}"
            )
        self._max = max_blocking
        self._report = report
        # The caller's, and that of whatever loop runs in its OS thread by now.
        self._home = self._hub = get_hub()
        self._over = False
        # Released when it is over, which wakes the monitor's thread.
        self._closed = allocate_lock()
        # Whether the loop has been asked for a sign and has not given it.
        self.waiting: bool = False
        self._closed.acquire()
        start_new_thread(self._run, ())

    def __enter__(self) -> monitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the monitor; nothing is reported any more."""
        self._over = True
        try:
            self._closed.release()
        except RuntimeError:
            # It has been closed before.
            pass

    @property
    def thread_id(self) -> int:
        """The OS thread of the loop."""
        return self._hub.thread_id

    # -- in the monitor's thread -------------------------------------------------------

    def _run(self) -> None:
        home = self._home
        while not self._closed.acquire(timeout=self._max / 4):
            if home.closed or home.loop.is_closed():
                return
            if not self._hub.loop.is_running():
                self._hub = next(iter(_running_hubs(home)), home)
            if self._hub.loop.is_running() and not self._is_idle():
                self._check()

    def _check(self) -> None:
        """Ask for a sign of life; report if it does not come in time."""
        sign = allocate_lock()
        sign.acquire()
        began = monotonic()
        self.waiting = True
        if not self._hub.call_threadsafe(self._answer, sign):
            return
        if sign.acquire(timeout=self._max):
            return
        told = self._look()
        if told is None or not self._hub.loop.is_running():
            # The loop itself is late, or it has ended; a hub's own loop goes on when it
            # is needed again.
            return
        self._tell(told.blocking(monotonic() - began))
        # Seen once, after the one that was told of.
        other, since = told, began
        while not sign.acquire(timeout=self._max):
            if self._over or not self._hub.loop.is_running():
                return
            seen = self._look()
            if seen is None or seen.culprit == told.culprit:
                other = told
            elif seen.culprit != other.culprit:
                other, since = seen, monotonic()
            else:
                # The loop had no turn between two who keep it.
                self._tell(told.blocking(since - began, over=True))
                told, began = seen, since
                self._tell(told.blocking(monotonic() - began))
        self._tell(told.blocking(monotonic() - began, over=True))

    def _look(self) -> _Seen | None:
        """See who runs in the loop's thread now, if it is not the loop itself."""
        frame = self._frame()
        if frame is None or _is_loops_own(frame):
            return None
        culprit, who = self._who(frame)
        return _Seen(culprit, who, "\n".join(lines(_shown(frame))))

    def _answer(self, sign: Any) -> None:
        """The sign of life, called in the loop."""
        self.waiting = False
        sign.release()

    def _tell(self, blocking: Blocking) -> None:
        if not self._over:
            try:
                self._report(blocking)
            except Exception:  # noqa: BLE001 - the report is somebody else's
                _log.exception("%r failed to report: %s", self._report, blocking)

    def _frame(self) -> FrameType | None:
        return sys._current_frames().get(self._hub.thread_id)

    def _is_idle(self) -> bool:
        """Whether the loop waits for something to happen.

        uvloop does so in C, where it cannot be seen; it gets woken to give its sign.
        """
        frame = self._frame()
        return frame is not None and frame.f_code.co_filename == _SELECTORS

    def _who(self, frame: FrameType) -> tuple[str, str]:
        """Name whoever runs: in few words, the same each time, and for a report."""
        hub = self._hub
        hubs = [hub, *_running_hubs(hub)]
        for each in hubs:
            for thread in each.green_threads():
                # The one that has started and is not parked.
                if (
                    thread
                    and thread.gr_frame is None
                    and isinstance(thread, GreenThread)
                ):
                    return f"green thread {id(thread):#x}", green_title(thread, frame)
        for each in hubs:
            task = asyncio.current_task(each.loop)
            if task is not None:
                return f"task {id(task):#x}", title_of(task)
        if hub.main is not None and hub.main.gr_frame is None:
            return "main", "the main program"
        name = _shown(frame)[-1].f_code.co_name
        return "callback", f"a callback of the loop, in {name}()"


def _running_hubs(home: Hub) -> list[Hub]:
    """Return the hubs of the loops that run in a hub's OS thread.

    They are several where green code runs a loop while that of its hub goes on.
    """
    return [
        hub
        for hub in known_hubs()
        if hub.thread_id == home.thread_id and hub.loop.is_running()
    ]


def _is_loops_own(frame: FrameType) -> bool:
    """Whether the innermost frame is one of a loop that runs nobody's code now."""
    return frame.f_code.co_filename in _LOOPS or (
        is_ours(frame) and frame.f_code.co_name == "run_forever"
    )


def _shown(frame: FrameType) -> list[FrameType]:
    frames = stack_of(frame)
    return above_the_loop(frames) or frames
