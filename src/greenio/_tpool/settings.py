"""What a program may choose about the pool, by assigning to names of `greenio.tpool`."""

from __future__ import annotations

import os
import warnings

DEFAULT_SIZE = 20
# How long `killall` waits for calls that are being made.
KILL_TIMEOUT = 5.0
# Whether what is raised in a thread is only raised in the caller, and not printed too; see
# `greenio.debug.tpool_exceptions`.
QUIET = True
# How many threads the next pool has; None for what the environment says.
nthreads: int | None = None


def warn_of_none() -> None:
    """Say that there are no threads, if it is the environment that wants none."""
    if nthreads is None:
        warnings.warn(
            "the pool of greenio.tpool has no threads, because GREENIO_THREADPOOL_SIZE or "
            "EVENTLET_THREADPOOL_SIZE is 0: tpool.execute() calls functions in place, and "
            "one that blocks stops everybody",
            RuntimeWarning,
            stacklevel=4,
        )


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
