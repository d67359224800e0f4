"""`serve`: the server for a coroutine, beside others on a loop that runs already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._bridge.await_ import run_green
from ..convenience import listen
from .serve import server


async def serve(
    app: Callable[..., Any],
    address: Any = ("127.0.0.1", 8000),
    *,
    sock: Any = None,
    **keywords: Any,
) -> None:
    """Serve a WSGI application on the running loop, until it is cancelled.

    Cancelled, it ends as `server` does: requests that run are answered first.

    Args:
        app: The application. Each request runs in a green thread of the loop.
        address: Where to listen: ``(host, port)``.
        sock: A listening socket instead; closed at the end.
        **keywords: As for `server`.

    Raises:
        TypeError: The application is an async one, or an argument is wrong.
        OSError: The address cannot be used.
    """
    own = None
    if sock is None:
        sock = own = listen(address, backlog=1024)
    try:
        await run_green(server, sock, app, **keywords)
    finally:
        if own is not None:
            own.close()
