"""Executors: those that exist when the patch comes, and those that coroutines use.

An executor's `submit` holds two locks while it starts a thread, its own and one that all
executors share. So its thread does not run before `submit` has given them up (`threads`): its
first job may submit another, or fork, and both take the shared lock; and while a green thread
waits for one of these locks, a coroutine that submits something is refused.

Those that were at work before the patch keep real threads. All others are made green.

Coroutines end executors, as asyncio's documentation shows it::

    with ThreadPoolExecutor() as pool:
        await loop.run_in_executor(pool, work)

At the end of the block the pool's threads are joined, and a coroutine cannot wait for a
green thread. The threads of a `ThreadPoolExecutor` that have nothing left to do need not
be waited for: they end when the loop goes on, and nobody sees the difference. The thread
that manages a `ProcessPoolExecutor` is a real one if a coroutine starts it: see
`threads`.
"""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from greenlet import getcurrent, greenlet

from .._kernel.current import cannot_wait
from .._std.originals import SimpleQueue
from .locks import ThreadLock

_MODULE = "concurrent.futures.thread"
_RENEWED = {"_idle_semaphore", "_shutdown_lock", "_work_queue"}


# The threads that a call of `submit` has started, by the greenlet that calls it.
started_by_submit: dict[greenlet, list[Any]] = {}


def let_jobs_begin_in_submit(begin: Callable[[Any], None]) -> None:
    """Let `ThreadPoolExecutor.submit` begin with the job when it holds no lock any more.

    Args:
        begin: Has a thread run that `submit` has started.
    """
    executor: Any = importlib.import_module(_MODULE)
    cls = executor.ThreadPoolExecutor
    submit = cls.submit

    @wraps(submit)
    def green(*args: Any, **kwargs: Any) -> Any:
        current = getcurrent()
        if current in started_by_submit:
            # What interrupts one submits, too.
            return submit(*args, **kwargs)
        started: list[Any] = []
        started_by_submit[current] = started
        try:
            future = submit(*args, **kwargs)
        finally:
            del started_by_submit[current]
        for thread in started:
            begin(thread)
        return future

    cls.submit = green


def let_coroutines_end_executors() -> None:
    """Let `ThreadPoolExecutor.shutdown` return in a coroutine when all work is done."""
    executor: Any = importlib.import_module(_MODULE)
    cls = executor.ThreadPoolExecutor
    shutdown = cls.shutdown

    @wraps(shutdown)
    def green(self: Any, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if wait and self._threads and cannot_wait():
            shutdown(self, wait=False, cancel_futures=cancel_futures)
            wait = self._idle_semaphore._value < len(self._threads)
            if not wait:
                return
        shutdown(self, wait=wait, cancel_futures=cancel_futures)

    cls.shutdown = green


def make_executors_green() -> Callable[[], None]:
    """Make green what executors have from before the patch.

    All share one lock, which their module made when it was imported, and which fork handlers
    refer to for good (so `existing` leaves it alone). Those that have not worked yet get the
    rest, too: what they have are a lock, a semaphore and a queue.

    Returns:
        What gives the module its former lock.
    """
    executor: Any = importlib.import_module(_MODULE)
    old = executor._global_shutdown_lock
    executor._global_shutdown_lock = new = ThreadLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=new._at_fork_reinit)
    cls = executor.ThreadPoolExecutor
    fresh = partial(cls, 1, "not used")
    for pool in gc.get_objects():
        if issubclass(type(pool), cls):
            _renew_unless_it_works(pool, fresh)
    return partial(setattr, executor, "_global_shutdown_lock", old)


def _renew_unless_it_works(pool: Any, fresh: Callable[[], Any]) -> None:
    lock = getattr(pool, "_shutdown_lock", None)
    if lock is None or not lock.acquire(False):
        return
    try:
        if not pool._threads:
            new = vars(fresh())
            vars(pool).update({name: new[name] for name in _RENEWED & new.keys()})
    finally:
        lock.release()


def is_worker(thread: Any) -> bool:
    """Whether a `threading.Thread` does the jobs of a `ThreadPoolExecutor`."""
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", None) == _MODULE


def takes_from_a_real_queue(thread: Any) -> bool:
    """Whether it is a worker of an executor that was at work before the patch.

    A green thread that waited for such a queue would hold up its whole loop.
    """
    return is_worker(thread) and any(type(arg) is SimpleQueue for arg in thread._args)
