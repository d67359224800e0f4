"""Waiting for descriptors.

A `Listener` stands for one (descriptor, direction) of one hub. The first time somebody
has to wait, it registers with the loop, and it *stays* registered: a request/response
connection costs no `epoll_ctl` after its first wait. When the descriptor becomes ready
and nobody waits, the callback takes the registration back; readiness is level
triggered, so nothing is lost and the next wait registers again.

What can go wrong with a registration that outlives its wait, and the answers:

* The descriptor is closed. `notify_close` (every green close calls it) unregisters
  first, then wakes whoever waits with the error the system call would give (EBADF).
* The number is reused. Unregistering on close makes that harmless; `notify_opened`
  does it for numbers closed behind our back.
* asyncio takes the descriptor over (`loop.sock_recv`, a transport). Its `add_reader`
  replaces ours. So idle registrations are dropped as soon as anybody asks a green
  socket for its `fileno()`.
* A descriptor that the user owns (a pipe, 0, 1, 2) must not change its flags because
  it was waited on, and is not closed through us: `wait_once` restores the flags and
  unregisters after each wait.
"""

from __future__ import annotations

import asyncio
import errno
import os
import traceback
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from ._errors import IOClosed, SimultaneousUseError
from ._originals import os_get_blocking, os_set_blocking

if TYPE_CHECKING:
    from ._hub import DeferredCall, Hub

READ = "read"
WRITE = "write"

# Set by `greenio.debug.hub_prevent_multiple_readers`.
prevent_multiple_waiters = True


def set_prevent_multiple_waiters(state: bool) -> None:
    """Choose whether a second waiter on one (descriptor, direction) is an error."""
    global prevent_multiple_waiters  # noqa: PLW0603 - a process-wide debug switch
    prevent_multiple_waiters = state


class Listener:
    """Who waits for one direction of one descriptor, on one hub."""

    __slots__ = (
        "_add",
        "_deadline",
        "_remove",
        "_timer",
        "_timer_when",
        "closed",
        "event",
        "fd",
        "hub",
        "others",
        "registered",
        "timed_out",
        "waiter",
    )

    def __init__(self, hub: Hub, fd: int, event: str) -> None:
        loop = hub.loop
        self.hub = hub
        self.fd = fd
        self.event = event
        self.registered = False
        self.closed = False
        self.waiter: greenlet | None = None
        # More waiters, where `prevent_multiple_waiters` is off; a rare case.
        self.others: deque[greenlet] | None = None
        self.timed_out: greenlet | None = None
        self._timer: asyncio.TimerHandle | DeferredCall | None = None
        self._timer_when = 0.0
        self._deadline = 0.0
        self._add: Callable[..., Any]
        self._remove: Callable[[int], bool]
        if event == READ:
            self._add, self._remove = loop.add_reader, loop.remove_reader
        else:
            self._add, self._remove = loop.add_writer, loop.remove_writer

    def __repr__(self) -> str:
        return f"<Listener {self.event} fd={self.fd} waiter={self.waiter!r}>"

    def wait(self, timeout: float | None = None) -> bool:
        """Park the current green thread until the descriptor is ready.

        Args:
            timeout: Seconds, or None to wait for as long as it takes.

        Returns:
            False if the time was up first.

        Raises:
            IOClosed: The descriptor was closed meanwhile.
            SimultaneousUseError: Somebody else waits for the same.
        """
        hub = self.hub
        current = getcurrent()
        if self.waiter is not None:
            return self._wait_behind(current, timeout)
        self.waiter = current
        try:
            if not self.registered:
                self._register()
            if timeout is not None:
                self._arm(timeout)
            park = hub.park
            while self.waiter is current:
                park()
        except BaseException:
            if self.waiter is current:
                self.waiter = None
            if self.timed_out is current:
                self.timed_out = None
            raise
        if self.closed:
            raise IOClosed
        if self.timed_out is current:
            self.timed_out = None
            return False
        return True

    def _wait_behind(self, current: greenlet, timeout: float | None) -> bool:
        """Wait although somebody does already: first come, first served."""
        if prevent_multiple_waiters:
            raise SimultaneousUseError(_simultaneous(self, current))
        if self.others is None:
            self.others = deque()
        others = self.others
        others.append(current)
        hub = self.hub
        expired = False

        def expire() -> None:
            nonlocal expired
            if current in others:
                others.remove(current)
            elif self.waiter is current:
                self.waiter = others.popleft() if others else None
            else:
                return
            expired = True
            current.switch()

        timer = None if timeout is None else hub.call_later(timeout, expire)
        try:
            while current in others:
                hub.park()
            # Moved up to be `waiter` and resumed, or closed, or expired.
            while self.waiter is current:
                hub.park()
        except BaseException:
            if current in others:
                others.remove(current)
            if self.waiter is current:
                self.waiter = others.popleft() if others else None
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if self.closed:
            raise IOClosed
        return not expired

    # -- called by the loop, in the loop greenlet -------------------------------

    def _on_ready(self) -> None:
        waiter = self.waiter
        if waiter is None:
            self.unregister()
            return
        others = self.others
        self.waiter = others.popleft() if others else None
        if self.hub.defers:
            self.hub.wake(waiter)
        else:
            waiter.switch()

    def _on_timer(self) -> None:
        self._timer = None
        self.hub.timers -= 1
        waiter = self.waiter
        if waiter is None:
            return
        remaining = self._deadline - self.hub.loop.time()
        if remaining > 0.0005:
            self._start_timer(remaining)
            return
        self.timed_out = waiter
        others = self.others
        self.waiter = others.popleft() if others else None
        waiter.switch()

    # -- registration and time --------------------------------------------------

    def _register(self) -> None:
        self.hub.descriptors.claim(self)
        self._add(self.fd, self._on_ready)
        self.registered = True

    def unregister(self) -> None:
        """Take the registration back from the loop, if there is one."""
        if self.registered:
            self.registered = False
            if not self.hub.loop.is_closed():
                self._remove(self.fd)

    def _arm(self, timeout: float) -> None:
        # A deadline moves with every wait, the timer is left where it is and looks at
        # the deadline when it fires: a connection with a 60-second timeout makes one
        # timer a minute, not one per wait.
        self._deadline = when = self.hub.loop.time() + timeout
        if self._timer is not None:
            if self._timer_when <= when:
                return
            self._cancel_timer()
        self._start_timer(timeout)

    def _start_timer(self, seconds: float) -> None:
        self._timer_when = self._deadline
        self._timer = self.hub.call_later(seconds, self._on_timer)
        self.hub.timers += 1

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.hub.timers -= 1

    def release(self) -> None:
        """Unregister and cancel the timer, with nobody waiting."""
        self.unregister()
        self._cancel_timer()

    def close(self) -> None:
        """The descriptor is about to be closed: let go of it, wake who waits."""
        self.closed = True
        self.release()
        waiters = [] if self.waiter is None else [self.waiter]
        self.waiter = None
        if self.others:
            waiters.extend(self.others)
            self.others.clear()
        for waiter in waiters:
            self.hub.wake(waiter)


