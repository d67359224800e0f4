"""The names of the `threading` module that make it green.

They depend on the module's own state (who is active, which class is Thread), so they
are made for a namespace: that of `greenio.green.threading`, or that of the live module.
The classes Thread, Condition, Event and so on stay the module's own: they are Python
code over these names.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable
from typing import Any

from .._greenthread.join import joinall
from .._greenthread.thread import GreenThread
from .._kernel.current import acting_greenlet
from ..corolocal import local
from . import threads as _threads
from .locks import ThreadLock, ThreadRLock
from .thread_failures import note_failure


def green_names(namespace: dict[str, Any]) -> dict[str, Any]:
    """Return the green names for a `threading` namespace, without setting them."""
    current_thread = _make_current_thread(namespace)
    names: dict[str, Any] = {
        "Lock": ThreadLock,
        "RLock": ThreadRLock,
        "_CRLock": ThreadRLock,
        "_LockType": ThreadLock,
        "_ThreadHandle": _threads._ThreadHandle,
        "_allocate_lock": ThreadLock,
        "_maintain_shutdown_locks": _maintain_shutdown_locks,
        # Asked for by the main thread itself, which is a green one after it forks.
        "_get_main_thread_ident": _threads.get_ident,
        "_make_invoke_excepthook": _make_invoke(namespace["_make_invoke_excepthook"]),
        "_make_thread_handle": _threads._make_thread_handle,
        "_set_sentinel": _threads._set_sentinel,
        "_start_joinable_thread": _threads.start_joinable_thread,
        "_start_new_thread": _threads.start_new_thread,
        "get_ident": _threads.get_ident,
        "local": local,
    }
    if namespace.get("_set_name") is not None:
        names["_set_name"] = _threads.set_name
    if "_thread_local_info" in namespace:
        # What it keeps goes when the thread ends.
        names["_thread_local_info"] = local()
    if "_thread_shutdown" in namespace:
        names["_thread_shutdown"] = _make_thread_shutdown(namespace["_thread_shutdown"])
    names = {name: value for name, value in names.items() if name in namespace}
    return {**names, "current_thread": current_thread}


def _make_invoke(
    original: Callable[[], Callable[[Any], None]],
) -> Callable[[], Callable[[Any], None]]:
    def _make_invoke_excepthook() -> Callable[[Any], None]:
        return note_failure(original())

    return _make_invoke_excepthook


def _maintain_shutdown_locks() -> None:
    # The locks of green threads leave the list when their threads end. Going through
    # all of them whenever a thread starts and ends makes many threads slow.
    return


def _make_thread_shutdown(original: Callable[[], None]) -> Callable[[], None]:
    def _thread_shutdown() -> None:
        _threads.wait_for_threads()
        original()

    return _thread_shutdown


# What `_Spawned` stands before has the rest.
_Thread: Any = object


class _Spawned(_Thread):  # type: ignore[misc]
    """The `threading.Thread` of a green thread that was spawned."""

    # What `Thread.__init__` sets, and the process that it was made in. All objects share it,
    # since nobody starts them: to make it, with its locks, takes longer than to start a
    # green thread, and to log one line asks for the object.
    _common: tuple[int, dict[str, Any]] = (0, {})

    def __init__(self, green_thread: GreenThread, number: int) -> None:
        self.__dict__.update(self._common[1])
        self._name = f"GreenThread-{number}"
        self._ident = _threads.get_ident(green_thread)
        if hasattr(self, "_set_native_id"):
            self._set_native_id()
        self._green_thread = weakref.ref(green_thread)

    def is_alive(self) -> bool:
        green_thread = self._green_thread()
        return green_thread is not None and not green_thread.dead

    def join(self, timeout: float | None = None) -> None:
        green_thread = self._green_thread()
        if green_thread is acting_greenlet():
            raise RuntimeError("cannot join current thread")
        if green_thread is not None:
            joinall([green_thread], timeout=timeout)

    # What eventlet's has.

    @property
    def _g(self) -> GreenThread | None:
        return self._green_thread()

    def start(self) -> None:
        """Nothing: it runs already."""

    def isAlive(self) -> bool:  # noqa: N802
        return self.is_alive()

    def is_daemon(self) -> bool:
        return True

    def get_name(self) -> str:
        return self.name

    def set_name(self, name: str) -> None:
        self.name = name


def _make_current_thread(namespace: dict[str, Any]) -> Callable[[], Any]:
    """Make `current_thread` for a module.

    A green thread that `spawn` started gets a Thread object that lives and ends with
    it and is in no list: there may be a hundred thousand of them.
    """
    thread_class: Any = namespace["Thread"]
    counter = itertools.count(1)
    original_dummy = namespace["_DummyThread"]

    class _GreenletThread(_Spawned, thread_class):  # type: ignore[misc]
        __doc__ = _Spawned.__doc__

    def common() -> dict[str, Any]:
        model = thread_class(name="GreenThread", daemon=True)
        # The list of what has to be put right in a forked child.
        namespace["_dangling"].discard(model)
        model._started.set()
        return dict(vars(model))

    def current_thread() -> Any:
        """Return the Thread object of whoever calls."""
        active = namespace["_active"]
        current = acting_greenlet()
        ident = _threads.get_ident(current)
        thread = active.get(ident)
        if thread is not None:
            return thread
        if isinstance(current, GreenThread):
            if hasattr(current, "_is_foreign"):
                # Started by `_thread`. It is in the list, from now on until it ends.
                current.link(lambda _thread: active.pop(ident, None))
                return original_dummy()
            threads = current.__dict__.setdefault("_thread_objects", {})
            key = id(namespace)
            if key not in threads:
                process = os.getpid()
                if _GreenletThread._common[0] != process:
                    _GreenletThread._common = (process, common())
                threads[key] = _GreenletThread(current, next(counter))
            return threads[key]
        return _foreign(ident) or original_dummy()

    current_thread.__module__ = namespace["__name__"]
    return current_thread


def _foreign(ident: int) -> Any:
    """A real thread that the original module started: an executor's worker, say."""
    from .original_modules import original_threads

    return original_threads().get(ident)
