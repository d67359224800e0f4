"""Celery's stacks of tasks and requests, kept by context instead of by greenlet.

Celery keeps what ``self.request`` and `current_task` are by greenlet. An `async def` task is
not one greenlet: its coroutine runs in a portal, what it gathers in the loop's own greenlet,
and coroutines of many tasks take turns there. What they all have is the `contextvars`
context of their task. Each change makes a new tuple, so a copy of the context, which what the
task starts has, sees the task that started it and is not disturbed by what others push.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from celery.utils.threads import _LocalStack


class ContextStack(_LocalStack):  # type: ignore[misc]
    """A `LocalStack` in the current context."""

    _items: ContextVar[tuple[Any, ...]]

    @classmethod
    def adopt(cls, stack: Any) -> None:
        """Make a stack of Celery's one, if it is not yet and can be."""
        if type(stack) is _LocalStack:
            stack._items = ContextVar("stack", default=())
            stack.__class__ = cls

    def push(self, obj: Any) -> list[Any]:
        """Put something on top."""
        items = (*self._items.get(), obj)
        self._items.set(items)
        return list(items)

    def pop(self) -> Any:
        """Take the topmost thing off; None if there is none."""
        items = self._items.get()
        if not items:
            return None
        self._items.set(items[:-1])
        return items[-1]

    def __len__(self) -> int:
        return len(self._items.get())

    def __release_local__(self) -> None:
        self._items.set(())

    @property
    def stack(self) -> list[Any]:
        """All of it, the topmost last."""
        return list(self._items.get())

    @property
    def top(self) -> Any:
        """The topmost thing; None if there is none."""
        items = self._items.get()
        return items[-1] if items else None
