"""`Waiter`: one greenlet that waits for another to switch to it, as eventlet's queues use.

greenio's own queues have waiters of another kind; these are for programs that use
eventlet's.
"""

from __future__ import annotations

from typing import Any

from greenlet import getcurrent

from .._kernel.waiters import new_waiter
from .._loop.reraise import exception_from


class Waiter:
    """Hands a value, or an exception, from one greenlet to another that waits for it.

    It is true while somebody waits.

    Attributes:
        greenlet: Who waits; None for nobody.
    """

    __slots__ = ("_outcome", "_waiter", "greenlet")

    def __init__(self) -> None:
        self.greenlet: Any = None
        self._waiter: Any = None
        self._outcome: tuple[Any, tuple[Any, ...] | None] | None = None

    def __bool__(self) -> bool:
        return self.greenlet is not None

    def __repr__(self) -> str:
        waiting = " waiting" if self.waiting else ""
        return f"<{type(self).__name__} at {id(self):#x}{waiting}>"

    @property
    def waiting(self) -> bool:
        """Whether somebody waits."""
        return self.greenlet is not None

    def switch(self, value: Any = None) -> None:
        """Give a value to who waits; without anybody, it is lost."""
        self._wake((value, None))

    def throw(self, *throw_args: Any) -> None:
        """Raise an exception in who waits."""
        self._wake((None, throw_args))

    def _wake(self, outcome: tuple[Any, tuple[Any, ...] | None]) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done:
            self._outcome = outcome
            waiter.wake()

    def wait(self) -> Any:
        """Wait for the value.

        Raises:
            AssertionError: Somebody waits already.
        """
        if self.greenlet is not None:
            raise AssertionError(f"{self.greenlet!r} waits here already")
        self._waiter = new_waiter("Waiter.wait()")
        self.greenlet = getcurrent()
        try:
            self._waiter.block()
            assert self._outcome is not None
            value, error = self._outcome
        finally:
            self._waiter.done = True
            self._waiter = self.greenlet = self._outcome = None
        if error is not None:
            raise exception_from(error)
        return value


class ItemWaiter(Waiter):
    """A waiter that has an item to give away.

    Attributes:
        item: The item.
        block: Whether it waits until the item is taken.
    """

    __slots__ = ("block", "item")

    def __init__(self, item: Any, block: bool) -> None:
        super().__init__()
        self.item: Any = item
        self.block: bool = block
