"""psycopg2's own hook for waiting, and psycopg 3's function that waits."""

from __future__ import annotations

import importlib
from asyncio import CancelledError
from types import FunctionType
from typing import Any

from greenlet import GreenletExit

from .._greenthread.timeout import Timeout
from .._std.with_globals import with_globals
from .import_hooks import when_imported


def make_psycopg_green() -> None:
    """Have both park the green thread while they wait for the server.

    They need not be installed; nothing is imported that the program does not import.
    """
    when_imported("psycopg2.extensions", _make_psycopg2_green)
    when_imported("psycopg.waiting", _make_psycopg3_green)
    when_imported("psycopg.connection", _cancel_when_interrupted)


def _make_psycopg2_green(_extensions: Any) -> None:
    importlib.import_module("greenio.support.psycopg2_patcher").make_psycopg_green()


def _make_psycopg3_green(waiting: Any) -> None:
    selectors = importlib.import_module("greenio.green.selectors")
    green = {
        **vars(waiting),
        "select": importlib.import_module("greenio.green.select"),
        "DefaultSelector": selectors.DefaultSelector,
    }
    wait = waiting.wait
    if not isinstance(wait, FunctionType):
        # The one written in C waits in C. Of those in Python, it is the one that
        # psycopg takes under gevent; older versions do not have it.
        wait = getattr(waiting, "wait_poll", waiting.wait_selector)
    waiting.wait = with_globals(wait, green)
    waiting.wait_conn = with_globals(waiting.wait_conn, green)


def _cancel_when_interrupted(connection: Any) -> None:
    """Have a killed green thread's query cancelled, as by Ctrl-C.

    Else nobody could use the connection any more.
    """
    interrupted = getattr(connection, "_INTERRUPTED", ())
    ours = (CancelledError, GreenletExit, Timeout)
    connection._INTERRUPTED = (*interrupted, *ours)
