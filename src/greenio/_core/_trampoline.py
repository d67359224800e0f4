"""Waiting for a descriptor by number, from wherever the caller is.

Green threads park on their hub's `Listener`. An OS thread without a hub blocks in
`poll`, which harms nobody else. In the loop greenlet nobody may wait, so there only a
descriptor that is ready already will do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from ._current import hub_to_park_in
from ._descriptors import READ, WRITE, Listener
from ._descriptors import block_natively as block_natively
from ._errors import BlockingInLoopError, IOClosed
from ._hub import Hub, all_hubs
from ._originals import get_ident
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


def wait_descriptor(fd: int, event: str, timeout: float | None, what: str) -> bool:
    """Wait for a descriptor that the user owns.

    Args:
        fd: The descriptor.
        event: `READ` or `WRITE`.
        timeout: Seconds, or None to wait for as long as it takes.
        what: The call that wants to wait, for the error message.

    Returns:
        False if the time was up first.

    Raises:
        IOClosed: It is closed, or was meanwhile.
        SimultaneousUseError: Somebody else waits for the same.
        BlockingInLoopError: Called in the loop greenlet, and it is not ready.
    """
    try:
        hub = hub_to_park_in(what)
    except BlockingInLoopError:
        if block_natively(fd, event, 0):
            return True
        raise
    if hub is None:
        return block_natively(fd, event, timeout)
    return hub.descriptors.wait_once(fd, event, timeout, hub.park)


def trampoline(
    fd: int | HasFileno,
    read: Any = None,
    write: Any = None,
    timeout: float | None = None,
    timeout_exc: type[BaseException] | BaseException = Timeout,
    mark_as_closed: Callable[[], Any] | None = None,
) -> None:
    """Wait until a descriptor can be read from or written to.

    Its flags stay as they are. What never blocks, such as a regular file, is ready.

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
        TypeError: `fd` has no descriptor, or `timeout` is not a number.
        IOClosed: The descriptor is closed, or was meanwhile.
        SimultaneousUseError: Somebody else waits for the same.
        BlockingInLoopError: Called in the loop greenlet.
    """
    if bool(read) == bool(write):
        raise ValueError(
            "trampoline() waits for one thing at a time: pass read=True or write=True"
        )
    number = fileno_of(fd)
    event = READ if read else WRITE
    if timeout is not None:
        if not isinstance(timeout, (int, float)):
            raise TypeError(
                f"trampoline() takes a timeout in seconds or None, not {timeout!r}"
            )
        # What is left of a time limit may well be less than nothing.
        timeout = max(0.0, timeout)
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
    for hub in known_hubs():
        if hub.closed:
            continue
        for listener in hub.descriptors.known(fd):
            close_listener(listener)


def close_listener(listener: Listener) -> None:
    """Let go of a listener and wake whoever waits there, from any OS thread."""
    hub = listener.hub
    if hub.thread_id == get_ident():
        listener.close()
    else:
        # The listener and not its number: that may mean another file by then.
        hub.call_threadsafe(listener.close)


def known_hubs() -> tuple[Hub, ...]:
    """Return all hubs that there are, closed ones too."""
    while True:
        try:
            return tuple(all_hubs)
        except RuntimeError:
            # Another OS thread has just made one.
            continue


def notify_opened(fd: int) -> None:
    """Say that a descriptor number is new.

    If its former owner closed it behind our back, whoever still waits for that one gets
    IOClosed, and nothing of it reaches the new owner.
    """
    notify_close(fd)


def _abandon_after_fork() -> None:
    for hub in known_hubs():
        hub.descriptors.abandon()


if hasattr(os, "register_at_fork"):
    # Before anything in the child can close a socket: the kernel's side of the parent's
    # poller is shared with it.
    os.register_at_fork(after_in_child=_abandon_after_fork)
