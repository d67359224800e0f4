"""`Moment`: what is due on a hub in one tick of the clock has one timer of the loop.

A timer of a loop's costs far more than what is done when it fires. So those on one hub
who sleep until the same tick share one, and all of them are put on the run queue by one
callback, in the order in which they came.

A tick is a millisecond on uvloop, which counts those, and a quarter of one on other loops,
which wait for whole ones. There, who sleeps has a timer of his own unless so many are to
come that others likely share it (`_greenthread.sleeping`): a `Moment` for one alone costs
more than it saves. A loop with a clock of its own, as tests have, has no ticks: what is due
there is due exactly.

A moment is kept by the timer of the loop, and by whoever may still call his part of it
off; the hub knows it by a weak reference, so what it refers to goes away with the loop.
When the last one has called off, the timer is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import ref

from .._std.originals import monotonic
from .scheduler import Scheduler, Switchable

# Milliseconds; uvloop takes more for a hundred years.
_AGES = 1 << 53
# Ticks in a second.
_OF_UVLOOP = 1000
_OF_OTHERS = 4000
# How old, in seconds, the time that uvloop tells may be if its clock is the system's.
_OLDEST = 60


class Moments(dict[int, "ref[Moment]"]):
    """Those that others may join, by their ticks.

    Args:
        loop: The loop.
        is_uvloop: Whether it is one of uvloop's.

    Attributes:
        ticks: Into how many a second is divided; 0 if a clock of the loop's own, such as
            a virtual one, is to be kept exactly.
        now: Returns the time. uvloop's own is that of the last look at it, and from then
            on, nobody's sleep is to count who has computed meanwhile.
    """

    __slots__ = ("now", "ticks")

    def __init__(self, loop: asyncio.AbstractEventLoop, is_uvloop: bool) -> None:
        super().__init__()
        self.ticks: int = 0
        self.now: Callable[[], float] = loop.time
        if is_uvloop:
            self.ticks = _OF_UVLOOP
            if 0 <= monotonic() - loop.time() < _OLDEST:
                self.now = monotonic
        elif getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time:
            self.ticks = _OF_OTHERS
            self.now = monotonic


class Moment:
    """Those who are due at one time of a hub's loop.

    Args:
        hub: The hub.
        when: The time, by the clock of the loop.
        seconds: How far off it is, if the loop is to count from now on.

    Attributes:
        entries: What is put on the run queue then, by id.
        due: Whether that time has come.
        handle: The loop's timer; None when that is over or called off.
        key: By which the hub knows it, if others may join.
    """

    __slots__ = ("__weakref__", "_hub", "_when", "due", "entries", "handle", "key")

    def __init__(
        self, hub: Scheduler, when: float, seconds: float | None = None
    ) -> None:
        self._hub = hub
        self._when = when
        self.due: bool = False
        # By id, since no `__eq__` of the user's is to be called.
        self.entries: dict[int, Switchable] = {}
        self.key: int | None = None
        self.handle: asyncio.TimerHandle | None
        loop, due, context = hub.loop, self.make_due, hub.context
        if seconds is None:
            self.handle = loop.call_at(when, due, context=context)
        else:
            self.handle = loop.call_later(seconds, due, context=context)

    def __repr__(self) -> str:
        return f"<Moment {self._when!r}, {len(self.entries)} entries>"

    def leave(self, entry: Switchable) -> None:
        """Do not put that on the run queue, if it is still to come."""
        self.entries.pop(id(entry), None)
        if not self.entries:
            self._cancel()

    def _cancel(self) -> None:
        handle = self.handle
        if handle is None:
            return
        self._forget()
        self.handle = None
        handle.cancel()
        if self.entries and not self.due:
            # Somebody has joined after all, while a signal handler kept us here.
            self.schedule_again(self._hub, self._when - self._hub.loop.time())

    def make_due(self) -> None:
        """Put all on the run queue."""
        self.due = True
        # uvloop's handle keeps what it calls.
        self.handle = None
        hub = self._hub
        self._forget()
        if self.entries:
            hub.wake_all([*self.entries.values()])
            # Not before: see `is_overdue`.
            self.entries.clear()

    def _forget(self) -> None:
        """Have nobody join any more."""
        key, self.key = self.key, None
        if key is not None:
            self._hub.moments.pop(key, None)

    def is_overdue(self, hub: Scheduler, now: float) -> bool:
        """Whether an interrupt has kept the hub's loop from what is due by now."""
        return (
            bool(self.entries)
            and self._hub.loop is hub.loop
            and (self.due or self.when() <= now)
        )

    def is_on(self, hub: Scheduler) -> bool:
        """Whether somebody waits for it on that hub."""
        return self._hub is hub and bool(self.entries)

    def when(self) -> float:
        """Its time by the clock of the loop."""
        return self._when

    def schedule_again(self, hub: Scheduler, seconds: float) -> None:
        """Wait for it on the loop that the hub has now."""
        if self.handle is not None:
            self.handle.cancel()
        # Nobody else's: that loop has another clock.
        self._forget()
        self._when = hub.loop.time() + seconds
        self.handle = hub.loop.call_later(
            max(0.0, seconds), self.make_due, context=hub.context
        )


def join_moment(hub: Scheduler, seconds: float, entry: Switchable) -> Moment:
    """Have an entry put on the run queue after some seconds.

    Args:
        hub: The hub.
        seconds: How many.
        entry: What is put there.

    Returns:
        What the entry can `leave`.
    """
    while True:
        moments = hub.moments
        ticks = moments.ticks
        if not ticks:
            moment = Moment(hub, hub.loop.time() + seconds)
        else:
            now = moments.now() * ticks
            try:
                # Nobody wakes early.
                when = int(now + seconds * ticks) + 1
            except OverflowError:
                when = _AGES
            known = moments.get(when)
            moment = known and known()
            if moment is None:
                # uvloop looks at the time when it is given a timer.
                from_now = (when - int(now)) / ticks if ticks == _OF_UVLOOP else None
                moment = Moment(hub, when / ticks, from_now)
                moment.key = when
                moments[when] = ref(moment)
        moment.entries[id(entry)] = entry
        # It is due, and has a handle, if that was over before the handle was known.
        if moment.handle is not None and not moment.due:
            return moment
        # A signal handler has kept us here until that was over.
        moment.leave(entry)
