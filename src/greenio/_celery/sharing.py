"""What Celery keeps per thread, for all green threads of a worker together.

An app has a result backend per thread, with connections of its own, and a reply queue. A green
thread lives for one task; with a backend each, every task would connect anew, and with
``rpc://`` every task that calls others would leave a queue on the broker. The backends wait
for results in one green thread (kombu calls that a drainer), so that many may share them. What
is to be seen to is that they begin to listen one at a time: two that connect at once would
lose the connection of one, and with it its results.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from .._sync.lock import RLock
from .redis_pools import wait_for_connections


def share_backend(app: Any) -> None:
    """Have all green threads use one result backend of an app's."""
    if isinstance(app._local, SimpleNamespace):
        return
    app._local = SimpleNamespace(**vars(app._local))
    if hasattr(app.backend, "ConnectionPool"):
        # A backend on Redis. It connects when it is first used, not by this.
        wait_for_connections(app.backend.client.connection_pool)
    consumer = getattr(app.backend, "result_consumer", None)
    if consumer is not None:
        consumer.consume_from = _one_at_a_time(consumer.consume_from)


def _one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    lock = RLock()

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return function(*args, **kwargs)

    return call
