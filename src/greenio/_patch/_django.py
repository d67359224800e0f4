"""Django's check that nobody blocks in a coroutine, told what a green thread is.

Django refuses its ORM where an event loop runs in the thread. Here one always does. What
Django means is whether the caller may wait: a green thread and a portal may, and each has
its own connections.
"""

from __future__ import annotations

import asyncio
from typing import Any

from .._core._current import hub_to_park_in
from .._core._errors import BlockingInLoopError
from ._later import when_imported


def let_green_threads_use_django() -> None:
    """Have Django take green code for what it is; coroutines it goes on refusing."""
    when_imported("django.utils.asyncio", _replace_check)


def _replace_check(module: Any) -> None:
    module.get_running_loop = _get_running_loop_in_coroutine


def _get_running_loop_in_coroutine() -> asyncio.AbstractEventLoop:
    loop = asyncio.get_running_loop()
    try:
        hub_to_park_in("Django")
    except BlockingInLoopError:
        return loop
    raise RuntimeError("no coroutine: the caller may wait")
