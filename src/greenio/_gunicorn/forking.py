"""What the arbiter waits for before it forks a worker.

gunicorn stops a thread of its own, the control socket's, before each fork, and waits until
Python has done with it. Then the system's thread still takes its own things apart, greenlet's
among them, which takes a lock of greenlet's. A process that is forked at that moment has the
lock for ever, and hangs when it is to exit, until the arbiter kills it after
`graceful_timeout`. So the fork waits until the thread is gone.
"""

from __future__ import annotations

import os
import threading  # noqa: TID251 - the arbiter is not patched, and asks for its threads
from pathlib import Path

from .._std.originals import monotonic, time_sleep

_THREADS = Path("/proc/self/task")
# Seconds. A thread that is still there then is somebody else's, and is not waited for again.
_PATIENCE = 0.5

_others: set[str] = set()
_waits = False


def _unknown() -> set[str]:
    """The system's threads that Python knows nothing of, or no more."""
    known = {str(thread.native_id) for thread in threading.enumerate()}
    return {path.name for path in _THREADS.iterdir()} - known - _others


def _wait_for_threads() -> None:
    if not _waits:
        return
    end = monotonic() + _PATIENCE
    while unknown := _unknown():
        if monotonic() > end:
            _others.update(unknown)
            return
        time_sleep(0.001)


def wait_for_threads_before_forks() -> None:
    """In the arbiter: fork no worker while a thread that has ended is being taken apart."""
    global _waits  # noqa: PLW0603 - one per process
    if _THREADS.is_dir():
        _waits = True
        os.register_at_fork(before=_wait_for_threads, after_in_child=_stop_waiting)


def _stop_waiting() -> None:
    global _waits  # noqa: PLW0603 - one per process
    _waits = False
