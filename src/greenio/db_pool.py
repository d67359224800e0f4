"""Pools of database connections, for any DB-API module.

`RawConnectionPool` is for drivers that wait as green code does: written in Python and
patched (PyMySQL), or with a hook for it (psycopg2, psycopg). `TpooledConnectionPool`,
the default, is for all others: every call is made in `greenio.tpool`'s threads::

    pool = RawConnectionPool(psycopg2, dsn="dbname=shop", max_size=10)
    with pool.item() as connection, connection.cursor() as cursor:
        cursor.execute("select 1")

A connection that comes back is rolled back first; one that is older than `max_age`
seconds, or has been idle for more than `max_idle`, is closed.
"""

from __future__ import annotations

from typing import Any  # noqa: F401 - in the annotations of what is defined elsewhere

from ._db.connection import GenericConnectionWrapper as GenericConnectionWrapper
from ._db.connection import PooledConnectionWrapper as PooledConnectionWrapper
from ._db.pool import BaseConnectionPool as BaseConnectionPool
from ._db.pool import ConnectionPool as ConnectionPool
from ._db.pool import ConnectTimeout as ConnectTimeout
from ._db.pool import DatabaseConnector as DatabaseConnector
from ._db.pool import RawConnectionPool as RawConnectionPool
from ._db.pool import TpooledConnectionPool as TpooledConnectionPool
from ._db.pool import cleanup_rollback as cleanup_rollback
from ._std.public_names import claim

__all__ = [
    "BaseConnectionPool",
    "ConnectTimeout",
    "ConnectionPool",
    "DatabaseConnector",
    "GenericConnectionWrapper",
    "PooledConnectionWrapper",
    "RawConnectionPool",
    "TpooledConnectionPool",
    "cleanup_rollback",
]

claim(globals())
