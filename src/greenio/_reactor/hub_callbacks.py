"""What eventlet's hubs offer beside waking green threads: callbacks, and their state.

Libraries with drivers for eventlet have a hub call them back when a descriptor is ready
(`add`) or after some time (`add_timer`), and look at what it waits for. The loop does
that work here; these are its results by eventlet's names.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from .._loop.two_waiters import simultaneous_use
from .._std.absences import Absent
from .._std.errors import SimultaneousUseError
from . import descriptors as _descriptors
from .descriptors import READ, WRITE, DescriptorTable, Listener
from .fd_listeners import (
    Callback,
    DebugListener,
    FdListener,
    Resumption,
    register,
)
from .timers import Timer

if TYPE_CHECKING:
    from .scheduler import Scheduler as _Scheduler
else:
    _Scheduler = object


class HubCallbacks(_Scheduler):
    """The part of a `Hub` that calls others back, and tells of its state."""

    READ = READ
    WRITE = WRITE
    # What goes through a hub and is not reported by it.
    SYSTEM_EXCEPTIONS = (KeyboardInterrupt, SystemExit)
    # eventlet removes cancelled timers in bulk, and counts them until then.
    timers_canceled = 0
    # What `use_hub` takes the class for: the best there is.
    hub_name = "epolls"

    # What the hub has besides.
    debug_exceptions: bool
    descriptors: DescriptorTable
    loop_greenlet: Any
    switch: Callable[[], Any]
    twin: Any

    # Whether `add` notes where it was called; see `set_debug_listeners`.
    lclass: type[FdListener] = FdListener
    # Whether `abort` has been called.
    stopping = False

    do_poll: Any = Absent("hubs.hub.BaseHub.do_poll")
    register: Any = Absent("hubs.hub.BaseHub.register")

    # -- what it is ----------------------------------------------------------------

    @property
    def clock(self) -> Callable[[], float]:
        """The clock of its timers: a function that returns seconds."""
        return self.loop.time

    @property
    def greenlet(self) -> Any:
        """The greenlet that the loop runs in, the parent of all green threads."""
        return self.loop_greenlet

    @property
    def running(self) -> bool:
        """Whether the loop runs."""
        return bool(self.loop.is_running())

    def ensure_greenlet(self) -> None:
        """Have a greenlet for the loop: there always is one."""

    # -- descriptors -----------------------------------------------------------------

    def add(
        self,
        evtype: str,
        fileno: int,
        cb: Callback,
        tb: Callback,
        mark_as_closed: Callback | None = None,
        mac: Callback | None = None,
    ) -> FdListener:
        """Have a function called whenever a descriptor is ready, until `remove`.

        It is called in the loop greenlet, so it must not wait; a green thread's `switch`
        will do.

        Args:
            evtype: ``hub.READ`` or ``hub.WRITE``.
            fileno: The descriptor.
            cb: Called with the descriptor.
            tb: Called with `IOClosed` if the descriptor is closed meanwhile.
            mark_as_closed: Called before `tb`; or None.
            mac: The same, by another name that eventlet has for it.

        Returns:
            What `remove` takes.

        Raises:
            SimultaneousUseError: Somebody waits for the same; see
                `greenio.debug.hub_prevent_multiple_readers`.
            OSError: It cannot be waited for.
        """
        entry = self.lclass(evtype, fileno, cb, tb, mark_as_closed or mac)
        table = self.descriptors
        known = table.waiting_for(fileno, evtype)
        if known is None:
            listener = Listener(table, fileno, evtype)
            try:
                register(listener)
            except BaseException:
                table.forget(listener)
                raise
        elif _descriptors.prevent_multiple_waiters:
            raise SimultaneousUseError(simultaneous_use(known, getcurrent()))
        else:
            listener = known
        resumption = Resumption(self, entry, listener)
        entry.resumption = resumption
        if known is None:
            listener.waiter = resumption  # type: ignore[assignment]
        else:
            listener.others = listener.others or deque()
            listener.others.append(resumption)  # type: ignore[arg-type]
        return entry

    def remove(self, listener: FdListener) -> None:
        """Take back what `add` has returned; nothing happens if it is gone."""
        resumption = listener.resumption
        if resumption is not None and not resumption.removed:
            resumption.remove()

    def remove_descriptor(self, fileno: int) -> None:
        """Let go of a descriptor; whoever waits on it gets `IOClosed`."""
        self.descriptors.notify_close(fileno)

    def notify_close(self, fileno: int) -> None:
        """Say that a descriptor is about to be closed; who waits on it gets IOClosed."""
        self.descriptors.notify_close(fileno)

    def mark_as_reopened(self, fileno: int) -> None:
        """Say that a descriptor number was closed unseen and now means another file."""
        self.descriptors.notify_close(fileno)

    def get_readers(self) -> list[Any]:
        """The listeners that somebody waits on for reading."""
        return [_shown(entry) for entry in self.descriptors.waiting(READ)]

    def get_writers(self) -> list[Any]:
        """The listeners that somebody waits on for writing."""
        return [_shown(entry) for entry in self.descriptors.waiting(WRITE)]

    @property
    def listeners(self) -> dict[str, dict[int, Any]]:
        """Who waits on which descriptor, by direction: a copy."""
        return {
            event: {
                entry.fd: _shown(entry) for entry in self.descriptors.waiting(event)
            }
            for event in (READ, WRITE)
        }

    @property
    def secondaries(self) -> dict[str, dict[int, list[Any]]]:
        """Who waits behind those in `listeners`, by direction and descriptor: a copy."""
        return {
            event: {
                entry.fd: [getattr(other, "entry", other) for other in entry.others]
                for entry in self.descriptors.waiting(event)
                if entry.others
            }
            for event in (READ, WRITE)
        }

    # -- timers -----------------------------------------------------------------------

    def add_timer(self, timer: Any) -> float:
        """Have a timer counted from now on, as `Timer.schedule` does.

        Args:
            timer: A `greenio.hubs.timer.Timer`, or anything that can be called and has
                ``seconds``.

        Returns:
            When it is due, by the hub's clock.
        """
        if isinstance(timer, Timer):
            timer.start_on(self)
        else:
            Timer.start(self, timer.seconds, timer)
        return float(self.loop.time() + max(timer.seconds, 0))

    def timer_canceled(self, timer: Any) -> None:
        """Call a timer off, as its `cancel` does."""
        timer.cancel()

    def get_timers_count(self) -> int:
        """How many timers of greenio's are pending on this hub."""
        return self.timers

    @property
    def next_timers(self) -> list[tuple[float, Timer]]:
        """The timers that programs have made, the next one first, by the hub's clock.

        It asks the garbage collector, so its cost grows with the heap, if there are any.
        """
        if not self.timers:
            return []
        now = self.loop.time()
        halves = (self, self.twin or self)
        found = [
            (now + thing.due_in(now), thing)
            for thing in gc.get_objects()
            if issubclass(type(thing), Timer)
            and any(thing.is_on(half) for half in halves)
        ]
        return sorted(found)

    def sleep_until(self) -> float | None:
        """When the next timer is due, by the hub's clock; None if there is none.

        Those of coroutines count too, where the loop tells (asyncio's does).
        """
        times = [when for when, _ in self.next_timers]
        times += [
            handle.when()
            for handle in getattr(self.loop, "_scheduled", ())
            if not handle.cancelled()
        ]
        return min(times, default=None)

    def prepare_timers(self) -> None:
        """Have new timers counted: each is from its beginning."""

    def fire_timers(self, when: float) -> None:
        """Make the calls now that are due by a time of the hub's clock."""
        for due, timer in self.next_timers:
            if due <= when:
                timer.fire()

    def default_sleep(self) -> float:
        """How long eventlet's hubs wait at most at a time: a minute."""
        return 60.0

    # -- running ------------------------------------------------------------------------

    def run(self, *a: Any, **kw: Any) -> None:
        """Let the loop run for as long as there is a program.

        Raises:
            RuntimeError: It runs already.
        """
        if self.running:
            raise RuntimeError("Already running!")
        self.switch()

    def wait(self, seconds: float | None = None) -> None:
        """Let the loop run for some seconds, or for one turn of it."""
        current = getcurrent()
        if current is self.loop_greenlet:
            return
        timer = Timer.start(self, seconds or 0, current.switch)
        while timer.pending:
            self.switch()

    def block_detect_pre(self) -> None:
        """Called before a turn by eventlet's hubs: `greenio.debug.monitor` watches."""

    def block_detect_post(self) -> None:
        """Called after a turn by eventlet's hubs: `greenio.debug.monitor` watches."""

    def close_one(self) -> None:
        """Tell who waited on a closed descriptor: that is done at once."""

    # -- mistakes ---------------------------------------------------------------------

    def set_debug_listeners(self, value: Any) -> None:
        """Choose whether `add` notes where it was called, for `listeners`."""
        self.lclass = DebugListener if value else FdListener

    def set_timer_exceptions(self, value: Any) -> None:
        """Choose whether failures that nobody waits for are reported."""
        self.debug_exceptions = bool(value)

    def squelch_exception(self, fileno: int, exc_info: Any) -> None:
        """Report what the callback of a descriptor has raised, and let go of that."""
        self._squelch(f"the callback for descriptor {fileno} failed", exc_info)
        self.remove_descriptor(fileno)

    def squelch_generic_exception(self, exc_info: Any) -> None:
        """Report an exception that nobody waits for."""
        self._squelch("a callback failed", exc_info)

    def squelch_timer_exception(self, timer: Any, exc_info: Any) -> None:
        """Report what a timer's call has raised."""
        self._squelch(f"the callback of {timer!r} failed", exc_info)

    def _squelch(self, message: str, exc_info: Any) -> None:
        if self.debug_exceptions:
            self.report(message, exc_info[1])


def _shown(listener: Listener) -> Any:
    """What a program sees of a listener: what it has added, if that is it."""
    return getattr(listener.waiter, "entry", listener)
