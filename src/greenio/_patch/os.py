"""`os.read`, `os.write`, `os.waitpid` and so on that park the green thread.

A descriptor is waited on before the system call, and the call itself is made so that it
cannot block. Regular files and directories never wait.
"""

from __future__ import annotations

import errno
import os
import select as _select  # noqa: TID251 - a constant
import stat
from typing import Any

from .._greenthread.descriptor_waits import (
    block_natively,
    notify_close,
    wait_descriptor,
)
from .._greenthread.sleeping import sleep
from .._kernel.descriptors import READ, WRITE
from .._std.originals import (
    os_close,
    os_fstat,
    os_get_blocking,
    os_pidfd_open,
    os_read,
    os_wait,
    os_waitpid,
    os_write,
)

# A pipe that is ready for writing takes this much without blocking (POSIX).
_PIPE_BUF = getattr(_select, "PIPE_BUF", 512)


def _never_waits(fd: int) -> bool:
    mode = os_fstat(fd).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode)


def _is_ready(fd: int, event: str) -> bool:
    return block_natively(fd, event, 0)


def read(fd: int, length: int, /) -> bytes:
    """Read from a descriptor, waiting for data; see `os.read`."""
    if not _never_waits(fd):
        while not _is_ready(fd, READ):
            wait_descriptor(fd, READ, None, "os.read()")
    while True:
        try:
            return os_read(fd, length)
        except BlockingIOError:
            # Somebody else was quicker, or it is one that says "ready" too early.
            wait_descriptor(fd, READ, None, "os.read()")


def write(fd: int, data: Any, /) -> int:
    """Write to a descriptor, waiting for room; see `os.write`.

    As without greenio, all of the data is written unless the descriptor is
    non-blocking.
    """
    if _never_waits(fd):
        return os_write(fd, data)
    if not os_get_blocking(fd):
        while True:
            try:
                return os_write(fd, data)
            except BlockingIOError:
                wait_descriptor(fd, WRITE, None, "os.write()")
    with memoryview(data) as view, view.cast("B") as octets:
        if not octets:
            return os_write(fd, data)
        written = 0
        while written < len(octets):
            while not _is_ready(fd, WRITE):
                wait_descriptor(fd, WRITE, None, "os.write()")
            written += os_write(fd, octets[written : written + _PIPE_BUF])
        return written


def close(fd: int) -> None:
    """Close a descriptor; whoever waits on it gets an error."""
    notify_close(fd)
    os_close(fd)


def waitpid(pid: int, options: int, /) -> tuple[int, int]:
    """Wait for a child process; see `os.waitpid`."""
    if options & os.WNOHANG:
        return os_waitpid(pid, options)
    result = os_waitpid(pid, options | os.WNOHANG)
    if result[0] == 0:
        if pid > 0 and os_pidfd_open is not None and not options:
            result = _wait_for_one(pid)
        else:
            result = _poll_children(pid, options)
    return result


def _wait_for_one(pid: int) -> tuple[int, int]:
    assert os_pidfd_open is not None
    try:
        descriptor = os_pidfd_open(pid)
    except OSError as exc:
        if exc.errno not in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
            raise
        return _poll_children(pid, 0)
    try:
        while True:
            wait_descriptor(descriptor, READ, None, "os.waitpid()")
            result = os_waitpid(pid, os.WNOHANG)
            if result[0]:
                return result
    finally:
        os_close(descriptor)


def wait_for_exit(pid: int, timeout: float) -> bool:
    """Wait until a child has ended, leaving its status for `waitpid`.

    Returns:
        False if the time was up first.
    """
    if os_pidfd_open is None or timeout <= 0:
        return True
    try:
        descriptor = os_pidfd_open(pid)
    except OSError:
        # Gone already, or the system has no such descriptors: the caller will see.
        return True
    try:
        return wait_descriptor(descriptor, READ, timeout, "Popen.wait()")
    finally:
        os_close(descriptor)


def _poll_children(pid: int, options: int) -> tuple[int, int]:
    # Nothing becomes ready when any child changes its state.
    pause = 0.001
    while True:
        sleep(pause)
        result = os_waitpid(pid, options | os.WNOHANG)
        if result[0]:
            return result
        pause = min(pause * 2, 0.05)


def wait() -> tuple[int, int]:
    """Wait for any child process; see `os.wait`."""
    if os_wait is None:  # pragma: no cover - Windows
        raise AttributeError("os.wait is not available on this platform")
    return waitpid(-1, 0)
