"""What `_thread` offers, with green threads for threads.

A thread started where a hub is (the main thread, a loop) is a green thread of that
hub. One started in a real thread without a hub (an executor's worker) is a real
thread: a green one would have nobody to run it. And so is one that a coroutine starts and
will join without letting the loop run (`executors`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from contextvars import Context
from typing import Any

from greenlet import getcurrent, greenlet

from .._greenthread.coroutines import finished
from .._greenthread.sleeping import sleep
from .._greenthread.thread import GreenThread
from .._kernel.current import (
    acting_greenlet,
    cannot_wait,
    existing_hub,
    hub_for_threads,
)
from .._kernel.entries import Throw
from .._kernel.hidden_loop import running_loop
from .._kernel.hub import Hub
from .._loop.mutex import in_section, mutex, park_outside
from .._std import originals as _originals
from .._std.errors import BlockingInLoopError
from .._std.originals import get_ident as _native_ident
from .._std.originals import in_main_thread
from .._sync.event import Event
from .executors import is_worker, started_by_submit, takes_from_a_real_queue
from .locks import ThreadLock
from .outliving import outlive_loop
from .thread_failures import report_ignored

# Identifiers are never used twice. The system's are addresses or small numbers, so
# these collide with neither.
FIRST_IDENT = 1 << 40
_idents = itertools.count(FIRST_IDENT)


def get_ident(gr: greenlet | None = None) -> int:
    """Return the number of the current thread.

    A green thread has one of its own, which is also that of the coroutines it runs by
    `asyncio.run`. Everything else that runs in an OS thread has that thread's.

    Args:
        gr: Whose number to return, instead of the current one's.
    """
    current = acting_greenlet() if gr is None else gr
    if isinstance(current, GreenThread):
        try:
            return current._thread_ident  # type: ignore[attr-defined, no-any-return]
        except AttributeError:
            with mutex:
                # Without the interpreter lock, `next` is not one step.
                ident = next(_idents)
            current._thread_ident = ident  # type: ignore[attr-defined]
            return ident
    return _native_ident()


def set_name(name: str) -> None:
    """Name the current OS thread for the system (Python 3.14).

    A green thread leaves the name of the one that it runs in alone: the main thread's
    is the process's.
    """
    set_name = _originals.set_thread_name
    if set_name is not None and not isinstance(getcurrent(), GreenThread):
        set_name(name)


class Sentinel(ThreadLock):  # pragma: no cover - until Python 3.12
    """A lock that is held for as long as its thread lives (until Python 3.12).

    `threading` has a thread make its own when it begins. Ours is made by whoever starts
    the thread, so that `start` need not wait; the thread's own first `acquire` then
    finds it held already.

    When the thread has ended, everybody has it who asks: whoever joins the thread takes
    it, releases it, and expects it to be free then, also when others join besides.
    """

    def __init__(self) -> None:
        super().__init__()
        self._owner: greenlet | None = None
        self._held_for_owner = False
        self._over = False
        # Of the same thread, and of another `threading` module.
        self._other: Sentinel | None = None

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take the lock."""
        if self._held_for_owner and getcurrent() is self._owner:
            self._held_for_owner = False
            return True
        return self._over or super().acquire(blocking, timeout)

    def release(self) -> None:  # type: ignore[override]
        """Release the lock; its end is the thread's, so it is `end` that does it."""

    def locked(self) -> bool:
        """Whether `join` has taken the lock and not released it: never.

        `threading` asks that when `join` is interrupted, and takes the thread for ended
        if so: that is right for Ctrl-C just after the lock was taken, and wrong for a
        kill or a time limit while the thread runs.
        """
        return False

    def begin(self, owner: greenlet) -> None:
        """Say whose it is; that one's next `acquire` finds it held already."""
        self._owner = owner
        self._held_for_owner = True

    def end(self) -> None:
        """The thread has ended."""
        self._owner = None
        with mutex:
            self._over = True
            self.counter = 1
            self._waiters.wake_all(None)
        if self._other is not None:
            self._other.end()


# The sentinels of running threads, by the greenlet that they run in.
_sentinels: dict[greenlet, Sentinel] = {}
_preparing: list[Sentinel] = []


