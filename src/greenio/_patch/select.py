"""`select`, `poll` and `epoll` that park the green thread.

Nobody waits on the user's descriptors one by one: they go into a poller of the kernel's
(epoll, kqueue), and the loop waits for that one descriptor. So a descriptor may be
selected on while another green thread, a transport of asyncio's or a second `select`
waits for it too.

A call that might wait lets the others run also when it need not. The preemption of real
threads does so, and there are loops that count on it: they go round, with one of their
descriptors ready, until another thread has read from that one. They do so before they
look, since some events are told of only once.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

from greenlet import getcurrent

from .._greenthread.descriptor_waits import notify_close, wait_descriptor
from .._greenthread.sleeping import sleep
from .._kernel.current import existing_hub
from .._kernel.hidden_loop import running_loop
from .._reactor.descriptors import READ
from .._std.originals import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    monotonic,
    select_select,
)
from .._std.originals import epoll as _epoll
from .._std.originals import kevent as _kevent
from .._std.originals import kqueue as _kqueue
from .._std.originals import poll as _poll

# From <sys/event.h>; the `select` module has these names where it has kqueue.
_KQ_FILTER_READ, _KQ_FILTER_WRITE, _KQ_EV_ADD = -1, -2, 1

# poll() takes milliseconds as a C int.
_INT_MAX = 2**31 - 1

Lists = tuple[list[Any], list[Any], list[Any]]
Sequences = tuple[Sequence[Any], Sequence[Any], Sequence[Any]]


class Nest:
    """A poller of the kernel's that is ready when one of many descriptors is."""

    def __init__(self, interest: dict[int, int]) -> None:
        if _epoll is not None:
            self._poller = _epoll()
            for fd, events in interest.items():
                try:
                    self._poller.register(fd, events)
                except PermissionError:
                    # A regular file. It is always ready, so nobody waits for it.
                    continue
        else:  # pragma: no cover - macOS and the BSDs
            assert _kqueue is not None
            assert _kevent is not None
            self._poller = _kqueue()
            filters = (
                (POLLIN | POLLPRI, _KQ_FILTER_READ),
                (POLLOUT, _KQ_FILTER_WRITE),
            )
            changes = [
                _kevent(fd, kind, _KQ_EV_ADD)
                for fd, events in interest.items()
                for bits, kind in filters
                if events & bits
            ]
            if changes:
                self._poller.control(changes, 0)

    def __enter__(self) -> Nest:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._poller.close()

    def wait(self, deadline: Deadline, what: str) -> bool:
        """Park until one of the descriptors may be ready; False if time is up."""
        fd = self._poller.fileno()
        return wait_descriptor(fd, READ, deadline.remaining(), what)


def _is_loops_own() -> bool:
    """Whether the caller is an event loop that was made with a green selector.

    ``asyncio.SelectorEventLoop(selectors.SelectSelector())`` in a patched program: that
    loop waits in its own selector, for real.
    """
    loop = running_loop()
    selector = getattr(loop, "_selector", None)
    return (
        selector is not None
        and type(selector).__module__ == "greenio.green.selectors"
        and not hasattr(getcurrent(), "_hub")
    )


def _let_others_run() -> None:
    if existing_hub() is not None:
        sleep(0)


class Deadline:
    """A time limit that several waits share."""

    def __init__(self, timeout: float | None) -> None:
        self._at = None if timeout is None else monotonic() + timeout

    def remaining(self) -> float | None:
        return None if self._at is None else max(0.0, self._at - monotonic())


def _fileno(obj: Any) -> int:
    return obj if isinstance(obj, int) else int(obj.fileno())


def select(
    read_list: Iterable[Any],
    write_list: Iterable[Any],
    error_list: Iterable[Any],
    timeout: float | None = None,
) -> Lists:
    """Wait until one of many descriptors is ready, as `select.select`.

    Numbers beyond what the system's `select` takes are welcome.
    """
    if timeout is not None:
        if not isinstance(timeout, (int, float)) and not hasattr(timeout, "__float__"):
            raise TypeError("timeout must be a float or None")
        timeout = float(timeout)
        if timeout < 0:
            raise ValueError("timeout must be non-negative")
    lists = (_sequence(read_list), _sequence(write_list), _sequence(error_list))
    if timeout != 0:
        if _is_loops_own():
            return select_select(*lists, timeout)
        _let_others_run()
    ready = _select_now(lists)
    if timeout == 0 or any(ready):
        return ready
    interest: dict[int, int] = {}
    for objects, events in zip(lists, (POLLIN, POLLOUT, POLLPRI), strict=True):
        for obj in objects:
            fd = _fileno(obj)
            interest[fd] = interest.get(fd, 0) | events
    deadline = Deadline(timeout)
    with Nest(interest) as nest:
        while nest.wait(deadline, "select.select()"):
            ready = _select_now(lists)
            if any(ready):
                return ready
    return [], [], []


def _sequence(objects: Iterable[Any]) -> Sequence[Any]:
    # Looked at more than once, and an iterator would be used up.
    return objects if isinstance(objects, (list, tuple)) else list(objects)


