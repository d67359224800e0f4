"""The lock and the connections of `multiprocessing`.

The lock would stop the whole loop until it is free. All of that package's locks, queues, events and pools stand on a semaphore that processes
share. Nothing becomes ready when one is released, so green threads look again and again.
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any

from greenlet import getcurrent, greenlet

from .._core._current import existing_hub
from .._core._ending import is_the_end
from .._core._greenthread import sleep
from .._core._originals import monotonic

_RECURSIVE = 0
# From the first pause between two looks to the longest, in seconds.
_PAUSE, _LONGEST_PAUSE = 0.001, 0.05


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


def green_semaphore(native: Any) -> type:
    """Return the green form of `_multiprocessing.SemLock`."""

    class SemLock(native):  # type: ignore[misc]
        """A semaphore that processes share, as `multiprocessing` makes them."""

        # Which of this OS thread's lines of execution has it.
        _owner: greenlet | None = None

        # Finalizers use it until the very end: those of pools, say.

        def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
            """Take it; see `multiprocessing.Lock.acquire`."""
            if is_the_end():
                return bool(super().acquire(block, timeout))
            if existing_hub() is None:
                # Nobody else runs here, or this is a real thread.
                return self._taken(super().acquire(block, timeout))
            if self._taken(self._try()):
                return True
            if not block:
                return False
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
            if is_the_end():
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

    SemLock.__module__ = native.__module__
    return SemLock
