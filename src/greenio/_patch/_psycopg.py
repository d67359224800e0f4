"""psycopg2's own hook for waiting."""

from __future__ import annotations

from typing import Any

from .._core._trampoline import trampoline


def make_psycopg_green() -> None:
    """Have psycopg2 park the green thread while it waits for the server."""
    from psycopg2 import extensions

    extensions.set_wait_callback(_wait)


def _wait(connection: Any, _timeout: float = -1) -> None:
    from psycopg2 import ProgrammingError, extensions

    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return
        if state == extensions.POLL_READ:
            trampoline(connection.fileno(), read=True)
        elif state == extensions.POLL_WRITE:
            trampoline(connection.fileno(), write=True)
        else:
            raise ProgrammingError(f"unexpected result {state!r} of poll()")
