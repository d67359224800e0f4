"""What anyio takes green code for.

anyio asks for the library whose loop runs on two occasions: to *refuse*, where it would
block that loop (`anyio.run`, its blocking portals), and to *choose*, for scopes, locks and
whatever else is made. With sniffio installed, it is asyncio's where a Task is current, and
else where a loop runs.

What green code makes is its loop's, so there it chooses asyncio either way (see
`sync_context`); and as `asyncio.run` works there, nothing is refused.
"""

from __future__ import annotations

import sys
from asyncio import _get_running_loop
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent

from .asyncio_run import View
from .import_hooks import when_imported


def tell_anyio() -> None:
    """Have anyio choose asyncio in green code, and refuse nothing there."""
    when_imported("anyio._core._eventloop", _tell)


def _tell(module: Any) -> None:
    if hasattr(module, "current_async_library"):
        module.current_async_library = _in_green_code(module.current_async_library)
    else:
        # Until anyio 4.12, which asks sniffio.
        sniffio = module.sniffio
        none = sniffio.AsyncLibraryNotFoundError
        current = _in_green_code(sniffio.current_async_library, none)
        module.sniffio = View(sniffio, current_async_library=current)


def _in_green_code(
    current: Callable[[], str | None], none: type[BaseException] | None = None
) -> Callable[[], str | None]:
    """Return what says which library is running.

    Args:
        current: What says it elsewhere.
        none: What is raised for "none", if anything is.
    """

    def current_async_library() -> str | None:
        # Green threads have a hub, and so has the main program while its loop runs.
        if not hasattr(getcurrent(), "_hub"):
            return current()
        if sys._getframe(1).f_code.co_name == "get_async_backend":
            return current() if _get_running_loop() is None else "asyncio"
        if none is not None:
            raise none
        return None

    return current_async_library
