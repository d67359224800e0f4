"""Libraries that would go wrong by what they know of event loops or of eventlet.

Where a loop runs, Django and anyio refuse to wait, since they would block it. Under green
code one always runs, and waiting there blocks nobody. What they mean is whether the
caller is a coroutine.

oslo.log replaces the locks of logging, since eventlet's do not work between OS threads.
These do, and what it would use on a hub on asyncio makes a Task for each record, cannot
be used by coroutines and is no context manager, as logging's own lock is.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent

from .._kernel.current import hub_to_park_in
from .._std.errors import BlockingInLoopError
from .import_hooks import when_imported


def tell_libraries() -> None:
    """Have Django and anyio take green code for what it is, and oslo.log its locks."""
    when_imported("django.utils.asyncio", _tell_django)
    when_imported("anyio._core._eventloop", _tell_anyio)
    when_imported("oslo_log.pipe_mutex", _tell_oslo_log)


def _tell_django(module: Any) -> None:
    module.get_running_loop = _get_running_loop_in_coroutine


def _get_running_loop_in_coroutine() -> asyncio.AbstractEventLoop:
    """Refuse the ORM in coroutines only: green threads have connections of their own."""
    loop = asyncio.get_running_loop()
    try:
        hub_to_park_in("Django")
    except BlockingInLoopError:
        return loop
    raise RuntimeError("no coroutine: the caller may wait")


def _tell_anyio(module: Any) -> None:
    """Let `anyio.run` and anyio's blocking portals run in green threads."""
    current_async_library: Callable[[], str | None] | None
    current_async_library = getattr(module, "current_async_library", None)
    if current_async_library is None:
        # Older ones ask sniffio, which looks for a Task.
        return

    def of_coroutine() -> str | None:
        # Green threads have a hub, and so has the main program while its loop runs. What
        # is made there, scopes (see `sync_context`) or locks, is the loop's all the same.
        asks_to_refuse = sys._getframe(1).f_code.co_name != "get_async_backend"
        is_refused = asks_to_refuse and hasattr(getcurrent(), "_hub")
        return None if is_refused else current_async_library()

    module.current_async_library = of_coroutine


def _tell_oslo_log(module: Any) -> None:
    """Have `oslo_log.log.setup` leave `logging.Handler.createLock` what it is."""
    module.pipe_createLock = logging.Handler.createLock
