"""The main thread, and the end of the interpreter, in a patched `threading`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import threads as _threads
from .original_modules import finish_original_threads


def adopt_main_thread(namespace: dict[str, Any]) -> Callable[[], None]:
    """Have green threads that join the main thread wait without blocking it.

    Returns:
        What puts that back.
    """
    main = namespace["_main_thread"]
    name = _threads.handle_name(main)
    state = "_tstate_lock" if name is None else name
    former = getattr(main, state)

    def put_back() -> None:
        setattr(main, state, former)
        if name is None and former is not None:  # pragma: no cover - until Python 3.12
            namespace["_shutdown_locks"].add(former)

    if name is not None:
        setattr(main, name, _threads._make_thread_handle(main.ident))
    elif main._tstate_lock is not None:  # pragma: no cover - until Python 3.12
        namespace["_shutdown_locks"].discard(main._tstate_lock)
        main._tstate_lock = lock = _threads.Sentinel()
        lock.acquire()
    return put_back


def make_shutdown(namespace: dict[str, Any]) -> Callable[[], None]:
    """Make the function by which the interpreter waits for threads at its end.

    It waits for the green ones first, while they can run, and then for the real ones.
    """

    def _shutdown() -> None:
        namespace["_SHUTTING_DOWN"] = True
        atexits = namespace["_threading_atexits"]
        while atexits:
            atexits.pop()()
        _end(namespace["_main_thread"])
        locks: set[Any] = namespace.get("_shutdown_locks", set())
        while green := [lock for lock in locks if isinstance(lock, _threads.Sentinel)]:
            _join(green[0])
            locks.discard(green[0])
        _threads.wait_for_threads()
        finish_original_threads()
        while locks:
            _join(locks.pop())
        if "_thread_shutdown" in namespace:
            namespace["_thread_shutdown"]()

    return _shutdown


def _end(main: Any) -> None:
    """Tell those who have joined the main thread that it has ended."""
    name = _threads.handle_name(main)
    if name is not None:
        getattr(main, name)._set_done()
        return
    lock = main._tstate_lock  # pragma: no cover - until Python 3.12
    if lock is not None:  # pragma: no cover - until Python 3.12
        main._is_stopped, main._tstate_lock = True, None
        if isinstance(lock, _threads.Sentinel):
            lock.end()
        elif lock.locked():
            lock.release()


def _join(lock: Any) -> None:
    lock.acquire()
    lock.release()
