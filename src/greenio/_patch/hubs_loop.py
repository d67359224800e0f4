"""The loop below a plain script, for one that takes it for a loop to run.

After a script's first green call `asyncio.get_event_loop()` returns the loop of its hub, which
runs already. What the script would have that loop run is waited for instead: by then it runs.
`loop.stop()` ends such a wait as it ends the run of another loop, and `loop.close()` ends the
hub. Where somebody else runs the loop, all this is an error, as it is without greenio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from greenlet import getcurrent

from .._bridge.await_ import await_
from .._kernel.hub import Hub


def hub_that_runs(loop: asyncio.AbstractEventLoop) -> Hub | None:
    """Return the hub of the caller, if it is green code and the hub runs this loop."""
    hub: Hub | None = getattr(getcurrent(), "_hub", None)
    if hub is None or hub.closed or not hub.owned or hub.loop is not loop:
        return None
    return hub


def run_below(hub: Hub, future: Any = None) -> Any:
    """Wait for what the hub's loop is to run, or until it is stopped.

    Args:
        hub: The hub.
        future: What `run_until_complete` got; None for `run_forever`.

    Returns:
        The result of the future.

    Raises:
        RuntimeError: The loop was stopped before that was done.
    """
    loop = hub.loop
    with _stop_of(hub) as stop:
        if future is None:
            await_(stop)
            return None
        is_new = not asyncio.isfuture(future)
        future = asyncio.ensure_future(future, loop=loop)
        try:
            await_(_first_of(future, stop))
        except BaseException:
            if is_new and not future.done():
                future.cancel()
                await_(asyncio.wait((future,)))
            raise
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


@contextmanager
def _stop_of(hub: Hub) -> Iterator[asyncio.Future[None]]:
    """Return a future that is done when the hub's loop has been stopped."""
    stop: asyncio.Future[None] = hub.loop.create_future()

    def stopped() -> None:
        if not stop.done():
            stop.set_result(None)

    hub.stop_calls += (stopped,)
    try:
        yield stop
    finally:
        hub.stop_calls = tuple(call for call in hub.stop_calls if call is not stopped)


def ending_hubs(close: Callable[[Any], None]) -> Callable[[Any], None]:
    """Have `loop.close`, called by a main program, end the hub whose loop it is."""

    @wraps(close)
    def closing(self: Any) -> None:
        hub = hub_that_runs(self)
        if hub is not None and getcurrent() is hub.main:
            # It comes back here.
            hub.close()
        else:
            close(self)

    return closing
