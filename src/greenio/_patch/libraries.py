"""Libraries that would go wrong by what they know of event loops or of eventlet.

Where a loop runs, Django refuses to wait, since it would block it. Under green code one
always runs, and waiting there blocks nobody. What it means is whether the caller is a
coroutine. (What anyio is told, unpatched programs need too: see `anyio_library`.)

oslo.log replaces the locks of logging, since eventlet's do not work between OS threads.
These do, and what it would use on a hub on asyncio makes a Task for each record, cannot
be used by coroutines and is no context manager, as logging's own lock is.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from .._kernel.current import hub_to_park_in
from .._std.errors import BlockingInLoopError
from .import_hooks import when_imported


def tell_libraries() -> None:
    """Have Django take green code for what it is, and oslo.log its locks."""
    when_imported("django.utils.asyncio", _tell_django)
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


def _tell_oslo_log(module: Any) -> None:
    """Have `oslo_log.log.setup` leave `logging.Handler.createLock` what it is."""
    module.pipe_createLock = logging.Handler.createLock
