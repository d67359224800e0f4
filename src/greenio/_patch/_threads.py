"""What `_thread` offers, with green threads for threads.

A thread started where a hub is (the main thread, a loop) is a green thread of that
hub. One started in a real thread without a hub (an executor's worker) is a real
thread: a green one would have nobody to run it.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from contextvars import Context
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from .._core import _originals
from .._core._current import existing_hub, get_hub
from .._core._greenthread import GreenThread
from .._core._hub import Throw
from .._core._originals import get_ident as _native_ident
from .._core._originals import in_main_thread
from ..event import Event
from ._locks import ThreadLock

# Identifiers are never used twice. The system's are addresses or small numbers, so
# these collide with neither.
_idents = itertools.count(1 << 40)


def get_ident(gr: greenlet | None = None) -> int:
    """Return the number of the current thread.

    A green thread has one of its own. Everything else that runs in an OS thread has
    that thread's.

    Args:
        gr: Whose number to return, instead of the current one's.
    """
    current = getcurrent() if gr is None else gr
    if isinstance(current, GreenThread):
        try:
            return current._thread_ident  # type: ignore[attr-defined, no-any-return]
        except AttributeError:
            ident = current._thread_ident = next(_idents)  # type: ignore[attr-defined]
            return ident
    return _native_ident()


class Sentinel(ThreadLock):
    """A lock that is held for as long as its thread lives (until Python 3.12).

    `threading` has a thread make its own when it begins. Ours is made by whoever starts
    the thread, so that `start` need not wait; the thread's own first `acquire` then
    finds it held already.
    """

    def __init__(self) -> None:
        super().__init__()
        self._owner: greenlet | None = None
        self._held_for_owner = False

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take the lock."""
        if self._held_for_owner and getcurrent() is self._owner:
            self._held_for_owner = False
            return True
        return super().acquire(blocking, timeout)

    def begin(self, owner: greenlet) -> None:
        """Say whose it is; that one's next `acquire` finds it held already."""
        self._owner = owner
        self._held_for_owner = True

    def end(self) -> None:
        """The thread has ended."""
        self._owner = None
        if self.locked():
            self.release()


# The sentinels of running threads, by the greenlet that they run in.
_sentinels: dict[greenlet, Sentinel] = {}
_preparing: list[Sentinel] = []


def _set_sentinel() -> Sentinel:
    """Return the lock that is released when the current thread ends."""
    if _preparing:
        return _preparing[-1]
    return _sentinels.setdefault(getcurrent(), Sentinel())


class _ThreadHandle:
    """What Python 3.13's `threading` knows of a thread: its number and its end."""

    def __init__(self) -> None:
        self.ident = 0
        self._event: Event[None] = Event()

    def __repr__(self) -> str:
        return f"<_ThreadHandle object: ident={self.ident}>"

    def is_done(self) -> bool:
        """Whether the thread has ended."""
        return self._event.ready()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread ends; None or a negative number for as long as it takes."""
        if timeout is not None and timeout < 0:
            timeout = None
        self._event.wait(timeout)

    def _set_done(self) -> None:
        if not self._event.ready():
            self._event.send()


def _make_thread_handle(ident: int) -> _ThreadHandle:
    handle = _ThreadHandle()
    handle.ident = ident
    return handle


# Those that the interpreter waits for before it ends (Python 3.13).
_not_daemons: set[_ThreadHandle] = set()


def wait_for_threads() -> None:
    """Wait for every green thread that is not a daemon."""
    while _not_daemons:
        next(iter(_not_daemons)).join()


def start_joinable_thread(
    function: Callable[[], Any],
    handle: _ThreadHandle | None = None,
    daemon: bool = True,
) -> _ThreadHandle:
    """Start a thread that can be waited for by its handle (Python 3.13)."""
    if handle is None:
        handle = _ThreadHandle()
    if not daemon:
        _not_daemons.add(handle)

    def ended() -> None:
        _not_daemons.discard(handle)
        handle._set_done()

    try:
        _start(function, (), {}, ended, handle)
    except BaseException:
        _not_daemons.discard(handle)
        raise
    return handle


def start_new_thread(
    function: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    /,
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
    if existing_hub() is None and not in_main_thread():
        return _start_real(function, args, kwargs, ended, handle)
    thread = GreenThread(get_hub(), _run, (function, args, kwargs), {})
    # A thread starts with an empty context; green threads of `spawn` copy theirs.
    thread.gr_context = Context()
    ident = get_ident(thread)
    if handle is not None:
        handle.ident = ident
    _announce(function, thread, ident)
    _running.add(ident)
    thread.link(_ended, ended, getattr(function, "__self__", None))
    thread._hub.wake(thread)
    return ident


def _run(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    try:
        function(*args, **kwargs)
    except SystemExit:
        # Ends the thread, as in a real one.
        return
    current: Any = getcurrent()
    interrupt = getattr(current, "_thread_interrupt", None)
    if interrupt is None:
        return
    main = current._hub.main
    if main is None:
        # A loop that somebody else runs: it is for them.
        raise interrupt
    # Before whoever waits for this thread is told that it has ended.
    current._hub.wake(Throw(main, (interrupt,)))


# The numbers of the green threads that were started here and have not ended.
_running: set[int] = set()


def _count() -> int:
    """Return how many threads there are beside the main one."""
    return len(_running)


def _ended(thread: greenlet, ended: Callable[[], None] | None, owner: Any) -> None:
    _running.discard(get_ident(thread))
    _forget(thread, ended, owner)


def _forget(
    thread: greenlet, ended: Callable[[], None] | None = None, owner: Any = None
) -> None:
    sentinel = _sentinels.pop(thread, None)
    if sentinel is not None:
        sentinel.end()
    bootstrap = getattr(owner, "_bootstrap", None)
    if bootstrap is not None:
        module = bootstrap.__func__.__globals__
        # Still among those about to begin, if it was killed before it did.
        module["_limbo"].pop(owner, None)
        if "_shutdown_locks" in module:
            module["_shutdown_locks"].discard(sentinel)
    if ended is not None:
        ended()


def forget() -> None:
    """Drop the current thread's sentinel, which is nobody's."""
    _forget(getcurrent())


def _announce(function: Callable[..., Any], thread: GreenThread, ident: int) -> None:
    """Do for a `threading.Thread` what it would do itself when it begins to run.

    `Thread.start` waits until the thread runs. In a coroutine it could not, and it need
    not: a green thread that was started will run.
    """
    owner = getattr(function, "__self__", None)
    started = getattr(owner, "_started", None)
    if owner is None or started is None:
        return
    if hasattr(owner, "_set_tstate_lock"):
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
    started.set()


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


def note_failure(invoke: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap what a `threading.Thread` calls when its `run` has failed.

    A green thread that was killed has not failed, and an interrupt is not its own: it
    goes on to the main thread.
    """

    def invoke_excepthook(thread: Any) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, GreenletExit):
            return
        if isinstance(error, KeyboardInterrupt) and in_main_thread():
            getcurrent()._thread_interrupt = error  # type: ignore[attr-defined]
            return
        invoke(thread)

    return invoke_excepthook
