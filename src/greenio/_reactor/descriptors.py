"""Waiting for descriptors.

A `Listener` stands for one (descriptor, direction) of one hub. The first time somebody
has to wait, it registers with the loop, and it *stays* registered: a request/response
connection costs no `epoll_ctl` after its first wait. When the descriptor becomes ready
and nobody waits, the callback takes the registration back; readiness is level
triggered, so nothing is lost and the next wait registers again.

What can go wrong with a registration that outlives its wait, and the answers:

* The descriptor is closed. Every green close lets go of its listeners first and wakes
  whoever waits with the error that the system call would give (EBADF).
* The number is reused. Unregistering on close makes that harmless; `notify_opened` does
  it for numbers closed behind our back, and so does making a new green socket. A
  listener is let go of as an object, never by its number, which may mean another file
  by then.
* The loop drops the registration by itself: asyncio takes the descriptor over
  (`loop.sock_recv`, a transport), or uvloop gives up on a descriptor that had an error.
  The loop alone keeps the callback alive, so a weak reference to it tells us. Nothing
  here ever believes in a registration that the loop no longer has.
* A descriptor that the user owns (a pipe, 0, 1, 2) must not change its flags because
  it was waited on, and is not closed through us: `wait_once` restores the flags as soon
  as it has registered, and unregisters after the wait.
* After a fork the child shares the kernel's side of the parent's poller, so it forgets
  every registration without touching that.

Who is resumed when: on the standard loop the callback switches straight into the
waiter. uvloop calls back while the events it has polled, 12 KB of them, lie on its C
stack, where no greenlet may be switched to (see `_kernel.run_queue`); there the waiter goes
onto the run queue, which uvloop drains before it polls again.
"""

from __future__ import annotations

import asyncio
import errno
import math
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import ref

from greenlet import getcurrent, greenlet

from .._loop.blocking import READ as READ
from .._loop.blocking import WRITE as WRITE
from .._loop.blocking import block_natively as block_natively
from .._loop.interrupted_waits import look_again
from .._loop.loops import is_uvloop
from .._loop.mutex import in_section
from .._loop.two_waiters import simultaneous_use, stack_of
from .._std.errors import HubClosedError, IOClosed, SimultaneousUseError
from .._std.originals import monotonic, os_get_blocking, os_set_blocking
from .listener_names import ListenerNames
from .scheduler import PendingCall, Scheduler

# Set by `greenio.debug.hub_prevent_multiple_readers`.
prevent_multiple_waiters = True


def set_prevent_multiple_waiters(state: bool) -> None:
    """Choose whether a second waiter on one (descriptor, direction) is an error."""
    global prevent_multiple_waiters  # noqa: PLW0603 - a process-wide debug switch
    prevent_multiple_waiters = state


