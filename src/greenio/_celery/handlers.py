"""Celery's signal handlers, each in a green thread.

A handler of Python's runs on top of whatever is running, which may be the loop itself. Celery's
handler of SIGQUIT waits: for tasks to end, for the broker's answer when it stops consuming. In a
green thread it may.

What it raises, to end the worker at once, ends the main program as ever: it is a SystemExit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import platforms

from .._greenthread.spawning import spawn

if TYPE_CHECKING:
    from .pool import TaskPool

# How Celery names the handler that ends running tasks.
_COLD = "worker_Cold"


def run_handlers_green(pool: TaskPool) -> None:
    """Have the handlers that Celery has set, and sets from now on, run in green threads."""
    table = platforms.signals
    if type(table) is platforms.Signals:
        table.__class__ = _GreenSignals
    table.pool = pool
    for name in ("SIGTERM", "SIGINT", "SIGQUIT"):
        handler = platforms._signal.getsignal(table.signum(name))
        if getattr(handler, "__name__", "").startswith("worker_"):
            table[name] = handler


class _GreenSignals(platforms.Signals):  # type: ignore[misc]
    """Celery's table of signal handlers."""

    pool: TaskPool

    def __setitem__(self, name: str, handler: Any) -> None:
        if callable(handler) and getattr(handler, "__name__", "").startswith("worker_"):
            handler = self._in_green_thread(handler)
        super().__setitem__(name, handler)

    def _in_green_thread(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def start(number: int, _frame: Any) -> None:
            # The frame is not handed on: it would keep what was interrupted.
            spawn(run, number)

        def run(number: int) -> None:
            if handler.__name__ == _COLD:
                # What is started while it waits would only be killed.
                self.pool.hold()
            handler(number, None)

        return start
