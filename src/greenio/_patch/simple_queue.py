"""`queue.SimpleQueue`, waiting green.

The one of the standard library is written in C and waits there. Like that one, and
unlike `queue.Queue`, this may be used in finalizers and signal handlers: `put` takes no
lock that the interrupted code might hold.
"""

from __future__ import annotations

from collections import deque
from types import GenericAlias
from typing import Any

from .._std.originals import QueueEmpty
from .._sync.semaphore import Semaphore


class SimpleQueue:
    """An unbounded queue; see `queue.SimpleQueue`."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._available = Semaphore(0)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an item in. It never waits, whatever the other arguments say."""
        self._items.append(item)
        self._available.release()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item out.

        Args:
            block: Whether to wait for one.
            timeout: Seconds to wait at most.

        Raises:
            queue.Empty: There was none, in time.
            ValueError: It was to wait, and `timeout` is negative.
        """
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        if not self._available.acquire(block, timeout if block else None):
            raise QueueEmpty
        return self._items.popleft()

    def put_nowait(self, item: Any) -> None:
        """Put an item in; the same as `put`."""
        self.put(item)

    def get_nowait(self) -> Any:
        """Take the oldest item out without waiting; see `get`."""
        return self.get(block=False)

    def empty(self) -> bool:
        """Whether there is no item now."""
        return not self._items

    def qsize(self) -> int:
        """How many items there are now."""
        return len(self._items)

    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias:
        return GenericAlias(cls, item)


SimpleQueue.__module__ = "queue"