class Listener(ListenerNames):
    """Who waits for one direction of one descriptor, on one hub."""

    __slots__ = (
        "_deadline",
        "_registration",
        "_timer",
        "_timer_when",
        "claimed",
        "clock",
        "closed",
        "event",
        "fd",
        "hub",
        "others",
        "registered",
        "table",
        "timed_out",
        "waiter",
    )

    def __init__(self, table: DescriptorTable, fd: int, event: str) -> None:
        self.table: DescriptorTable = table
        self.hub: Scheduler = table.hub
        self.clock: Callable[[], float] = table.clock
        self.fd: int = fd
        self.event: str = event
        self.registered: bool = False
        self.closed: bool = False
        self.waiter: greenlet | None = None
        # More waiters, where `prevent_multiple_waiters` is off; a rare case.
        self.others: deque[greenlet] | None = None
        self.timed_out: greenlet | None = None
        self.claimed: bool = False  # somebody asked for the number meanwhile
        self._registration: ref[Any] | None = None
        self._timer: PendingCall | None = None
        self._timer_when = 0.0
        self._deadline: float | None = None  # of the present waiter; None for never

    def __repr__(self) -> str:
        return f"<Listener {self.event} fd={self.fd} waiter={self.waiter!r}>"

    def wait(self, timeout: float | None, park: Callable[[], Any]) -> bool:
        """Park the current green thread until the descriptor is ready.

        Args:
            timeout: Seconds, or None to wait for as long as it takes.
            park: How the caller parks.

        Returns:
            False if the time was up first.

        Raises:
            IOClosed: The descriptor was closed meanwhile.
            SimultaneousUseError: Somebody else waits for the same.
        """
        current = getcurrent()
        if self.waiter is not None:
            return self._wait_behind(current, timeout, park)
        if not self.registered:
            rival = self.table.rival_of(self)
            if rival is not None:
                return rival._wait_behind(current, timeout, park)
            self.register()
        self.claimed = False
        self.waiter = current
        try:
            if timeout is None or timeout == math.inf:
                self._deadline = None
            else:
                self._arm(timeout)
            if self.waiter is current:
                resumed = park()
                if self.waiter is current:
                    self._look_again(current, park, resumed)
        except BaseException:
            self.give_up(current)
            raise
        if self.closed:
            raise IOClosed
        if self.timed_out is current:
            self.timed_out = None
            return False
        return True

    def wait_if_known(self, timeout: float | None) -> bool:
        """Wait if the loop watches the descriptor for the caller's hub already.

        Every request of a connection comes through here, so `wait`, `_arm` and the first
        `Hub.park` are written out: that saves 0.4 us of the 4 per message.

        Args:
            timeout: Seconds, fewer than infinitely many, or None for no limit.

        Returns:
            False if the time was up first. True promises nothing: make the call.

        Raises:
            IOClosed: The descriptor was closed meanwhile.
            SimultaneousUseError: Somebody else waits for the same.
        """
        current = getcurrent()
        hub = self.hub
        if not self.registered or getattr(current, "_hub", None) is not hub:
            return True
        if self.waiter is not None:
            return self._wait_behind(current, timeout, hub.park)
        self.claimed = False
        self.waiter = current
        try:
            if timeout is None:
                self._deadline = None
            else:
                self._deadline = when = self.clock() + timeout
                if self._timer is None or self._timer_when > when:
                    self._arm(timeout)
            if hub.batch or in_section():
                resumed = hub.park()
            else:
                loop_switch = hub.loop_switch
                resumed = loop_switch()
            if self.waiter is current:
                self._look_again(current, hub.park, resumed)
        except BaseException:
            self.give_up(current)
            raise
        if self.closed:
            raise IOClosed
        if self.timed_out is current:
            self.timed_out = None
            return False
        return True

    def _look_again(self, current: Any, park: Callable[[], Any], resumed: Any) -> None:
        look_again(self.hub, park, lambda: self.waiter is not current, resumed)

    def give_up(self, current: greenlet) -> None:
        """The caller does not wait any more: killed, timed out, or interrupted."""
        if self.waiter is current:
            self._next_waiter()
        if self.timed_out is current:
            self.timed_out = None

    def _next_waiter(self) -> None:
        """The present waiter is no more: the next one is, without a deadline here."""
        others = self.others
        self.waiter = others.popleft() if others else None
        self._deadline = None

    def _wait_behind(
        self, current: greenlet, timeout: float | None, park: Callable[[], Any]
    ) -> bool:
        """Wait although somebody does already: first come, first served."""
        if prevent_multiple_waiters:
            raise SimultaneousUseError(simultaneous_use(self, current))
        if self.others is None:
            self.others = deque()
        others = self.others
        others.append(current)
        expired = False

        def expire() -> None:
            nonlocal expired
            if self._leave(current, others):
                expired = True
                current.switch()

        def is_over() -> bool:
            return not (current in others or self.waiter is current)

        timer = None
        if timeout is not None and timeout != math.inf:
            timer = self.hub.call_later(timeout, expire)
        try:
            # Until moved up to be `waiter` and resumed, or closed, or expired.
            if not is_over():
                resumed = park()
                if not is_over():
                    look_again(self.hub, park, is_over, resumed)
        except BaseException:
            self._leave(current, others)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if self.closed:
            raise IOClosed
        return not expired

    def _leave(self, current: greenlet, others: deque[greenlet]) -> bool:
        """Wait no longer behind others, or as the one who was moved up.

        Returns:
            Whether it still waited.
        """
        if current in others:
            others.remove(current)
        elif self.waiter is current:
            self._next_waiter()
        else:
            return False
        return True

    # -- called by the loop, in the loop greenlet -------------------------------

    def _on_ready(self) -> None:
        """Resume the waiter: at once, or by way of the run queue."""
        waiter = self.waiter
        if waiter is None:
            self.unregister()
            return
        if self.others:
            self._next_waiter()
        else:
            self.waiter = None
        if self.table.queued:
            getattr(waiter, "parking_hub", self.hub).wake(waiter)
        else:
            waiter.switch()

    def _on_timer(self) -> None:
        if self._timer is None:
            # Called again, after an interrupt.
            return
        self._timer = None
        self.hub.timers -= 1
        waiter = self.waiter
        deadline = self._deadline
        if waiter is None or deadline is None:
            return
        remaining = deadline - self.clock()
        if remaining > 0.0005:
            self._start_timer(deadline, remaining)
            return
        # The loop may have come to its timers late, and before it polled again.
        if not self._is_ready():
            self.timed_out = waiter
        self._next_waiter()
        waiter.switch()

    def _is_ready(self) -> bool:
        try:
            return block_natively(self.fd, self.event, 0)
        except OSError:
            # Whoever looks at it will get the error.
            return True

    # -- registration -----------------------------------------------------------

    def register(self) -> None:
        """Have the loop tell us when the descriptor is ready.

        Raises:
            OSError: It cannot be waited for: it is closed (EBADF) or, like a regular
                file, always ready (PermissionError).
            SimultaneousUseError: A transport of asyncio's owns it.
            HubClosedError: The loop is closed.
        """
        table = self.table
        table.claim(self)
        callback = self._on_ready
        add = table.loop.add_reader if self.event == READ else table.loop.add_writer
        try:
            add(self.fd, callback)
        except RuntimeError:
            if table.loop.is_closed():
                raise HubClosedError(repr(self.hub)) from None
            try:
                # uvloop keeps what it has given up, and refuses to use it again.
                self._remove()
                add(self.fd, callback)
            except RuntimeError as exc:
                raise SimultaneousUseError(
                    f"cannot wait to {self.event} on descriptor {self.fd}: it belongs "
                    f"to asyncio now ({exc}). Use the transport, or give asyncio a "
                    "duplicate: sock.dup()"
                ) from None
        self._registration = ref(callback, self._dropped)
        self.registered = True

    def unregister(self) -> None:
        """Take the registration back from the loop, if there is one."""
        if self.registered:
            self.registered = False
            self._registration = None
            if not self.table.loop.is_closed():
                try:
                    self._remove()
                except RuntimeError:
                    # A transport has just taken the descriptor over.
                    pass

    def _remove(self) -> None:
        if self.event == READ:
            self.table.loop.remove_reader(self.fd)
        else:
            self.table.loop.remove_writer(self.fd)

    def _dropped(self, _: object) -> None:
        """The loop does not know our callback any more, and we did not ask for that."""
        self.registered = False
        self._registration = None
        if self.waiter is not None and not self.table.loop.is_closed():
            # Not now: the loop is in the middle of it.
            self.table.loop.call_soon(self._register_again, context=self.hub.context)

    def _register_again(self) -> None:
        waiter = self.waiter
        if waiter is None or self.registered:
            return
        try:
            if self.claimed or not self.table.queued:
                raise SimultaneousUseError(
                    f"asyncio took over descriptor {self.fd} while {waiter!r} waited "
                    f"to {self.event}. Let only one of them use it at a time, or give "
                    f"asyncio a duplicate: sock.dup(). It waited at:\n{stack_of(waiter)}"
                )
            # uvloop gives up a descriptor that had an error, once it has told us.
            self.register()
        except Exception as exc:
            self._next_waiter()
            waiter.throw(exc)

    # -- time ---------------------------------------------------------------------

    def _arm(self, timeout: float) -> None:
        # A deadline moves with every wait, the timer is left where it is and looks at
        # the deadline when it fires: a connection with a 60-second timeout makes one
        # timer a minute, not one per wait.
        self._deadline = when = self.clock() + timeout
        if self._timer is not None:
            if self._timer_when <= when:
                return
            self._cancel_timer()
        self._start_timer(when, timeout)

    def _start_timer(self, when: float, seconds: float) -> None:
        self._timer_when = when
        self._timer = self.hub.call_later(seconds, self._on_timer)
        self.hub.timers += 1

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.hub.timers -= 1

    # -- the end --------------------------------------------------------------------

    def release(self) -> None:
        """Unregister and cancel the timer, with nobody waiting."""
        self.unregister()
        self._cancel_timer()

    def release_if_idle(self) -> None:
        """Unregister, unless somebody waits by now."""
        if self.waiter is None:
            self.release()

    def close(self) -> None:
        """The descriptor is about to be closed: let go of it, wake who waits."""
        if self.closed:
            return
        self.closed = True
        self.table.forget(self)
        self.release()
        waiters = [] if self.waiter is None else [self.waiter]
        self.waiter = None
        if self.others:
            waiters.extend(self.others)
            self.others.clear()
        if self.table.loop.is_closed():
            return
        for waiter in waiters:
            getattr(waiter, "parking_hub", self.hub).wake(waiter)

    def abandon(self) -> None:
        """Forget everything without telling the loop: it is the parent process's."""
        self.closed = True
        self.registered = False
        self._registration = self._timer = self.waiter = self.others = None


