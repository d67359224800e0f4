"""A pool of OS threads for calls that cannot wait by letting the loop run.

`execute` makes one call in a thread, and `Proxy` wraps an object so that all of its
methods are called like that: database drivers in C, compression, anything that blocks
inside a system call or computes for long with the interpreter lock released. Only the
calling green thread waits.

The pool has 20 threads, or as many as the environment variable GREENIO_THREADPOOL_SIZE
says, else EVENTLET_THREADPOOL_SIZE; with 0, calls are made in place. They start when
they are needed.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from typing import Any, ParamSpec, TypeVar

from ._bridge.await_ import adopt_changes
from ._kernel.current import existing_hub
from ._kernel.waiters import GreenWaiter, ThreadWaiter, mutex, new_waiter
from ._std.originals import (
    SimpleQueue,
    allocate_lock,
    monotonic,
    start_new_thread,
    thread_local,
)

__all__ = ["Proxy", "execute", "killall", "set_num_threads", "setup"]

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_SIZE = 20
# How long `killall` waits for calls that are being made.
KILL_TIMEOUT = 5.0
# Whether what is raised in a thread is only raised in the caller, and not printed too; see
# `greenio.debug.tpool_exceptions`.
QUIET = True


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
            if not QUIET:
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


class _Pool:
    """The threads, and the queue that they take jobs from."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = allocate_lock()
        self._threads = 0
        self._busy = 0

    def submit(self, job: _Job) -> None:
        with self._lock:
            self._busy += 1
            if self._busy > self._threads and self._threads < self.size:
                self._threads += 1
                start_new_thread(self._work, ())
        self._jobs.put(job)

    def _work(self) -> None:
        _worker_state.is_worker = True
        try:
            while True:
                job = self._jobs.get()
                if job is None:
                    return
                job.run()
                del job
                with self._lock:
                    self._busy -= 1
        finally:
            with self._lock:
                self._threads -= 1

    def stop(self, timeout: float) -> bool:
        """End the threads when they have finished their calls.

        Returns:
            Whether all of them have ended in time.
        """
        with self._lock:
            count = self._threads
        for _ in range(count):
            self._jobs.put(None)
        from ._greenthread.sleeping import sleep

        deadline = monotonic() + timeout
        while self._threads:
            if monotonic() > deadline:
                return False
            sleep(0.002)
        return True


def _size_from_environment() -> int:
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


_pool: _Pool | None = None
_wanted: int | None = None


def _current_pool() -> _Pool:
    global _pool  # noqa: PLW0603 - one pool per process
    with mutex:
        if _pool is None:
            size = _wanted if _wanted is not None else _size_from_environment()
            _pool = _Pool(size)
        return _pool


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
        BaseException: Whatever it raised.
        BlockingInLoopError: Called in the loop greenlet; a coroutine uses
            ``await asyncio.to_thread(meth, ...)``.
    """
    pool = _current_pool()
    if _worker_state.is_worker and existing_hub() is None:
        return meth(*args, **kwargs)
    waiter = new_waiter("tpool.execute()")
    if pool.size == 0 or isinstance(waiter, ThreadWaiter):
        return meth(*args, **kwargs)
    context = copy_context()
    job = _Job(waiter, context, (meth, args, kwargs))
    pool.submit(job)
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
        ValueError: It is negative.
    """
    global _pool, _wanted  # noqa: PLW0603 - one pool per process
    if nthreads < 0:
        raise ValueError(
            f"set_num_threads() takes 0 (make calls in place) or more, not {nthreads!r}"
        )
    with mutex:
        _wanted = nthreads
        old, _pool = _pool, None
    if old is not None:
        old.stop(0)


def killall() -> None:
    """End the pool's threads; the next `execute` starts new ones.

    It waits for calls that are being made, `KILL_TIMEOUT` seconds at most; a thread
    whose call takes longer ends when that is done.
    """
    global _pool
    with mutex:
        old, _pool = _pool, None
    if old is not None:
        old.stop(KILL_TIMEOUT)


def _forget_after_fork() -> None:
    global _pool  # noqa: PLW0603 - one pool per process
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


class Proxy:
    """An object whose methods are called in the pool.

    ``Proxy(module_or_object).method(...)`` makes the call in an OS thread.

    Args:
        obj: The object, or a module.
        autowrap: Types; results that are instances of them are wrapped too.
        autowrap_names: Names of methods whose results are wrapped too.
    """

    def __init__(
        self,
        obj: Any,
        autowrap: tuple[type, ...] | list[type] = (),
        autowrap_names: tuple[str, ...] | list[str] = (),
    ) -> None:
        self._obj = obj
        self._autowrap = tuple(autowrap)
        self._autowrap_names = tuple(autowrap_names)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._obj, name)
        if not callable(value):
            return value
        wrap_always = name in self._autowrap_names

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(value, args, kwargs, wrap_always)

        return call

    def _call(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        wrap_always: bool = False,
    ) -> Any:
        bare = tuple(arg._obj if isinstance(arg, Proxy) else arg for arg in args)
        result = execute(func, *bare, **kwargs)
        if wrap_always or (self._autowrap and isinstance(result, self._autowrap)):
            return Proxy(result, self._autowrap, self._autowrap_names)
        return result

    # What the interpreter looks up on the type. Those that only look at the object in
    # memory are made in place.

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object in the pool."""
        return self._call(self._obj, args, kwargs, "__call__" in self._autowrap_names)

    def __enter__(self) -> Any:
        return self._call(self._obj.__enter__, (), {})

    def __exit__(self, *exc: object) -> Any:
        return self._call(self._obj.__exit__, exc, {})

    def __getitem__(self, key: Any) -> Any:
        return self._call(self._obj.__getitem__, (key,), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        self._call(self._obj.__setitem__, (key, value), {})

    def __delitem__(self, key: Any) -> None:
        self._call(self._obj.__delitem__, (key,), {})

    def __contains__(self, item: Any) -> bool:
        return bool(self._call(self._obj.__contains__, (item,), {}))

    def __len__(self) -> int:
        return len(self._obj)

    def __bool__(self) -> bool:
        return bool(self._obj)

    def __str__(self) -> str:
        return str(self._obj)

    def __repr__(self) -> str:
        return repr(self._obj)

    def __eq__(self, other: object) -> bool:
        return bool(self._obj == (other._obj if isinstance(other, Proxy) else other))

    def __hash__(self) -> int:
        return hash(self._obj)

    def __iter__(self) -> Iterator[Any]:
        return _ProxyIterator(self, iter(self._obj))

    def __next__(self) -> Any:
        return _ProxyIterator(self, self._obj).__next__()

    next = __next__


_END = object()


class _ProxyIterator:
    """Fetches each item in the pool."""

    def __init__(self, proxy: Proxy, iterator: Iterator[Any]) -> None:
        self._proxy = proxy
        self._iterator = iterator

    def __iter__(self) -> _ProxyIterator:
        return self

    def __next__(self) -> Any:
        # StopIteration cannot travel through a function that calls for it.
        item = self._proxy._call(next, (self._iterator, _END), {})
        if item is _END:
            raise StopIteration
        return item
