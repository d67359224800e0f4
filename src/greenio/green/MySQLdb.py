"""`MySQLdb` (mysqlclient) with connections that let other green threads run.

While the server works on a query, its green thread waits for the connection's
descriptor. What the client library does with the connection otherwise (connecting,
fetching rows, committing) it does in threads of `greenio.tpool`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from MySQLdb import connections as _connections

from .. import tpool as _tpool
from .._greenthread.descriptor_waits import trampoline as _trampoline
from .._patch.modules import complete as _complete

# What fits into a socket's buffer is sent at once.
_SENT_AT_ONCE = 1 << 15


def _in_thread(name: str) -> Callable[..., Any]:
    original = getattr(_connections.Connection, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _tpool.execute(original, self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = original.__doc__
    return method


class _Rows:
    """A result whose rows are still on their way from the server."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._result, name)

    def fetch_row(self, *args: Any, **kwargs: Any) -> Any:
        """Fetch rows; see mysqlclient."""
        return _tpool.execute(self._result.fetch_row, *args, **kwargs)

    def discard(self) -> Any:
        """Read the rest of the rows, and forget them."""
        return _tpool.execute(self._result.discard)


class Connection(_connections.Connection):  # type: ignore[misc, unused-ignore]
    """A connection to a MySQL or MariaDB server; see mysqlclient.

    A query that is interrupted closes it, for its answer would be taken for the next
    query's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _tpool.execute(super().__init__, *args, **kwargs)

    def query(self, query: bytes | bytearray | str) -> None:
        """Send a query, and wait until the server has an answer."""
        if isinstance(query, bytearray):
            query = bytes(query)
        if len(query) <= _SENT_AT_ONCE:
            self.send_query(query)
        else:
            _tpool.execute(self.send_query, query)
        try:
            _trampoline(self.fileno(), read=True)
        except BaseException:
            self.close()
            raise
        self.read_query_result()

    def use_result(self) -> Any:
        """Return a result whose rows are fetched one by one."""
        result = super().use_result()
        return None if result is None else _Rows(result)


# Those that wait for the server.
for _name in (
    "autocommit",
    "change_user",
    "commit",
    "discard_result",
    "dump_debug_info",
    "kill",
    "next_result",
    "ping",
    "rollback",
    "select_db",
    "set_character_set",
    "set_server_option",
    "shutdown",
    "stat",
    "store_result",
):
    if hasattr(_connections.Connection, _name):
        setattr(Connection, _name, _in_thread(_name))


def connect(*args: Any, **kwargs: Any) -> Connection:
    """Connect to a server; the arguments are mysqlclient's."""
    return Connection(*args, **kwargs)


Connect = connect

_complete(globals(), "MySQLdb")