class DescriptorTable:
    """The listeners of one hub, by descriptor."""

    __slots__ = ("_readers", "_writers", "clock", "hub", "loop", "queued")

    def __init__(self, hub: Scheduler) -> None:
        self.hub: Scheduler = hub
        self._readers: dict[int, Listener] = {}
        self._writers: dict[int, Listener] = {}
        self._serve(hub.loop)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        uvloop = is_uvloop(loop)
        # See the module's docstring.
        self.queued: bool = uvloop
        # uvloop's own clock stands still while a callback runs; a loop that has no clock
        # of its own (a virtual one, in tests) has this one too.
        plain = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
        self.clock: Callable[[], float] = monotonic if uvloop or plain else loop.time

    def _of(self, event: str) -> dict[int, Listener]:
        return self._readers if event == READ else self._writers

    def rival_of(self, listener: Listener) -> Listener | None:
        """Return another listener for the same, if somebody waits there."""
        known = self._of(listener.event).get(listener.fd)
        if known is None or known is listener or known.waiter is None:
            return None
        return known

    def claim(self, listener: Listener) -> None:
        """Make a listener that nobody rivals the one in the table."""
        listeners = self._of(listener.event)
        known = listeners.get(listener.fd)
        if known is not listener:
            if known is not None:
                known.release()
            listeners[listener.fd] = listener

    def forget(self, listener: Listener) -> None:
        """Take a listener out of the table, if it is there."""
        listeners = self._of(listener.event)
        if listeners.get(listener.fd) is listener:
            del listeners[listener.fd]

    def wait_once(
        self, fd: int, event: str, timeout: float | None, park: Callable[[], Any]
    ) -> bool:
        """Wait on a descriptor that the user owns, and leave it as it was.

        Args:
            fd: The descriptor.
            event: `READ` or `WRITE`.
            timeout: Seconds, or None to wait for as long as it takes.
            park: How the caller parks.

        Returns:
            False if the time was up first. A regular file is always ready.

        Raises:
            IOClosed: The descriptor is closed, or was meanwhile.
            SimultaneousUseError: Somebody else waits for the same.
        """
        listener = self.waiting_for(fd, event)
        if listener is None:
            # Never one that was left registered: the number may be another file's now.
            listener = Listener(self, fd, event)
            try:
                blocking = os_get_blocking(fd)
                listener.register()
                if blocking:
                    # uvloop makes what it watches non-blocking.
                    os_set_blocking(fd, True)
            except PermissionError:
                # epoll refuses regular files, which never block.
                self.forget(listener)
                return True
            except OSError as exc:
                self.forget(listener)
                if exc.errno == errno.EBADF:
                    raise IOClosed from None
                raise
        try:
            return listener.wait(timeout, park)
        finally:
            if listener.waiter is None and not listener.closed:
                listener.release()
                self.forget(listener)

    def waiting_for(self, fd: int, event: str) -> Listener | None:
        """The listener for one direction of a descriptor, if somebody waits there."""
        listener = self._of(event).get(fd)
        return None if listener is None or listener.waiter is None else listener

    def knows(self, fd: int) -> bool:
        """Whether anything of ours stands for this descriptor."""
        return fd in self._readers or fd in self._writers

    def known(self, fd: int) -> list[Listener]:
        """The listeners for a descriptor."""
        listeners = (self._readers.get(fd), self._writers.get(fd))
        return [listener for listener in listeners if listener is not None]

    def notify_close(self, fd: int) -> bool:
        """Let go of a descriptor that is about to be closed; wake who waits on it.

        Returns:
            Whether there was anything to let go of.
        """
        listeners = self.known(fd)
        for listener in listeners:
            listener.close()
        return bool(listeners)

    def abandon(self) -> None:
        """Forget everything: this is a child process, the loop is its parent's."""
        for listeners in (self._readers, self._writers):
            for listener in listeners.values():
                listener.abandon()
            listeners.clear()

    def move_to_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have another loop watch for those who wait; see `outliving`."""
        known = [*self._readers.values(), *self._writers.values()]
        for listener in known:
            listener.unregister()
            if listener.waiter is None:
                listener.release()
        self._serve(loop)
        for listener in known:
            listener.clock = self.clock
            if listener.waiter is not None:
                try:
                    listener.register()
                except (OSError, SimultaneousUseError):
                    # Who waits will see when he tries again.
                    listener.close()

    def waiting(self, event: str) -> list[Listener]:
        """The listeners somebody waits on."""
        return [entry for entry in self._of(event).values() if entry.waiter is not None]

    def registered(self) -> list[Listener]:
        """The listeners that the loop knows."""
        return [
            entry
            for listeners in (self._readers, self._writers)
            for entry in listeners.values()
            if entry.registered
        ]
