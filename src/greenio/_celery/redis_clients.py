"""One client of Redis for a channel, where kombu makes one for every command.

To make a client costs more than most commands do, since it brings a table of all of them; a task
that is received and acknowledged takes several. A client that has a pool of connections holds
no state of its own, and any number of green threads may use one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from celery import signals

from .redis_pools import wait_for_connections

_NAME = "_greenio_client"


def share_clients() -> None:
    """Have channels keep their clients, from when the worker is ready."""
    # Weak, the receiver would be there still, as it is in a module.
    signals.worker_ready.connect(_share, dispatch_uid="greenio-redis-clients")


def _share(sender: Any, **_: Any) -> None:
    transport = getattr(sender.connection, "transport", None)
    kind = getattr(transport, "Channel", None)
    make = getattr(kind, "_create_client", None)
    if kind is None or make is None:
        return
    if not hasattr(make, "__wrapped__"):
        kind._create_client = _kept(make)


def _kept(make: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make)
    def create(channel: Any, asynchronous: bool = False) -> Any:
        if asynchronous:
            # Those hold a connection each.
            return make(channel, asynchronous=True)
        pool = channel.pool
        kept = vars(channel).get(_NAME)
        if kept is None or kept[0] is not pool:
            wait_for_connections(pool)
            kept = (pool, make(channel))
            setattr(channel, _NAME, kept)
        return kept[1]

    return create
