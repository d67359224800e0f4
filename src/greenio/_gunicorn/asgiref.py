"""asgiref's `async_to_sync` on the worker's loop.

It is what runs `async def` views of Flask and Django. Where an asynchronous server has handed
code to a thread, asgiref has the server's loop in a thread-local variable, and runs the
coroutine there; else it makes a loop for each call. In a worker, every green thread has been
handed its request by the worker's loop.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from .._greenthread.local import local
from .._patch.import_hooks import when_imported


def run_on(loop: asyncio.AbstractEventLoop) -> None:
    """Have `async_to_sync` use a loop, as soon as asgiref is imported.

    Args:
        loop: The loop.
    """
    pid = os.getpid()

    class Handed(local):
        # What a green thread has that nobody has told anything else.
        main_event_loop = loop
        main_event_loop_pid = pid

    def tell(module: Any) -> None:
        module.SyncToAsync.threadlocal = Handed()

    when_imported("asgiref.sync", tell)
