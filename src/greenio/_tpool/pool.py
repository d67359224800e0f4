"""The pool of OS threads: a queue of calls, and threads that take them from it.

The caller leaves a waiter with its call, and the thread that has made the call wakes
it. A thread is started when a call comes and all that there are have one; threads end
when the pool is replaced or killed. One pool per process, made at first use.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from .._bridge.await_in_task import adopt_changes
from .._greenthread.arguments import check_callable
from .._greenthread.coroutines import is_coroutine_function
from .._greenthread.sleeping import sleep
from .._kernel.current import existing_hub
from .._kernel.waiters import GreenWaiter, ThreadWaiter, mutex, new_waiter
from .._std.originals import (
    SimpleQueue,
    get_ident,
    monotonic,
    start_new_thread,
    thread_local,
)
from . import settings

P = ParamSpec("P")
T = TypeVar("T")


class _Job:
    """One call, on its way to a thread and back."""

    __slots__ = ("_call", "_context", "_waiter", "error", "result")

    def __init__(
        self,
        waiter: GreenWaiter | ThreadWaiter,
        context: Context,
        call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]],
    ) -> None:
        self._waiter = waiter
        self._context = context
        self._call = call
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        func, args, kwargs = self._call
        try:
            self.result = self._context.run(func, *args, **kwargs)
        except BaseException as exc:  # noqa: BLE001 - it goes to the caller
            if not settings.QUIET:
                traceback.print_exc()
            # Without this frame, which knows the job.
            self.error = exc.with_traceback(
                exc.__traceback__ and exc.__traceback__.tb_next
            )
        waiter = self._waiter
        # What has failed in here leads to this frame all the same, by `f_back`.
        del self, func, args, kwargs
        with mutex:
            if not waiter.done:
                waiter.wake()


class _WorkerState(thread_local):
    is_worker = False


_worker_state = _WorkerState()


@dataclass(frozen=True)
class ThreadPoolStatistics:
    """What `greenio.tpool.statistics` returns.

    Attributes:
        size: How many OS threads there may be.
        threads: How many there are.
        busy: How many calls are being made.
        queued: How many calls wait for a thread.
    """

    size: int
    threads: int
    busy: int
    queued: int


class _Pool:
    """The threads, and the queue that they take jobs from."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # Guarded by the mutex of the primitives: a finalizer may come in between and make
        # a call, too, or wait.
        self._threads = 0
        self.idents: list[int] = []
        # For who looks for one: each result goes to its caller.
        self.results: SimpleQueue[Any] = SimpleQueue()
        self._busy = 0
        self._stopped = False

    def submit(self, job: _Job) -> bool:
        """Have a job done.

        Returns:
            False if the pool was stopped, so that it never will.
        """
        with mutex:
            if self._stopped:
                return False
            if self._busy >= self._threads and self._threads < self.size:
                self._threads += 1
                try:
                    start_new_thread(self._work, ())
                except Exception:
                    self._threads -= 1
                    raise
            if self._stopped:
                # By who interrupted us in between.
                return False
            self._busy += 1
            # In one step with the look: in front of what ends the threads.
            self._jobs.put(job)
            return True

    def statistics(self) -> ThreadPoolStatistics:
        """Return numbers about the current state."""
        with mutex:
            # Calls that are being made or wait for a thread.
            calls, threads = self._busy, self._threads
        busy = min(calls, threads)
        return ThreadPoolStatistics(self.size, threads, busy, calls - busy)

    def serve(self) -> None:
        """Make calls in the calling thread too, until the pool ends."""
        with mutex:
            self._threads += 1
        self._work()

    @property
    def jobs(self) -> Any:
        """The queue of calls."""
        return self._jobs

    def _work(self) -> None:
        _worker_state.is_worker = True
        ident = get_ident()
        self.idents.append(ident)
        try:
            while True:
                job = self._jobs.get()
                if job is None:
                    return
                job.run()
                del job
                with mutex:
                    self._busy -= 1
        finally:
            _worker_state.is_worker = False
            with mutex:
                self.idents.remove(ident)
                self._threads -= 1

    def stop(self, timeout: float) -> bool:
        """End the threads when they have finished their calls.

        Returns:
            Whether all of them have ended in time.
        """
        with mutex:
            self._stopped = True
            for _ in range(self._threads):
                self._jobs.put(None)
        deadline = monotonic() + timeout
        while self._threads:
            if monotonic() > deadline:
                return False
            sleep(0.002)
        return True


