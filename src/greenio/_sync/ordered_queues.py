"""Queues that give their items out in another order than they came in."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TypeVar

from .queue import Queue

T = TypeVar("T")


class LifoQueue(Queue[T]):
    """A `Queue` that gives the item out first that was put in last."""

    def _init(self, maxsize: int | None) -> None:
        self.queue = []

    def _put(self, item: T) -> None:
        self.queue.append(item)

    def _get(self) -> T:
        return self.queue.pop()  # type: ignore[no-any-return]

    def _unget(self, item: T) -> None:
        self.queue.append(item)


class PriorityQueue(Queue[T]):
    """A `Queue` that gives the smallest item out first.

    Items are compared with ``<``; pairs of a number and a datum are usual.
    """

    def _init(self, maxsize: int | None) -> None:
        self.queue = []

    def _put(self, item: T) -> None:
        try:
            heappush(self.queue, item)
        except Exception:
            # It was not comparable, but is in the list already.
            self._remove(item)
            raise

    def _get(self) -> T:
        return heappop(self.queue)  # type: ignore[no-any-return]

    def _unget(self, item: T) -> None:
        try:
            heappush(self.queue, item)
        except Exception:  # noqa: S110 - it is in, if not in its place
            pass

    def _remove(self, item: T) -> bool:
        if not super()._remove(item):
            return False
        heapify(self.queue)
        return True
