"""Failures that nobody waits for: to the loop's exception handler, and if need be on.

A loop without a handler of the program's logs them. `logging.config` disables every
logger that it is not told about, asyncio's among them; what would be lost like that is
written to ``sys.stderr``.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from typing import Any

_logger = logging.getLogger("asyncio")


def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Hand a failure to a loop's exception handler.

    Args:
        loop: The loop.
        context: As for `asyncio.loop.call_exception_handler`.
    """
    loop.call_exception_handler(context)
    if _is_lost(loop):
        _write(context)


def _is_lost(loop: asyncio.AbstractEventLoop) -> bool:
    if not _logger.disabled and _logger.isEnabledFor(logging.ERROR):
        return False
    try:
        return loop.get_exception_handler() is None
    except NotImplementedError:
        return False


def _write(context: dict[str, Any]) -> None:
    lines = [f"{context['message']}\n"]
    error = context.get("exception")
    if error is not None:
        lines += traceback.format_exception(type(error), error, error.__traceback__)
    # There is none in a program without a console.
    if sys.stderr is not None:
        sys.stderr.write("".join(lines))
