"""Waiting for a descriptor by number, from wherever the caller is.

Green threads park on their hub's `Listener`. An OS thread without a hub blocks in
`poll`, which harms nobody else. In the loop greenlet nobody may wait, so there only a
descriptor that is ready already will do.
"""

from __future__ import annotations

import os
from _socket import AF_INET, SOCK_DGRAM
from collections.abc import Callable
from typing import Any, Protocol

from .._kernel.current import hub_to_park_in, is_held_up
from .._kernel.hub import known_hubs
from .._kernel.waiters import mutex
from .._reactor.descriptors import READ, WRITE, Listener
from .._reactor.descriptors import block_natively as block_natively
from .._std.errors import BlockingInLoopError, IOClosed
from .._std.originals import allocate_lock, get_ident, os_close, raw_socket
from .holding_up import may_hold_up, note_held_up
from .timeout import Timeout

# How long another thread's loop may take to let go of a descriptor, in seconds.
_PATIENCE = 0.5


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
        hub = None if is_held_up() else hub_to_park_in(what)
    except BlockingInLoopError:
        if block_natively(fd, event, 0):
            return True
        if not may_hold_up():
            raise
    else:
        if hub is None:
            return block_natively(fd, event, timeout)
        return hub.descriptors.wait_once(fd, event, timeout, hub.park)
    note_held_up(what)
    return block_natively(fd, event, timeout)


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
    for listener in _listeners(fd):
        if listener.hub.thread_id == get_ident():
            listener.close()
        else:
            _close_and_wait(listener)


def close_descriptor(fd: int) -> None:
    """Close a descriptor; whoever waits on it, on any loop of any thread, gets IOClosed.

    Loops of other threads let go of it when they come to it. Until then its number must
    not mean another file, and libuv aborts the process if it is not open at all. So the
    file is closed at once, and something else keeps the number.
    """
    others = []
    for listener in _listeners(fd):
        if listener.hub.thread_id == get_ident():
            listener.close()
        else:
            others.append(listener)
    if others:
        _Number(fd).keep_for(others)
    else:
        os_close(fd)


class _Number:
    """A descriptor's number that outlives its file, until other threads let go."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._left = 1
        # It can be watched, and is never ready to be read from.
        placeholder = raw_socket(AF_INET, SOCK_DGRAM)
        try:
            os.dup2(placeholder.fileno(), fd, inheritable=False)
        finally:
            placeholder.close()

    def keep_for(self, listeners: list[Listener]) -> None:
        for listener in listeners:
            self._left += 1
            if not listener.hub.call_threadsafe(self._close, listener):
                self._left -= 1
        self._done()

    def _close(self, listener: Listener) -> None:
        try:
            listener.close()
        finally:
            self._done()

    def _done(self) -> None:
        with mutex:
            self._left -= 1
            if self._left:
                return
        os_close(self._fd)


def _close_and_wait(listener: Listener) -> None:
    """Have another thread's loop let go of a descriptor before it is closed."""
    hub = listener.hub
    done = allocate_lock()
    done.acquire()

    def close() -> None:
        try:
            listener.close()
        finally:
            done.release()

    running = hub.loop.is_running()
    if hub.call_threadsafe(close) and running:
        # It may be busy, or wait for us: that is no reason to wait for ever.
        done.acquire(timeout=_PATIENCE)


def _listeners(fd: int) -> list[Listener]:
    return [
        listener
        for hub in known_hubs()
        if not hub.closed
        for listener in hub.descriptors.known(fd)
    ]


def close_listener(listener: Listener) -> None:
    """Let go of a listener and wake whoever waits there, from any OS thread."""
    hub = listener.hub
    if hub.thread_id == get_ident():
        listener.close()
    else:
        # The listener and not its number: that may mean another file by then.
        hub.call_threadsafe(listener.close)


def notify_opened(fd: int) -> None:
    """Say that a descriptor number is new.

    If its former owner closed it behind our back, whoever still waits for that one gets
    IOClosed, and nothing of it reaches the new owner.
    """
    notify_close(fd)
