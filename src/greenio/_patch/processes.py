"""The lock and the connections of `multiprocessing`.

The lock would stop the whole loop until it is free. All of that package's locks, queues,
events and pools stand on a semaphore that processes share. Nothing becomes ready when one
is released, so green threads look again and again.

Starting a process and asking a manager are a few words with another process, which
answers at once. A coroutine may do that, and holds up the loop meanwhile, as it does
without greenio. What waits until somebody does something (`wait`, `acquire`, `join`) it
may not: that somebody may be a green thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from types import FunctionType, MappingProxyType
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from .._greenthread.sleeping import sleep
from .._kernel.current import existing_hub, held_up, hub_to_park_in
from .._std.interpreter_exit import is_exiting
from .._std.originals import monotonic
from .import_hooks import when_imported

_F = TypeVar("_F", bound=Callable[..., Any])

_RECURSIVE = 0
# From the first pause between two looks to the longest, in seconds.
_PAUSE, _LONGEST_PAUSE = 0.001, 0.05

# What managers' objects do that waits for somebody, unless told not to.
_WAITING = frozenset({"acquire", "join", "wait"})


def let_coroutines_use_processes() -> None:
    """Let coroutines start processes and talk with managers."""
    when_imported("multiprocessing.process", _let_start)
    when_imported("multiprocessing.managers", _let_ask)


def _let_start(module: Any) -> None:
    module.BaseProcess.start = _holding_up(module.BaseProcess.start)


def _let_ask(module: Any) -> None:
    # All questions go through these.
    module.dispatch = _holding_up(module.dispatch)
    for serializer, (listener, client) in module.listener_client.items():
        module.listener_client[serializer] = listener, _holding_up(client)
    manager, proxy = module.BaseManager, module.BaseProxy
    manager.start = _holding_up(manager.start)
    manager._finalize_manager = staticmethod(_holding_up(manager._finalize_manager))
    call = _holding_up(proxy._callmethod)

    @wraps(call)
    def _callmethod(
        self: Any, methodname: str, args: Any = (), kwds: Any = MappingProxyType({})
    ) -> Any:
        if _may_wait(self._token.typeid, methodname, args, kwds):
            # Refused before it is asked: an answer that nobody read would be taken for
            # that to the next question.
            hub_to_park_in(f"{self._token.typeid}.{methodname}()")
        return call(self, methodname, args, dict(kwds))

    proxy._callmethod = _callmethod


def _may_wait(kind: str, method: str, args: Any, kwds: Any) -> bool:
    waiting = method in _WAITING or (method == "get" and kind.endswith("Queue"))
    told = (*args[:1], *(kwds.get(name) for name in ("block", "blocking")))
    return waiting and not any(value is False for value in told)


def _holding_up(function: _F) -> _F:
    @wraps(function)
    def green(*args: Any, **kwargs: Any) -> Any:
        with held_up():
            return function(*args, **kwargs)

    return green  # type: ignore[return-value]


def green_connections(names: dict[Any, Any]) -> None:
    """Have connections use green functions, if their module came before the patch.

    Args:
        names: The green functions by the plain ones.
    """
    module = sys.modules.get("multiprocessing.connection")
    for function in vars(getattr(module, "Connection", None) or object).values():
        # They are defaults of parameters there, for the sake of speed.
        defaults = getattr(function, "__defaults__", None)
        if isinstance(function, FunctionType) and defaults:
            function.__defaults__ = tuple(names.get(d, d) for d in defaults)


# What `_Semaphore` stands before has the rest.
_Native: Any = object


class _Semaphore(_Native):  # type: ignore[misc]
    """A semaphore that processes share, as `multiprocessing` makes them."""

    # Which of this OS thread's lines of execution has it.
    _owner: greenlet | None = None

    # Finalizers use it until the very end: those of pools, say.

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take it; see `multiprocessing.Lock.acquire`."""
        if is_exiting():
            return bool(super().acquire(block, timeout))
        if existing_hub() is None:
            # Nobody else runs here, or this is a real thread.
            return self._taken(super().acquire(block, timeout))
        if self._taken(self._try()):
            return True
        return block and self._wait(timeout)

    def _wait(self, timeout: float | None) -> bool:
        # Nobody tells a process that another one has released it.
        deadline = None if timeout is None else monotonic() + timeout
        pause = _PAUSE
        while True:
            if deadline is not None:
                left = deadline - monotonic()
                if left <= 0:
                    return False
                pause = min(pause, left)
            sleep(pause)
            if self._taken(self._try()):
                return True
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _try(self) -> bool:
        if (
            self.kind == _RECURSIVE
            and super()._is_mine()
            and self._owner is not getcurrent()
        ):
            # This OS thread's, but another green thread's.
            return False
        return bool(super().acquire(False))

    def _taken(self, taken: bool) -> bool:
        if taken:
            self._owner = getcurrent()
        return taken

    def _is_mine(self) -> bool:
        return super()._is_mine() and (
            self.kind != _RECURSIVE or self._owner is getcurrent()
        )

    def release(self) -> None:
        """Give it back; see `multiprocessing.Lock.release`."""
        if is_exiting():
            super().release()
            return
        if self.kind == _RECURSIVE and not self._is_mine():
            raise AssertionError(
                "attempt to release recursive lock not owned by thread"
            )
        super().release()
        if not super()._is_mine():
            self._owner = None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def green_semaphore(native: Any) -> type:
    """Return the green form of `_multiprocessing.SemLock`."""

    class SemLock(_Semaphore, native):  # type: ignore[misc]
        __doc__ = _Semaphore.__doc__

    SemLock.__module__ = native.__module__
    return SemLock
