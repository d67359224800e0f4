"""The pools: lending, cleaning up, closing what is old, and connecting in time.

An idle connection lies in `free_items` with two times: when it was last used and when
it was made. What may wait (connecting, cleaning up, closing) is done outside the mutex
by whoever lends or gives back; the connection counts as lent meanwhile, and if that is
interrupted it counts as lost, so that whoever waits makes a new one.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from .. import tpool
from .._bridge.await_ import run_green
from .._bridge.item_pool import ROOM, Pool
from .._greenthread.arguments import checked_size
from .._greenthread.spawning import spawn_after, spawn_n
from .._greenthread.thread import GreenThread
from .._greenthread.timeout import Timeout
from .._kernel.waiters import mutex
from .._std.originals import allocate_lock, monotonic
from .connection import PooledConnectionWrapper, in_plain_thread

_log = logging.getLogger("greenio.db_pool")

_MISSING: Any = object()
# Connections that are made when the pool is; no system has more descriptors for a process.
_MOST_AT_ONCE = 1 << 20


class _New(tuple[float, float, Any]):
    """A connection that was made for who gets it, however short its life is to be."""

    __slots__ = ()


Cleanup = Callable[[Any], Any] | None


class ConnectTimeout(Exception):
    """No connection could be made within the pool's `connect_timeout`."""


def cleanup_rollback(conn: Any) -> None:
    """Roll back what was not committed: what is done before a connection is lent again.

    Args:
        conn: The connection.
    """
    conn.rollback()


