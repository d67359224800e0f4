"""What a program may choose about the pool, by assigning to names of `greenio.tpool`."""

from __future__ import annotations

import os

DEFAULT_SIZE = 20
# How long `killall` waits for calls that are being made.
KILL_TIMEOUT = 5.0
# Whether what is raised in a thread is only raised in the caller, and not printed too; see
# `greenio.debug.tpool_exceptions`.
QUIET = True
# How many threads the next pool has; None for what the environment says.
nthreads: int | None = None


def num_threads() -> int:
    """Return how many threads the next pool is to have.

    Raises:
        ValueError: The environment says something else than a number.
    """
    if nthreads is not None:
        return nthreads
    for name in ("GREENIO_THREADPOOL_SIZE", "EVENTLET_THREADPOOL_SIZE"):
        text = os.environ.get(name)
        if text:
            try:
                size = int(text)
            except ValueError:
                size = -1
            if size < 0:
                raise ValueError(f"{name} is a number of threads, not {text!r}")
            return size
    return DEFAULT_SIZE
