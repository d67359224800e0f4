"""`os.waitpid` and `os.wait` that park the green thread."""

from __future__ import annotations

import errno
import os

from .._greenthread.descriptor_waits import wait_descriptor
from .._greenthread.holding_up import may_hold_up, note_held_up
from .._greenthread.sleeping import sleep
from .._reactor.descriptors import READ
from .._std.errors import BlockingInLoopError
from .._std.originals import os_close, os_pidfd_open, os_wait, os_waitpid, time_sleep


def waitpid(pid: int, options: int) -> tuple[int, int]:
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
        _pause(pause)
        result = os_waitpid(pid, options | os.WNOHANG)
        if result[0]:
            return result
        pause = min(pause * 2, 0.05)


def _pause(seconds: float) -> None:
    try:
        sleep(seconds)
        return
    except BlockingInLoopError:
        if not may_hold_up():
            raise
    note_held_up("os.waitpid()")
    time_sleep(seconds)


def wait() -> tuple[int, int]:
    """Wait for any child process; see `os.wait`."""
    if os_wait is None:  # pragma: no cover - Windows
        raise AttributeError("os.wait is not available on this platform")
    return waitpid(-1, 0)
