"""Waiting for a descriptor by number, from wherever the caller is.

Green threads park on their hub's `Listener`. An OS thread without a hub blocks in
`poll`, which harms nobody else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from ._current import hub_to_park_in
from ._descriptors import READ, WRITE
from ._errors import IOClosed
from ._hub import all_hubs
from ._originals import POLLIN, POLLOUT, get_ident, poll, select_select
from ._timeout import Timeout


class HasFileno(Protocol):
    """A socket, a file, anything with a descriptor."""

    def fileno(self) -> int: ...


def fileno_of(obj: int | HasFileno) -> int:
    """Return the descriptor of a number or of something with ``fileno()``.

    Raises:
        TypeError: It is neither.
        ValueError: The number is negative, as a closed socket's is.
    """
    if isinstance(obj, int):
        fd = obj
    else:
        try:
            fd = obj.fileno()
        except AttributeError:
            raise TypeError(
                f"expected a descriptor or something with fileno(), not {obj!r}"
            ) from None
        if not isinstance(fd, int):
            raise TypeError(f"{obj!r}.fileno() returned {fd!r}, which is no descriptor")
    if fd < 0:
        raise ValueError(
            f"cannot wait for descriptor {fd}: it is negative, as the fileno() of a "
            "closed socket or file is; pass an open descriptor"
        )
    return fd


def block_natively(fd: int, event: str, timeout: float | None) -> bool:
    """Block this OS thread until a descriptor is ready.

    Returns:
        False if the time was up first.
    """
    if poll is None:  # pragma: no cover - Windows
        readers, writers = ([fd], []) if event == READ else ([], [fd])
        return any(select_select(readers, writers, [fd], timeout))
    poller = poll()
    poller.register(fd, POLLIN if event == READ else POLLOUT)
    if timeout is None or timeout == math.inf:
        return bool(poller.poll())
    return bool(poller.poll(math.ceil(timeout * 1000)))


def wait_descriptor(fd: int, event: str, timeout: float | None, what: str) -> bool:
    """Wait for a descriptor that the user owns.

    Returns:
        False if the time was up first.

    Raises:
        IOClosed: It was closed meanwhile.
        BlockingInLoopError: Called in the loop greenlet.
    """
    hub = hub_to_park_in(what)
    if hub is None:
        return block_natively(fd, event, timeout)
    return hub.descriptors.wait_once(fd, event, timeout)


def trampoline(
    fd: int | HasFileno,
    read: Any = None,
    write: Any = None,
    timeout: float | None = None,
    timeout_exc: type[BaseException] | BaseException = Timeout,
    mark_as_closed: Callable[[], Any] | None = None,
) -> None:
    """Wait until a descriptor can be read from or written to.

    Args:
        fd: The descriptor, or something with ``fileno()``.
        read: True to wait until it can be read from.
        write: True to wait until it can be written to.
        timeout: Seconds, or None for as long as it takes.
        timeout_exc: What to raise when the time is up.
        mark_as_closed: Called if the descriptor is closed meanwhile.

    Raises:
        ValueError: Not exactly one of `read` and `write` is true, or the descriptor is
            negative.
        IOClosed: The descriptor was closed meanwhile.
        SimultaneousUseError: Somebody else waits for the same.
        BlockingInLoopError: Called in the loop greenlet.
    """
    if bool(read) == bool(write):
        raise ValueError(
            "trampoline() waits for one thing at a time: pass read=True or write=True"
        )
    number = fileno_of(fd)
    event = READ if read else WRITE
    try:
        ready = wait_descriptor(number, event, timeout, f"waiting to {event}")
    except IOClosed:
        if mark_as_closed is not None:
            mark_as_closed()
        raise
    if not ready:
        if timeout_exc is Timeout:
            expired = Timeout(None)
            expired.seconds = timeout
            raise expired
        raise timeout_exc


def notify_close(fd: int) -> None:
    """Say that a descriptor is about to be closed.

    Whoever waits on it, on any loop of any thread, gets IOClosed.
    """
    for hub in tuple(all_hubs):
        if hub.closed or not hub.descriptors.knows(fd):
            continue
        if hub.thread_id == get_ident():
            hub.descriptors.notify_close(fd)
        else:
            hub.call_threadsafe(hub.descriptors.notify_close, fd)


def notify_opened(fd: int) -> None:
    """Say that a descriptor number is new.

    If its former owner closed it behind our back, whoever still waits for that one gets
    IOClosed, and nothing of it reaches the new owner.
    """
    notify_close(fd)