def _select_now(lists: Sequences) -> Lists:
    try:
        return select_select(*lists, 0)
    except ValueError:
        # A number that is too large, or a negative one.
        if _poll is None or any(_fileno(obj) < 0 for objs in lists for obj in objs):
            raise
    return _poll_now(lists)


def _poll_now(lists: Sequences) -> Lists:
    """What `select` answers at once, for numbers that it cannot take."""
    assert _poll is not None
    # What counts as ready is what the kernel's own select() goes by.
    wanted = (
        (POLLIN, POLLIN | POLLHUP | POLLERR),
        (POLLOUT, POLLOUT | POLLERR),
        (POLLPRI, POLLPRI),
    )
    results: Lists = ([], [], [])
    for objects, result, (ask, answer) in zip(lists, results, wanted, strict=True):
        poller = _poll()
        for obj in objects:
            poller.register(_fileno(obj), ask)
        ready = dict(poller.poll(0))
        if any(events & POLLNVAL for events in ready.values()):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        result.extend(o for o in objects if ready.get(_fileno(o), 0) & answer)
    return results


class poll:  # noqa: N801 - the name that the standard module gives it
    """`select.poll` whose `poll` parks the green thread."""

    def __init__(self) -> None:
        assert _poll is not None
        self._poll: Any = _poll()
        self._interest: dict[int, int] = {}
        self._polling = False

    def register(self, fd: Any, eventmask: int = POLLIN | POLLPRI | POLLOUT, /) -> None:
        """Watch a descriptor."""
        self._poll.register(fd, eventmask)
        self._interest[_fileno(fd)] = eventmask

    def modify(self, fd: Any, eventmask: int, /) -> None:
        """Watch a descriptor for something else."""
        self._poll.modify(fd, eventmask)
        self._interest[_fileno(fd)] = eventmask

    def unregister(self, fd: Any, /) -> None:
        """Stop watching a descriptor."""
        self._poll.unregister(fd)
        self._interest.pop(_fileno(fd), None)

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait for events.

        Args:
            timeout: Milliseconds; None or a negative number is for as long as it takes.
        """
        if timeout is not None:
            if timeout > _INT_MAX:
                raise OverflowError("timeout is too large")
            if timeout < 0:
                timeout = None
        if self._polling:
            raise RuntimeError("concurrent poll() invocation")
        if timeout != 0:
            if _is_loops_own():
                return list(self._poll.poll(timeout))
            _let_others_run()
        ready: list[tuple[int, int]] = self._poll.poll(0)
        if ready or timeout == 0:
            return ready
        deadline = Deadline(None if timeout is None else math.ceil(timeout) / 1000)
        self._polling = True
        try:
            with Nest(self._interest) as nest:
                while nest.wait(deadline, "poll.poll()"):
                    ready = self._poll.poll(0)
                    if ready:
                        return ready
        finally:
            self._polling = False
        return []


class epoll:  # noqa: N801 - the name that the standard module gives it
    """`select.epoll` whose `poll` parks the green thread."""

    def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
        assert _epoll is not None
        self._epoll = _epoll(sizehint, flags)

    @classmethod
    def fromfd(cls, fd: int, /) -> epoll:
        """Make one from the descriptor of an existing one."""
        assert _epoll is not None
        self = cls.__new__(cls)
        self._epoll = _epoll.fromfd(fd)
        return self

    def __enter__(self) -> epoll:
        self._epoll.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return bool(self._epoll.closed)

    def close(self) -> None:
        """Close it.

        Who polls goes on, until there is an event or his time is up; who waits for its
        descriptor gets an error.
        """
        if not self._epoll.closed:
            notify_close(self._epoll.fileno())
        self._epoll.close()

    def fileno(self) -> int:
        """Return its own descriptor."""
        return int(self._epoll.fileno())

    def register(self, fd: Any, eventmask: int = POLLIN | POLLPRI | POLLOUT) -> None:
        """Watch a descriptor."""
        self._epoll.register(fd, eventmask)

    def modify(self, fd: Any, eventmask: int) -> None:
        """Watch a descriptor for something else."""
        self._epoll.modify(fd, eventmask)

    def unregister(self, fd: Any) -> None:
        """Stop watching a descriptor."""
        self._epoll.unregister(fd)

    def poll(
        self, timeout: float | None = None, maxevents: int = -1
    ) -> list[tuple[int, int]]:
        """Wait for events.

        Args:
            timeout: Seconds; None or a negative number is for as long as it takes.
            maxevents: How many to return at most; -1 for any number.
        """
        if timeout is not None and timeout < 0:
            timeout = None
        if timeout != 0:
            if _is_loops_own():
                return list(self._epoll.poll(timeout, maxevents))
            _let_others_run()
        ready: list[tuple[int, int]] = self._epoll.poll(0, maxevents)
        if ready or timeout == 0:
            return ready
        deadline = Deadline(timeout)
        assert _epoll is not None
        # As in the kernel, several may poll at once, and go on when it has been closed.
        with _epoll.fromfd(os.dup(self._epoll.fileno())) as own:
            fd = own.fileno()
            while wait_descriptor(fd, READ, deadline.remaining(), "epoll.poll()"):
                ready = own.poll(0, maxevents)
                if ready:
                    return ready
        return []
