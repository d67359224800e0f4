"""Queues that give their items out in another order than they came in."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any

from .._std.type_variables import Item
from .queue import Queue


class LifoQueue(Queue[Item]):
    """A `Queue` that gives the item out first that was put in last."""

    def _init(self, maxsize: int | None) -> None:
        self.queue: Any = []

    def _put(self, item: Item) -> None:
        self.queue.append(item)

    def _get(self) -> Item:
        return self.queue.pop()  # type: ignore[no-any-return]

    def _unget(self, item: Item) -> None:
        self.queue.append(item)


class PriorityQueue(Queue[Item]):
    """A `Queue` that gives the smallest item out first.

    Items are compared with ``<``; pairs of a number and a datum are usual.
    """

    def _init(self, maxsize: int | None) -> None:
        self.queue: Any = []

    # With what they are given beside, since eventlet's subclasses pass it on.

    def _put(self, item: Item, heappush: Any = heappush) -> None:
        try:
            heappush(self.queue, item)
        except Exception:
            # It was not comparable, but is in the list already.
            self._remove(item)
            raise

    def _get(self, heappop: Any = heappop) -> Item:
        return heappop(self.queue)  # type: ignore[no-any-return]

    def _unget(self, item: Item) -> None:
        try:
            heappush(self.queue, item)
        except Exception:  # noqa: S110 - it is in, if not in its place
            pass

    def _remove(self, item: Item) -> bool:
        if not super()._remove(item):
            return False
        heapify(self.queue)
        return True
