"""Having psycopg2 park the green thread while it waits: eventlet's module for that.

`greenio.monkey_patch` does it for programs that use psycopg2.
"""

from __future__ import annotations

from typing import Any

import psycopg2
from psycopg2 import extensions

from .._greenthread.descriptor_waits import trampoline

__all__ = ["eventlet_wait_callback", "make_psycopg_green"]


def make_psycopg_green() -> None:
    """Have every wait of psycopg2 park the green thread."""
    extensions.set_wait_callback(eventlet_wait_callback)


def eventlet_wait_callback(conn: Any, timeout: float = -1) -> None:  # noqa: ARG001
    """Wait until a connection has done what it is at; psycopg2 calls it.

    Args:
        conn: The connection.
        timeout: Accepted for eventlet's sake.

    Raises:
        psycopg2.ProgrammingError: The connection is in a state that is not known.
    """
    while True:
        state = conn.poll()
        if state == extensions.POLL_OK:
            return
        if state == extensions.POLL_READ:
            trampoline(conn.fileno(), read=True)
        elif state == extensions.POLL_WRITE:
            trampoline(conn.fileno(), write=True)
        else:
            raise psycopg2.ProgrammingError(f"unexpected result {state!r} of poll()")