class BaseConnectionPool(Pool[Any]):
    """Lends connections; what is common to both kinds of pool.

    Args:
        db_module: The DB-API module: what has `connect`.
        min_size: How many connections to make at once.
        max_size: How many there may be; `get` waits when all are lent.
        max_idle: After how many seconds without use one is closed; 0 keeps none.
        max_age: After how many seconds one is closed, if it is not lent; 0 keeps none.
        connect_timeout: How many seconds making one may take.
        cleanup: What is called with each connection that comes back; None for nothing.
            If it fails, the connection is closed.
        *args: Positional arguments for `connect`.
        **kwargs: Its keyword arguments.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A size or a number of seconds is none.
    """

    def __init__(
        self,
        db_module: Any,
        min_size: int = 0,
        max_size: int = 4,
        max_idle: float = 10,
        max_age: float = 30,
        connect_timeout: float | None = 5,
        cleanup: Cleanup = cleanup_rollback,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        for name, seconds in (("max_idle", max_idle), ("max_age", max_age)):
            _check_seconds(name, seconds, "")
        if connect_timeout is not None:
            _check_seconds("connect_timeout", connect_timeout, ", or None for no limit")
        self._check_module(db_module)
        _check_cleanup(cleanup)
        if checked_size(min_size, type(self).__name__) > _MOST_AT_ONCE:
            raise ValueError(
                "min_size is how many connections are made at once, and no process can "
                f"have {min_size!r}; max_size is how many there may be"
            )
        self._db_module = db_module
        self._args = args
        self._kwargs = kwargs
        self.max_idle = max_idle
        self.max_age = max_age
        self.connect_timeout = connect_timeout
        self.cleanup = cleanup
        self._expiration_timer: GreenThread | None = None
        super().__init__(min_size, max_size, order_as_stack=True)
        self.current_size: int
        self.free_items: deque[Any] = deque(map(tuple, self.free_items))

    @classmethod
    def _check_module(cls, db_module: Any) -> None:
        """Refuse what cannot connect, unless a subclass does so in its own way."""
        usual: list[Any] = [RawConnectionPool.connect, TpooledConnectionPool.connect]
        own = getattr(cls.connect, "__func__", None)
        is_usual = own in [method.__func__ for method in usual] and (
            cls.create is BaseConnectionPool.create
        )
        if is_usual and not callable(getattr(db_module, "connect", None)):
            raise TypeError(
                "db_module is a module of the DB-API, such as sqlite3, which has "
                f"connect(), not {db_module!r}"
            )

    @classmethod
    def connect(
        cls, db_module: Any, connect_timeout: float | None, *args: Any, **kw: Any
    ) -> Any:
        """Make a connection.

        Args:
            db_module: The DB-API module.
            connect_timeout: How many seconds that may take.
            *args: Positional arguments of its `connect`.
            **kw: Its keyword arguments.

        Raises:
            ConnectTimeout: It took longer.
        """
        raise NotImplementedError(
            "BaseConnectionPool does not know how to wait for a connection; use "
            "RawConnectionPool or TpooledConnectionPool, or override connect()"
        )

    def create(self) -> Any:
        """Make a connection for the pool.

        Returns:
            When it was last used, when it was made, and the connection.
        """
        connection = self.connect(
            self._db_module, self.connect_timeout, *self._args, **self._kwargs
        )
        now = monotonic()
        return _New((now, now, connection))

    # -- lending -----------------------------------------------------------------------

    def get(self) -> Any:
        """Lend a connection: an idle one, a new one, or the next one to come back.

        Returns:
            A `PooledConnectionWrapper`.

        Raises:
            ConnectTimeout: Making one took too long.
            BaseException: Whatever the module's `connect` raised.
            BlockingInLoopError: Called in the loop greenlet when it would have to wait;
                use `get_async` there.
        """
        item = super().get()
        last_used, made_at, base = item
        if type(item) is not _New and self._is_expired(monotonic(), last_used, made_at):
            try:
                self._close(base)
                _, made_at, base = self.create()
            except BaseException:
                self._lost()
                raise
        wrapper = PooledConnectionWrapper(base, self)
        wrapper._made_at = made_at
        return wrapper

    async def get_async(self) -> Any:
        """Lend a connection to a coroutine; its calls are for green threads.

        Use it with `greenio.run_green`, or `item_async`.
        """
        got: list[Any] = []
        try:
            await run_green(lambda: got.append(self.get()))
        except BaseException:
            # Perhaps it was there already, and only then came the cancellation.
            got.clear()
            raise
        return got.pop()

    def put(self, conn: Any, cleanup: Any = _MISSING) -> None:
        """Take a connection back, and clean it up.

        Args:
            conn: What `get` returned, or a connection of the module's to put in the
                place of one that was lent; None if that one is gone.
            cleanup: What to call with it instead of the pool's `cleanup`; None for
                nothing.

        Raises:
            TypeError: It is no connection, or `cleanup` cannot be called. Then nothing
                is taken back.
            ValueError: It is another pool's.
        """
        if cleanup is _MISSING:
            cleanup = self.cleanup
        else:
            _check_cleanup(cleanup)
        if conn is None:
            self._lost()
        elif isinstance(conn, PooledConnectionWrapper):
            if conn._pool is not self:
                raise ValueError(
                    f"{conn!r} was lent by another pool; close() it to give it back "
                    "to that"
                )
            if conn:
                self._put_base(conn._take(), conn._made_at, cleanup)
        elif callable(getattr(conn, "close", None)):
            self._put_base(conn, monotonic(), cleanup)
        else:
            raise TypeError(
                "put() takes back what get() has lent, or a connection of the module's "
                f"in its place, or None, not {conn!r}"
            )

    async def put_async(self, conn: Any, cleanup: Any = _MISSING) -> None:
        """Take a connection back from a coroutine; see `put`."""
        await run_green(self.put, conn, cleanup)

    def _put_base(self, base: Any, made_at: float, cleanup: Cleanup) -> None:
        try:
            good = not self._is_expired(monotonic(), monotonic(), made_at)
            if good and self.current_size <= self.max_size:
                if cleanup is not None:
                    good = self._cleaned_up(base, cleanup)
            else:
                good = False
            if not good:
                self._close(base)
        except BaseException:
            # Killed in the middle of it: it is in no state to be lent again.
            self._lost()
            raise
        if not good:
            self._lost()
            return
        super().put((monotonic(), made_at, base))
        self._watch()

    def _cleaned_up(self, base: Any, cleanup: Callable[[Any], Any]) -> bool:
        try:
            cleanup(base)
        except Exception:  # noqa: BLE001 - whatever the driver raises
            _log.warning(
                "a connection is closed: %r failed for %r", cleanup, base, exc_info=True
            )
            return False
        return True

    def _lost(self) -> None:
        """There is one connection less; whoever waits makes another."""
        with mutex:
            self._give_back(ROOM)

    @contextmanager
    def item(self, cleanup: Any = _MISSING) -> Iterator[Any]:
        """Lend a connection for a ``with`` block.

        Args:
            cleanup: As for `put`.

        Raises:
            TypeError: `cleanup` cannot be called.
        """
        if cleanup is not _MISSING:
            _check_cleanup(cleanup)
        conn = self.get()
        try:
            yield conn
        finally:
            self.put(conn, cleanup=cleanup)

    @asynccontextmanager
    async def item_async(self, cleanup: Any = _MISSING) -> AsyncIterator[Any]:
        """Lend a connection for an ``async with`` block; see `get_async`."""
        if cleanup is not _MISSING:
            _check_cleanup(cleanup)
        conn = await self.get_async()
        try:
            yield conn
        finally:
            await self.put_async(conn, cleanup)

    # -- closing -----------------------------------------------------------------------

    def _is_expired(self, now: float, last_used: float, made_at: float) -> bool:
        if self.max_idle <= 0 or self.max_age <= 0:
            return True
        return now - last_used > self.max_idle or now - made_at > self.max_age

    def _close(self, base: Any) -> None:
        try:
            base.close()
        except Exception:  # noqa: BLE001 - whatever the driver raises
            _log.warning("%r could not be closed", base, exc_info=True)

    def clear(self) -> None:
        """Close the idle connections; those that are lent stay."""
        timer, self._expiration_timer = self._expiration_timer, None
        if timer is not None:
            timer.cancel()
        self._close_idle(lambda _: True)

    def resize(self, new_size: int) -> None:
        """Change how many connections there may be; idle ones beyond that are closed.

        Args:
            new_size: The new limit.
        """
        idle = list(self.free_items)
        super().resize(new_size)
        kept = {id(item) for item in self.free_items}
        for item in idle:
            if id(item) not in kept:
                self._close(item[2])

    def _close_idle(self, chosen: Callable[[Any], bool]) -> None:
        with mutex:
            idle = [item for item in self.free_items if chosen(item)]
            for item in idle:
                self.free_items.remove(item)
                self.current_size -= 1
            self._hand_out_room()
        for _, _, base in idle:
            self._close(base)

    def _watch(self) -> None:
        """Have idle connections closed when their time is up."""
        timer = self._expiration_timer
        if timer is not None and not timer.dead and not timer._hub.closed:
            return
        with mutex:
            dues = [
                min(last_used + self.max_idle, made_at + self.max_age)
                for last_used, made_at, _ in self.free_items
            ]
        if dues and not in_plain_thread():
            # A little later than that, so that it is true then.
            delay = max(min(dues) - monotonic(), 0) + 0.001
            self._expiration_timer = spawn_after(delay, self._expire)

    def _expire(self) -> None:
        self._expiration_timer = None
        now = monotonic()
        self._close_idle(lambda item: self._is_expired(now, item[0], item[1]))
        self._watch()


class RawConnectionPool(BaseConnectionPool):
    """A pool of connections whose driver waits as green code does.

    Its arguments are those of `BaseConnectionPool`.
    """

    @classmethod
    def connect(
        cls, db_module: Any, connect_timeout: float | None, *args: Any, **kw: Any
    ) -> Any:
        """Make a connection; see `BaseConnectionPool.connect`."""
        with _limit(connect_timeout):
            return db_module.connect(*args, **kw)


class TpooledConnectionPool(BaseConnectionPool):
    """A pool of connections whose calls are made in `greenio.tpool`'s threads.

    Not always the same thread: sqlite3 wants ``check_same_thread=False`` for that. Its
    arguments are those of `BaseConnectionPool`.
    """

    @classmethod
    def connect(
        cls, db_module: Any, connect_timeout: float | None, *args: Any, **kw: Any
    ) -> Any:
        """Make a connection; see `BaseConnectionPool.connect`."""
        attempt = _Attempt(db_module.connect, args, kw)
        with _limit(connect_timeout):
            try:
                connection = tpool.execute(attempt.run)
            except BaseException:
                attempt.abandon()
                raise
        return tpool.Proxy(connection, autowrap_names=("cursor",))


ConnectionPool = TpooledConnectionPool


class _Attempt:
    """A connection that is being made in another thread, wanted or not any more."""

    def __init__(
        self,
        connect: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._call = (connect, args, kwargs)
        self._lock = allocate_lock()
        self._abandoned = False
        self._made: Any = None

    def run(self) -> Any:
        connect, args, kwargs = self._call
        connection = connect(*args, **kwargs)
        with self._lock:
            self._made = connection
            abandoned = self._abandoned
        if abandoned:
            connection.close()
        return connection

    def abandon(self) -> None:
        """See that the connection is closed when it is there, or now."""
        with self._lock:
            self._abandoned = True
            made = self._made
        if made is not None:
            spawn_n(tpool.execute, made.close)


def _check_seconds(name: str, seconds: Any, otherwise: str) -> None:
    if not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} is a number of seconds{otherwise}, not {seconds!r}")
    # Integers beyond that cannot be added to a time.
    try:
        good = not math.isnan(seconds)
    except OverflowError:
        good = False
    if not good:
        raise ValueError(f"{name} is a number of seconds{otherwise}, not {seconds!r}")


def _check_cleanup(cleanup: Any) -> None:
    if not (cleanup is None or callable(cleanup)):
        raise TypeError(
            "cleanup is a function that takes a connection, or None for none, not "
            f"{cleanup!r}"
        )


def _limit(seconds: float | None) -> Timeout:
    if seconds is not None and in_plain_thread():
        # Nothing interrupts an OS thread.
        seconds = None
    return Timeout(
        seconds, ConnectTimeout(f"no connection to the database in {seconds} seconds")
    )


# What the modules call the argument that eventlet passes as `db`.
_NAME_OF_DATABASE = {"psycopg": "dbname", "psycopg2": "dbname", "pymysql": "database"}


class DatabaseConnector:
    """Pools of connections by host and database.

    Args:
        module: The DB-API module.
        credentials: What `connect` needs besides, by host: mappings of keyword
            arguments such as ``user`` and ``password``. The host ``"default"`` is for
            all that are not named.
        conn_pool: The class of the pools; `TpooledConnectionPool` by default.
        *args: Positional arguments for the class.
        **kwargs: Its keyword arguments.

    Raises:
        TypeError: `credentials` is no mapping, or `conn_pool` no class.
    """

    def __init__(
        self,
        module: Any,
        credentials: Mapping[str, Mapping[str, Any]],
        conn_pool: Callable[..., BaseConnectionPool] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if not isinstance(credentials, Mapping):
            raise TypeError(
                "credentials is a dict of what connect() needs, by host, such as "
                f"{{'default': {{'user': 'me'}}}}, not {credentials!r}"
            )
        if not (conn_pool is None or callable(conn_pool)):
            raise TypeError(
                "conn_pool is a class of connection pools, such as RawConnectionPool, "
                f"not {conn_pool!r}"
            )
        self._conn_pool_class = conn_pool or TpooledConnectionPool
        self._module = module
        self._args = args
        self._kwargs = kwargs
        self._credentials = credentials
        self._databases: dict[tuple[str, str], BaseConnectionPool] = {}

    def credentials_for(self, host: str) -> Mapping[str, Any] | None:
        """Return the keyword arguments of `connect` for a host; None if there are none.

        Args:
            host: The name of the host.
        """
        if host in self._credentials:
            return self._credentials[host]
        return self._credentials.get("default")

    def get(self, host: str, dbname: str) -> BaseConnectionPool:
        """Return the pool for a database; the same one each time.

        Args:
            host: The name of its host.
            dbname: The name of the database.

        Raises:
            LookupError: There are no credentials for the host.
            TypeError: They are no mapping.
        """
        key = (host, dbname)
        pool = self._databases.get(key)
        if pool is None:
            credentials = self.credentials_for(host)
            if credentials is None:
                raise LookupError(
                    f"no credentials for {host!r}: name it in DatabaseConnector's "
                    "credentials, or add 'default' there"
                )
            if not isinstance(credentials, Mapping):
                raise TypeError(
                    f"the credentials for {host!r} are a dict of keyword arguments of "
                    f"connect(), such as {{'user': 'me'}}, not {credentials!r}"
                )
            argument = _NAME_OF_DATABASE.get(
                getattr(self._module, "__name__", ""), "db"
            )
            pool = self._conn_pool_class(
                self._module,
                *self._args,
                **{
                    **self._kwargs,
                    argument: dbname,
                    "host": host,
                    **credentials,
                },
            )
            self._databases[key] = pool
        return pool