_pool: _Pool | None = None


def _current_pool() -> _Pool:
    global _pool  # noqa: PLW0603 - one pool per process
    with mutex:
        pool = _pool
        if pool is None:
            made = _Pool(settings.num_threads())
            if _pool is None:
                _pool = made
                if made.size == 0:
                    settings.warn_of_none()
            pool = _pool
        return pool


def existing_pool() -> _Pool | None:
    """Return the pool, if there is one."""
    return _pool


def statistics() -> ThreadPoolStatistics:
    """Return numbers about the pool; one that has not been made has no threads."""
    pool = _pool
    if pool is None:
        return ThreadPoolStatistics(settings.num_threads(), 0, 0, 0)
    return pool.statistics()


def tworker() -> None:
    """Make calls of the pool in the calling OS thread, until the pool ends."""
    _current_pool().serve()


def tpool_trampoline() -> None:
    """Hand results to who waits for them: each thread does that itself, at once."""


def setup() -> None:
    """Make the pool now; without this, the first `execute` does."""
    _current_pool()


def execute(meth: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in an OS thread, and wait for it as a green thread.

    It runs in a copy of the caller's context, and what it changes there is seen by
    the caller afterwards. If the caller is killed meanwhile, the call goes on, and its
    result is dropped. Within a thread of the pool, and in an OS thread without a hub,
    the function is just called.

    Args:
        meth: The function.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Returns:
        What it returned.

    Raises:
        TypeError: `meth` cannot be called, or is a coroutine function.
        BaseException: Whatever it raised.
        BlockingInLoopError: Called in the loop greenlet; a coroutine uses
            ``await asyncio.to_thread(meth, ...)``.
    """
    check_callable(meth, "tpool.execute")
    if is_coroutine_function(meth):
        raise TypeError(
            "tpool.execute takes a function that blocks, to call it in an OS thread, not "
            f"the coroutine function {meth!r}; await that by greenio.await_(), or start "
            "it by spawn()"
        )
    if _worker_state.is_worker and existing_hub() is None:
        return meth(*args, **kwargs)
    waiter = new_waiter("tpool.execute()")
    if isinstance(waiter, ThreadWaiter):
        return meth(*args, **kwargs)
    context = copy_context()
    job = _Job(waiter, context, (meth, args, kwargs))
    while True:
        pool = _current_pool()
        if pool.size == 0:
            return meth(*args, **kwargs)
        if pool.submit(job):
            break
        # It was replaced by another OS thread meanwhile.
    try:
        waiter.block()
    except BaseException:
        with mutex:
            waiter.done = True
        raise
    finally:
        del waiter
    adopt_changes(context)
    if job.error is not None:
        try:
            raise job.error
        finally:
            del job
    result: T = job.result
    return result


def set_num_threads(nthreads: int) -> None:
    """Choose how many threads the pool may have.

    Calls that are being made are finished in the threads they run in.

    Args:
        nthreads: How many; 0 makes calls in place.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is negative.
    """
    global _pool
    if isinstance(nthreads, bool) or not isinstance(nthreads, int):
        raise TypeError(
            f"set_num_threads() takes a whole number of threads, not {nthreads!r}"
        )
    if nthreads < 0:
        raise ValueError(
            f"set_num_threads() takes 0 (make calls in place) or more, not {nthreads!r}"
        )
    with mutex:
        settings.nthreads = nthreads
        old, _pool = _pool, None
    if old is not None:
        old.stop(0)


def killall() -> None:
    """End the pool's threads; the next `execute` starts new ones.

    It waits for calls that are being made, `tpool.KILL_TIMEOUT` seconds at most; a thread
    whose call takes longer ends when that is done.
    """
    global _pool
    with mutex:
        old, _pool = _pool, None
    if old is not None:
        old.stop(settings.KILL_TIMEOUT)


def _forget_after_fork() -> None:
    global _pool  # noqa: PLW0603 - one pool per process
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
