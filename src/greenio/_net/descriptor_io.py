"""`os.read`, `os.write` and their kin on descriptors by number, parking the green thread.

The descriptors are the user's, shared with other processes perhaps, so their flags stay
as they are. One that blocks is asked first whether it is ready, and is then given no more
than what it takes at once. One that does not block is waited for where the system call
would have failed, as eventlet does. Regular files and directories never wait.
"""

from __future__ import annotations

import os
import select as _select  # noqa: TID251 - a constant
import stat
from collections.abc import Sequence
from fcntl import F_GETFL, fcntl
from typing import Any

from .._greenthread.descriptor_waits import (
    block_natively,
    notify_close,
    wait_descriptor,
)
from .._greenthread.sleeping import sleep
from .._reactor.descriptors import READ, WRITE
from .._std.originals import (
    os_close,
    os_fstat,
    os_get_blocking,
    os_read,
    os_readv,
    os_sendfile,
    os_splice,
    os_write,
    os_writev,
)

# A pipe that is ready for writing takes this much without blocking (POSIX).
PIPE_BUF: int = getattr(_select, "PIPE_BUF", 512)
_SPLICE_F_NONBLOCK: int = getattr(os, "SPLICE_F_NONBLOCK", 2)


def never_waits(fd: int) -> bool:
    """Whether a descriptor is of a kind that the system never waits for."""
    mode = os_fstat(fd).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode)


def is_wrong_end(fd: int, event: str) -> bool:
    """Whether a descriptor is not open for that, so that it will never be ready."""
    mode = fcntl(fd, F_GETFL) & os.O_ACCMODE
    return mode == (os.O_WRONLY if event == READ else os.O_RDONLY)


def _until_ready(fd: int, event: str, what: str) -> None:
    while not block_natively(fd, event, 0):
        if is_wrong_end(fd, event):
            return  # which the system call says, too
        wait_descriptor(fd, event, None, what)


def read(fd: int, n: int) -> bytes:
    """Read from a descriptor, waiting for data; see `os.read`."""
    # Nothing, or less, comes at once.
    if not never_waits(fd) and n > 0:
        _until_ready(fd, READ, "os.read()")
    while True:
        try:
            return os_read(fd, n)
        except BlockingIOError:
            # Somebody else was quicker, or it is one that says "ready" too early.
            wait_descriptor(fd, READ, None, "os.read()")


def readv(fd: int, buffers: Sequence[Any], /) -> int:
    """Read into buffers, waiting for data; see `os.readv`."""
    assert os_readv is not None
    if any(memoryview(buffer).readonly for buffer in buffers):
        return int(os_readv(fd, buffers))  # which says so
    if not never_waits(fd):
        _until_ready(fd, READ, "os.readv()")
    while True:
        try:
            return int(os_readv(fd, buffers))
        except BlockingIOError:
            wait_descriptor(fd, READ, None, "os.readv()")


def write(fd: int, st: Any) -> int:
    """Write to a descriptor, waiting for room; see `os.write`.

    As without greenio, all of the data is written unless the descriptor is
    non-blocking.
    """
    if never_waits(fd):
        return os_write(fd, st)
    if not os_get_blocking(fd):
        while True:
            try:
                return os_write(fd, st)
            except BlockingIOError:
                wait_descriptor(fd, WRITE, None, "os.write()")
    with memoryview(st) as view, view.cast("B") as octets:
        if not octets:
            return os_write(fd, st)
        written = 0
        while written < len(octets):
            _until_ready(fd, WRITE, "os.write()")
            written += os_write(fd, octets[written : written + PIPE_BUF])
        return written


def writev(fd: int, buffers: Sequence[Any], /) -> int:
    """Write buffers to a descriptor, waiting for room; see `os.writev`."""
    assert os_writev is not None
    if never_waits(fd):
        return int(os_writev(fd, buffers))
    if os_get_blocking(fd):
        return write(fd, b"".join(buffers))
    while True:
        try:
            return int(os_writev(fd, buffers))
        except BlockingIOError:
            wait_descriptor(fd, WRITE, None, "os.writev()")


def sendfile(
    out_fd: int, in_fd: int, offset: int | None, count: int, *args: Any, **kwargs: Any
) -> int:
    """Send from one descriptor to another, waiting for room; see `os.sendfile`."""
    assert os_sendfile is not None
    waits = not never_waits(out_fd)
    if waits and os_get_blocking(out_fd):
        count = min(count, PIPE_BUF)
        _until_ready(out_fd, WRITE, "os.sendfile()")
    while True:
        try:
            return int(os_sendfile(out_fd, in_fd, offset, count, *args, **kwargs))
        except BlockingIOError:
            _wait_for_either(in_fd, out_fd, "os.sendfile()")


def splice(
    src: int,
    dst: int,
    count: int,
    offset_src: int | None = None,
    offset_dst: int | None = None,
    flags: int = 0,
) -> int:
    """Move data from one descriptor to another, waiting for both; see `os.splice`."""
    assert os_splice is not None
    may_wait = not flags & _SPLICE_F_NONBLOCK
    flags |= _SPLICE_F_NONBLOCK
    while True:
        if may_wait:
            for fd, event in ((src, READ), (dst, WRITE)):
                if not never_waits(fd):
                    _until_ready(fd, event, "os.splice()")
        try:
            moved = os_splice(src, dst, count, offset_src, offset_dst, flags)
        except BlockingIOError:
            if not may_wait:
                raise
            _wait_for_either(src, dst, "os.splice()")
        else:
            return int(moved)


def _wait_for_either(source: int, target: int, what: str) -> None:
    """One of two descriptors has just kept a call from going on: wait for that one."""
    for fd, event in ((source, READ), (target, WRITE)):
        if not never_waits(fd) and not block_natively(fd, event, 0):
            wait_descriptor(fd, event, None, what)
            return
    # Either is ready by now, or says so too early.
    sleep(0)


def close(fd: int) -> None:
    """Close a descriptor; whoever waits on it gets an error."""
    notify_close(fd)
    os_close(fd)