def _set_sentinel() -> Sentinel:  # pragma: no cover - until Python 3.12
    """Return the lock that is released when the current thread ends."""
    if _preparing:
        return _preparing[-1]
    current = getcurrent()
    known = _sentinels.get(current)
    if known is not None and known._held_for_owner:
        return known
    # In a forked child, each `threading` module makes one for its new main thread.
    sentinel = _sentinels[current] = Sentinel()
    sentinel._other = known
    return sentinel


class _ThreadHandle:
    """What Python 3.13's `threading` knows of a thread: its number and its end."""

    def __init__(self) -> None:
        self.ident = 0
        self._event: Event[None] = Event()
        # Of a real thread: held until it has ended.
        self._alive: Any = None
        self._has_started = False
        self._process = os.getpid()

    def __repr__(self) -> str:
        return f"<_ThreadHandle object: ident={self.ident}>"

    def is_done(self) -> bool:
        """Whether the thread has ended, or is the parent process's."""
        return self._event.ready() or self._process != os.getpid()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread ends; None or a negative number for as long as it takes.

        Raises:
            RuntimeError: It has not started, or it is the current thread.
        """
        self._check_started()
        if timeout is not None and timeout < 0:
            timeout = None
        if self.is_done():
            return
        if self.ident == get_ident():
            raise RuntimeError("Cannot join current thread")
        try:
            self._event.wait(timeout)
        except BlockingInLoopError:
            if self._alive is None:
                raise
            # As it would in a program that is not patched.
            if self._alive.acquire(True, -1 if timeout is None else timeout):
                self._alive.release()

    def _begin(self) -> None:
        if self._has_started:
            raise RuntimeError("thread already started")
        self._has_started = True

    def _check_started(self) -> None:
        if not self._has_started:
            raise RuntimeError("thread not started")

    def _set_done(self) -> None:
        self._check_started()
        if not self._event.ready():
            self._event.send()
        if self._alive is not None:
            self._alive.release()


def _make_thread_handle(ident: int) -> _ThreadHandle:
    handle = _ThreadHandle()
    handle.ident = ident
    handle._begin()
    # It is for the main thread, which may be a green one: whoever forks is the child's.
    current = getcurrent()
    if ident == get_ident(current):
        _own(current, handle)
    return handle


def _own(thread: greenlet, handle: _ThreadHandle) -> None:
    thread.__dict__.setdefault("_thread_handles", []).append(handle)


def handle_name(thread: Any) -> str | None:
    """Return what a Thread calls its handle; None before Python 3.13."""
    for name in ("_os_thread_handle", "_handle"):
        if hasattr(thread, name):
            return name
    return None


def _new_handle(owner: Any) -> _ThreadHandle:
    handle = _ThreadHandle()
    name = handle_name(owner)
    if name is not None:
        setattr(owner, name, handle)
    return handle


# Those that the interpreter waits for before it ends (Python 3.13).
_not_daemons: set[_ThreadHandle] = set()


def wait_for_threads() -> None:
    """Wait for every green thread that is not a daemon."""
    while _not_daemons:
        next(iter(_not_daemons)).join()


def start_joinable_thread(
    function: Callable[[], Any],
    handle: object = None,
    daemon: bool = True,
) -> _ThreadHandle:
    """Start a thread that can be waited for by its handle (Python 3.13).

    Raises:
        RuntimeError: The handle is a started thread's.
    """
    if not isinstance(handle, _ThreadHandle):
        # None, or that of a Thread which was made before the patch.
        handle = _new_handle(getattr(function, "__self__", None))
    handle._begin()
    if not daemon:
        _not_daemons.add(handle)

    def ended() -> None:
        _not_daemons.discard(handle)
        handle._set_done()

    try:
        _start(function, (), {}, ended, handle)
    except BaseException as exc:
        # An interrupt may come out of the thread itself, which has begun then.
        if isinstance(exc, Exception) or not (
            handle.ident in _running or handle.is_done()
        ):
            _not_daemons.discard(handle)
            handle._has_started = False
        raise
    return handle


def start_new_thread(
    function: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
) -> int:
    """Start a thread and return its number; see `_thread.start_new_thread`.

    Raises:
        TypeError: `function` cannot be called, `args` is not a tuple, or `kwargs` is
            not a dictionary.
    """
    if not callable(function):
        raise TypeError("first arg must be callable")
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    if kwargs is not None and not isinstance(kwargs, dict):
        raise TypeError("optional 3rd arg must be a dictionary")
    return _start(function, args, kwargs or {}, None, None)


def _start(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    ended: Callable[[], None] | None,
    handle: _ThreadHandle | None,
) -> int:
    if existing_hub() is None and running_loop() is None and not in_main_thread():
        return _start_real(function, args, kwargs, ended, handle)
    if takes_from_a_real_queue(getattr(function, "__self__", None)) or (
        _is_to_be_real(function) and cannot_wait()
    ):
        return _start_real_and_wait(function, ended, handle)
    thread = GreenThread(hub_for_threads(), _run, (function, args, kwargs), {})
    # Not every one is started by the run queue.
    thread._hub.keep_track(thread)
    # A thread starts with an empty context; green threads of `spawn` copy theirs.
    thread.gr_context = Context()
    outlive_loop(thread)
    ident = get_ident(thread)
    if handle is not None:
        handle.ident = ident
    _announce(function, thread, ident)
    _running[ident] = thread._hub
    thread.link(_ended, ended, getattr(function, "__self__", None))
    if handle is not None:
        _own(thread, handle)
    _begin(function, thread)
    return ident


# How many threads may be inside their `start`, each started by the one before.
_DEEPEST_START = 20
_starting = 0


def _begin(function: Callable[..., Any], thread: GreenThread) -> None:
    """Have a new thread run; for a `Thread`, up to its first wait before `start` returns.

    Nobody else runs meanwhile: whoever starts a thread may hold a lock that coroutines
    use. In a coroutine or a portal `start` returns at once, and the thread runs when the
    loop does; so does an executor's, or when the `submit` that starts it holds no lock.
    """
    hub = thread._hub
    owner = getattr(function, "__self__", None)
    started = getattr(owner, "_started", None)
    if started is None:
        hub.wake(thread)
        return
    current: Any = getcurrent()
    if is_worker(owner):
        hub.wake(thread)
        started.set()
        if current in started_by_submit:
            started_by_submit[current].append(thread)
    elif _may_run_now(thread, current):
        _run_to_first_wait(thread, current)
    else:
        hub.wake(thread)
        if not _may_wait_for(thread, current):
            started.set()


def _may_run_now(thread: GreenThread, starter: Any) -> bool:
    return _starting < _DEEPEST_START and getattr(starter, "_hub", None) is thread._hub


def _may_wait_for(thread: GreenThread, starter: Any) -> bool:
    return starter is thread._hub.main and not hasattr(starter, "_nested_run")


def begin_next(thread: GreenThread) -> None:
    """Have a thread run to its first wait that was put on the run queue just now."""
    hub = thread._hub
    current = getcurrent()
    if _may_wait_for(thread, current):
        sleep()
    elif _may_run_now(thread, current):
        for queue in (hub.ready, hub.batch):
            if queue and queue[-1] is thread:
                queue.pop()
                _run_to_first_wait(thread, current)
                return


def _run_to_first_wait(thread: GreenThread, starter: greenlet) -> None:
    global _starting  # noqa: PLW0603 - one per process
    batch = thread._hub.batch
    # Where the thread goes when it waits, and when it ends without having waited.
    batch.appendleft(starter)
    thread.parent = starter
    _starting += 1
    try:
        if in_section():
            park_outside(thread.switch)
        else:
            thread.switch()
    finally:
        _starting -= 1
        if batch and batch[0] is starter:
            batch.popleft()
        if not thread.dead:
            thread.parent = thread._hub.loop_greenlet


def _run(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    try:
        finished(function, function(*args, **kwargs))
    except SystemExit:
        # Ends the thread, as in a real one.
        return
    except Exception as exc:  # noqa: BLE001 - it goes to the hook
        report_ignored(function, exc)
        return
    current: Any = getcurrent()
    interrupt = getattr(current, "_thread_interrupt", None)
    if interrupt is None:
        return
    hub = current._hub
    main = hub.main
    if main is None or current.parent is main:
        # A loop that somebody else runs: it is for them. Or it is still the main program
        # that runs, in `Thread.start`.
        raise interrupt
    # Before the main program goes on, and before whoever waits for this thread is told
    # that it has ended.
    throw = Throw(main, (interrupt,))
    if current.parent is not hub.loop_greenlet:
        hub.wake(throw)
    elif hub.batch:
        hub.batch.appendleft(throw)
    elif hub.ready:
        hub.ready.appendleft(throw)
    else:
        hub.wake(throw)


# The hubs of the green threads that were started here and have not ended, by number.
_running: dict[int, Hub] = {}


def running_hub(ident: int) -> Hub | None:
    """Return the hub of a green thread that was started here, unless it has ended."""
    return _running.get(ident)


def _count() -> int:
    """Return how many threads there are beside the main one."""
    return len(_running)


def running_count() -> int:
    """Return how many threads that were started here have not ended."""
    return len(_running)


def _ended(thread: greenlet, ended: Callable[[], None] | None, owner: Any) -> None:
    _running.pop(get_ident(thread), None)
    _forget(thread, ended, owner)


def _forget(
    thread: greenlet, ended: Callable[[], None] | None = None, owner: Any = None
) -> None:
    sentinel = _sentinels.pop(thread, None)
    if sentinel is not None:  # pragma: no cover - until Python 3.12
        sentinel.end()
    bootstrap = getattr(owner, "_bootstrap", None)
    if bootstrap is not None:
        module = bootstrap.__func__.__globals__
        # Still among those about to begin, if it was killed before it did.
        module["_limbo"].pop(owner, None)
        if "_shutdown_locks" in module:  # pragma: no cover - until Python 3.12
            module["_shutdown_locks"].discard(sentinel)
        if not owner._started.is_set():
            owner._started.set()
    if ended is not None:
        ended()


def forget() -> None:
    """Drop the current thread's sentinel, which is nobody's."""
    _forget(getcurrent())


def _announce(function: Callable[..., Any], thread: GreenThread, ident: int) -> None:
    """Do for a `threading.Thread` what it would do itself when it begins to run."""
    owner: Any = getattr(function, "__self__", None)
    if getattr(owner, "_started", None) is None:
        thread._is_foreign = True  # type: ignore[attr-defined]
        return
    if hasattr(owner, "_set_tstate_lock"):  # pragma: no cover - until Python 3.12
        sentinel = Sentinel()
        _preparing.append(sentinel)
        try:
            owner._set_tstate_lock()
        finally:
            _preparing.pop()
        sentinel.begin(thread)
        _sentinels[thread] = sentinel
    owner._ident = ident
    if hasattr(owner, "_set_native_id"):
        owner._set_native_id()


# Threads that are joined at the end of a ``with`` block, in a coroutine as elsewhere.
_REAL_FOR_COROUTINES = {"concurrent.futures.process"}


def _is_to_be_real(function: Callable[..., Any]) -> bool:
    owner = getattr(function, "__self__", None)
    return type(owner).__module__ in _REAL_FOR_COROUTINES


def _start_real_and_wait(
    function: Callable[..., Any],
    ended: Callable[[], None] | None,
    handle: _ThreadHandle | None,
) -> int:
    """Start a real thread for a `Thread` of a coroutine's; return when it has begun."""
    began = _originals.allocate_lock()
    began.acquire()
    event = function.__self__._started  # type: ignore[attr-defined]

    def begin() -> None:
        del event.set
        event.set()
        began.release()

    # `Thread.start` would wait for it, in a green way.
    event.set = begin
    if handle is not None:
        handle._alive = _originals.allocate_lock()
        handle._alive.acquire()
    ident = _start_real(function, (), {}, ended, handle)
    began.acquire()
    return ident


def _start_real(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    ended: Callable[[], None] | None,
    handle: _ThreadHandle | None,
) -> int:
    def body() -> None:
        if handle is not None:
            handle.ident = _native_ident()
        try:
            function(*args, **kwargs)
        finally:
            _forget(getcurrent(), ended, getattr(function, "__self__", None))

    return _originals.start_new_thread(body, ())


def _after_fork_in_child() -> None:
    # Of all threads only the one that forked goes on.
    current = getcurrent()
    sentinel = _sentinels.get(current)
    _sentinels.clear()
    if sentinel is not None:  # pragma: no cover - until Python 3.12
        _sentinels[current] = sentinel
    ident = get_ident()
    for other in _running.keys() - {ident}:
        del _running[other]
    handles: list[_ThreadHandle] = current.__dict__.get("_thread_handles", [])
    for handle in handles:
        handle._process = os.getpid()
    _not_daemons.intersection_update(handles)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
