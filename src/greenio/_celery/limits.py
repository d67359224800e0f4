"""What ends a task early, as the task sees it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded


class SoftLimit(SoftTimeLimitExceeded, asyncio.CancelledError):  # type: ignore[misc]
    """The soft time limit, raised in a coroutine.

    asyncio's own code expects nothing but a CancelledError where it waits: a `TaskGroup` that
    gets another exception leaves its tasks behind. So it is one, and a
    `SoftTimeLimitExceeded` for the task's ``except``. Outside of the coroutine it is nothing
    but that.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return SoftTimeLimitExceeded, self.args

    def plain(self) -> SoftTimeLimitExceeded:
        """Return it as Celery knows it."""
        traceback: TracebackType | None = self.__traceback__
        error = SoftTimeLimitExceeded(*self.args).with_traceback(traceback)
        error.__cause__ = self.__cause__
        error.__suppress_context__ = True
        return error


SoftLimit.__name__ = SoftLimit.__qualname__ = SoftTimeLimitExceeded.__name__