class DescriptorTable:
    """The listeners of one hub, by descriptor."""

    __slots__ = ("_hub", "_readers", "_writers")

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._readers: dict[int, Listener] = {}
        self._writers: dict[int, Listener] = {}

    def listener(self, fd: int, event: str) -> Listener:
        """The listener for a descriptor and direction, made at need."""
        table = self._readers if event == READ else self._writers
        listener = table.get(fd)
        if listener is None or listener.closed:
            if fd < 0:
                raise ValueError(
                    f"cannot wait for descriptor {fd}: it is negative, as the fileno() "
                    "of a closed socket or file is; pass an open descriptor"
                )
            listener = table[fd] = Listener(self._hub, fd, event)
        return listener

    def claim(self, listener: Listener) -> None:
        """Make sure a listener that registers is the one in the table.

        Raises:
            SimultaneousUseError: Another one is, and somebody waits there.
        """
        table = self._readers if listener.event == READ else self._writers
        known = table.get(listener.fd)
        if known is listener:
            return
        if known is not None:
            if known.waiter is not None:
                raise SimultaneousUseError(_simultaneous(known, getcurrent()))
            known.release()
        table[listener.fd] = listener

    def wait_once(self, fd: int, event: str, timeout: float | None) -> bool:
        """Wait on a descriptor that the user owns, and leave it as it was.

        Returns:
            False if the time was up first. A regular file is always ready.
        """
        listener = self.listener(fd, event)
        busy = listener.waiter is not None
        if busy:
            return listener.wait(timeout)
        try:
            # uvloop makes what it watches non-blocking (the standard loop does not).
            blocking = os_get_blocking(fd)
        except OSError as exc:
            raise IOClosed(exc.errno, os.strerror(exc.errno or errno.EBADF)) from None
        try:
            return listener.wait(timeout)
        except PermissionError:
            # epoll refuses regular files, which never block.
            listener.registered = False
            return True
        finally:
            if listener.waiter is None and not listener.closed:
                listener.release()
                table = self._readers if event == READ else self._writers
                if table.get(fd) is listener:
                    del table[fd]
                if blocking:
                    os_set_blocking(fd, True)

    def knows(self, fd: int) -> bool:
        """Whether anything of ours stands for this descriptor."""
        return fd in self._readers or fd in self._writers

    def release_idle(self, fd: int) -> None:
        """Drop a descriptor's registrations that nobody waits on.

        Somebody else (asyncio, a selector) may be about to register it.
        """
        for table in (self._readers, self._writers):
            listener = table.get(fd)
            if listener is not None and listener.waiter is None:
                listener.release()

    def notify_close(self, fd: int) -> bool:
        """Let go of a descriptor that is about to be closed; wake who waits on it.

        Returns:
            Whether there was anything to let go of.
        """
        found = False
        for table in (self._readers, self._writers):
            listener = table.pop(fd, None)
            if listener is not None:
                found = True
                listener.close()
        return found

    def waiting(self, event: str) -> list[Listener]:
        """The listeners somebody waits on."""
        table = self._readers if event == READ else self._writers
        return [entry for entry in table.values() if entry.waiter is not None]

    def registered(self) -> list[Listener]:
        """The listeners that the loop knows."""
        return [
            entry
            for table in (self._readers, self._writers)
            for entry in table.values()
            if entry.registered
        ]


def _simultaneous(listener: Listener, second: greenlet) -> str:
    first = listener.waiter
    frame = None if first is None else first.gr_frame
    stack = "".join(traceback.format_stack(frame, 8)) if frame is not None else "?\n"
    here = "".join(traceback.format_stack(None, 8)[:-3])
    return (
        f"second simultaneous {listener.event} on descriptor {listener.fd}: {first!r} "
        f"waits for it already, and now {second!r} does too. Give each green thread a "
        "descriptor of its own, guard this one with a lock, or allow several waiters "
        "with greenio.debug.hub_prevent_multiple_readers(False).\n"
        f"The first waits at:\n{stack}The second comes from:\n{here}"
    )
