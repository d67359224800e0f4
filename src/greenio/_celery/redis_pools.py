"""Pools of connections to Redis that let green threads wait for one.

A pool that has none left raises an error. kombu gives ten to each channel, and redis-py a
hundred to a result backend, as suits threads. Of a thousand tasks that end at once most would
get that error: their callers would be told nothing, or their messages not be acknowledged.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .._sync.semaphore import Semaphore

# How many seconds somebody waits: a connection that is kept for good does not come back.
_PATIENCE = 60.0

_NONE_LEFT = "Too many connections"


def wait_for_connections(pool: Any) -> None:
    """Have whoever finds no connection left in a pool of redis-py's wait for one.

    After a minute in which none has come back it is the pool's error as ever.
    """
    if hasattr(pool, "_greenio_returned"):
        return
    from redis.exceptions import ConnectionError as NotConnected

    # A permit says that it may be worth looking again. One too many does no harm.
    pool._greenio_returned = returned = Semaphore(0)
    pool.get_connection = _waiting(pool.get_connection, returned, NotConnected)
    pool.release = _telling(pool.release, returned)


def _waiting(
    get: Callable[..., Any], returned: Semaphore, kind: type[Exception]
) -> Callable[..., Any]:
    @functools.wraps(get)
    def get_connection(*args: Any, **kwargs: Any) -> Any:
        while True:
            try:
                return get(*args, **kwargs)
            except kind as error:
                # Older ones have no class of errors for that.
                if str(error) != _NONE_LEFT:
                    raise
                if not returned.acquire(timeout=_PATIENCE):
                    raise

    return get_connection


def _telling(give_back: Callable[..., Any], returned: Semaphore) -> Callable[..., Any]:
    @functools.wraps(give_back)
    def release(*args: Any, **kwargs: Any) -> Any:
        try:
            return give_back(*args, **kwargs)
        finally:
            if returned.counter == 0:
                returned.release()

    return release
