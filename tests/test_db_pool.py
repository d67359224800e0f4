"""`greenio.db_pool` on sqlite3, and on a module whose connections keep a diary.

tests/services has PostgreSQL and MariaDB.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from types import SimpleNamespace

import pytest

import greenio
from _sockets import in_thread
from _support import until
from greenio import sleep, spawn
from greenio.db_pool import (
    BaseConnectionPool,
    ConnectionPool,
    ConnectTimeout,
    DatabaseConnector,
    GenericConnectionWrapper,
    PooledConnectionWrapper,
    RawConnectionPool,
    TpooledConnectionPool,
)

BOTH = pytest.mark.parametrize("kind", [RawConnectionPool, TpooledConnectionPool])


class Diary:
    """A DB-API module, as far as pools are concerned."""

    def __init__(self, connect=None):
        self.entries = []
        self.made = []
        self._connect = connect

    def connect(self, *args, **kwargs):
        self.entries.append("connect")
        if self._connect is not None:
            self._connect()
        connection = Connection(self, args, kwargs)
        self.made.append(connection)
        return connection

    def since(self):
        entries, self.entries = self.entries, []
        return entries


class Connection:
    def __init__(self, diary, args, kwargs):
        self.diary, self.args, self.kwargs = diary, args, kwargs
        self.rollback_fails = None
        self.closed = False
        self.timeout = 1

    def rollback(self):
        self.diary.entries.append("rollback")
        if self.rollback_fails is not None:
            raise self.rollback_fails

    def close(self):
        self.diary.entries.append("close")
        self.closed = True


@BOTH
def test_a_database(hub_name, kind, tmp_path):
    path = tmp_path / "database"
    options = {"database": path, "check_same_thread": False}
    # Who writes waits for the others first; whoever has read before would be refused.
    options.update(timeout=50, isolation_level="IMMEDIATE")
    pool = kind(sqlite3, 1, 3, 10, 30, 5, **options)
    with pool.item() as connection:
        connection.cursor().execute("create table t (n integer)")
        connection.commit()

    def insert(number):
        with pool.item() as connection:
            cursor = connection.cursor()
            cursor.execute("insert into t values (?)", [number])
            if number % 3:
                connection.commit()
            # Else the pool rolls it back.

    for thread in [spawn(insert, number) for number in range(12)]:
        thread.wait()
    with pool.item() as connection:
        cursor = connection.cursor()
        cursor.execute("select n from t order by n")
        assert [n for (n,) in cursor] == [n for n in range(12) if n % 3]
        cursor.close()
    assert pool.current_size <= 3
    pool.clear()
    assert (pool.current_size, pool.free()) == (0, 3)


def test_calls_are_made_in_other_threads(hub_name):
    threads = set()
    diary = Diary(lambda: threads.add(threading.get_ident()))
    for kind, elsewhere in ((TpooledConnectionPool, True), (RawConnectionPool, False)):
        threads.clear()
        pool = kind(diary)
        pool.get().close()
        assert (threading.get_ident() not in threads) is elsewhere
        pool.clear()
    assert ConnectionPool is TpooledConnectionPool


def test_arguments_go_to_connect(hub_name):
    diary = Diary()
    pool = RawConnectionPool(diary, 0, 2, 10, 30, 5, None, "dsn", user="me")
    connection = pool.get()
    assert (connection.args, connection.kwargs) == (("dsn",), {"user": "me"})
    direct = RawConnectionPool.connect(diary, 5, "dsn", user="me")
    assert direct.args == ("dsn",)
    connection.close()
    # No cleanup was asked for.
    assert diary.since() == ["connect", "connect"]
    pool.clear()


@BOTH
def test_what_comes_back_is_cleaned_up_and_lent_again(hub_name, kind):
    diary = Diary()
    pool = kind(diary, min_size=1, max_size=2)
    assert diary.since() == ["connect"]
    first = pool.get()
    assert isinstance(first, PooledConnectionWrapper)
    assert first
    pool.put(first)
    assert not first
    with pytest.raises(AttributeError, match="gone back to its pool"):
        first.cursor()
    assert not hasattr(first, "rollback")
    pool.put(first)  # does nothing
    second = pool.get()
    second.close()
    second.close()
    assert diary.since() == ["rollback", "rollback"]
    assert (pool.current_size, pool.free()) == (1, 2)
    pool.clear()
    assert diary.since() == ["close"]


def test_the_last_used_is_lent_first(hub_name):
    pool = RawConnectionPool(Diary())
    first, second = pool.get(), pool.get()
    base = second._base
    first.close()
    second.close()
    assert pool.get()._base is base
    pool.clear()


def test_item_takes_its_own_cleanup(hub_name):
    diary = Diary()
    pool = RawConnectionPool(diary)
    with pool.item():
        pass
    with pytest.raises(KeyError), pool.item():
        raise KeyError
    assert diary.since() == ["connect", "rollback", "rollback"]
    with pool.item(cleanup=None):
        pass
    with pool.item(cleanup=lambda conn: diary.entries.append(conn.timeout)):
        pass
    assert diary.since() == [1]
    pool.clear()


@BOTH
def test_one_that_cannot_be_cleaned_up_is_closed(hub_name, kind, caplog):
    diary = Diary()
    pool = kind(diary, max_size=1)
    with pool.item() as connection:
        connection.rollback_fails = ValueError("server has gone away")
        diary.made[0].rollback_fails = connection.rollback_fails
        waiting = spawn(pool.get)
        sleep(0)
    assert "server has gone away" in caplog.text
    # Who waited has got another.
    assert waiting.wait()
    assert len(diary.made) == 2
    assert diary.made[0].closed
    waiting.wait().close()
    pool.clear()
    assert pool.current_size == 0


def test_killed_while_cleaning_up(hub_name):
    diary = Diary()
    pool = RawConnectionPool(diary, max_size=1, cleanup=lambda conn: sleep(1000))
    connection = pool.get()
    giver = spawn(connection.close)
    waiting = spawn(pool.get)
    sleep(0)
    giver.kill()
    assert waiting.wait()
    assert pool.current_size == 1
    pool.cleanup = None
    waiting.wait().close()
    pool.clear()


def test_dropping_a_connection_gives_it_back(hub_name):
    diary = Diary()
    pool = RawConnectionPool(diary, max_size=1)
    connection = pool.get()
    del connection
    until(lambda: pool.free_items)
    assert diary.since() == ["connect", "rollback"]
    # From a cycle, and from a thread that has no green threads.
    holder = SimpleNamespace(connection=pool.get())
    holder.itself = holder
    del holder
    in_thread(gc.collect)
    until(lambda: pool.free_items)
    assert pool.free() == 1
    pool.clear()


@BOTH
@pytest.mark.parametrize("limit", ["max_idle", "max_age"])
def test_a_limit_of_nothing_keeps_nothing(hub_name, kind, limit):
    diary = Diary()
    pool = kind(diary, max_size=1, **{limit: 0})
    pool.get().close()
    assert diary.since() == ["connect", "close"]
    assert (pool.current_size, pool.free()) == (0, 1)


@BOTH
def test_the_idle_are_closed_in_time(hub_name, kind):
    diary = Diary()
    pool = kind(diary, min_size=2, max_size=3, max_idle=0.02)
    pool.get().close()
    until(lambda: diary.entries.count("close") == 2)
    assert diary.since() == ["connect", "connect", "rollback", "close", "close"]
    assert pool.current_size == 0
    assert pool._expiration_timer is None
    # It goes on from there.
    pool.get().close()
    until(lambda: pool.current_size == 0)


def test_the_old_are_closed_in_time(hub_name):
    diary = Diary()
    pool = RawConnectionPool(diary, max_age=0.05)
    connection = pool.get()
    connection._made_at -= 0.05
    connection.close()
    assert diary.since() == ["connect", "close"]
    pool.get().close()
    until(lambda: pool.current_size == 0)


def test_one_that_is_too_old_is_not_lent(hub_name):
    diary = Diary()
    pool = RawConnectionPool(diary, max_size=1, max_age=1000)
    pool.get().close()
    pool.max_age = 1e-9
    diary.since()
    connection = pool.get()
    assert diary.since() == ["close", "connect"]
    assert pool.current_size == 1
    pool.max_age = 1000
    connection.close()
    pool.clear()


@BOTH
def test_connecting_takes_too_long(hub_name, kind):
    gate = threading.Event()

    def wait():
        if kind is RawConnectionPool:
            sleep(1000)
        else:
            gate.wait(20)

    diary = Diary(wait)
    pool = kind(diary, connect_timeout=0.01)
    with pytest.raises(ConnectTimeout, match=r"in 0\.01 seconds"):
        pool.get()
    assert (pool.current_size, pool.free()) == (0, 4)
    if kind is TpooledConnectionPool:
        # The thread goes on; what it makes is not left open.
        gate.set()
        until(lambda: diary.made and diary.made[0].closed)


@BOTH
def test_connecting_fails(hub_name, kind):
    def refuse():
        raise OSError("refused")

    pool = kind(Diary(refuse), max_size=1)
    for _ in range(3):
        with pytest.raises(OSError, match="refused"):
            pool.get()
    assert (pool.current_size, pool.free()) == (0, 1)


def test_who_waits_gets_what_comes_back(hub_name):
    pool = RawConnectionPool(Diary(), max_size=1)
    lent = pool.get()
    base = lent._base
    waiting = [spawn(pool.get) for _ in range(2)]
    sleep(0)
    assert pool.waiting() == 2
    lent.close()
    assert waiting[0].wait()._base is base
    waiting[0].wait().close()
    assert waiting[1].wait()._base is base
    waiting[1].wait().close()
    pool.clear()


def test_resize_closes_what_is_too_much(hub_name):
    diary = Diary()
    pool = RawConnectionPool(diary, min_size=3, max_size=3)
    lent = pool.get()
    diary.since()
    pool.resize(0)
    assert diary.since() == ["close", "close"]
    lent.close()
    assert diary.since() == ["close"]
    assert (pool.current_size, pool.free()) == (0, 0)


def test_another_connection_may_take_the_place(hub_name):
    diary = Diary()
    pool = RawConnectionPool(diary, max_size=1)
    broken = pool.get()._take()
    pool.put(diary.connect())
    assert pool.get()._base is not broken
    pool.put(None)
    assert (pool.current_size, pool.free()) == (0, 1)
    other = RawConnectionPool(diary)
    foreign = other.get()
    with pytest.raises(ValueError, match="another pool"):
        pool.put(foreign)
    foreign.close()
    other.clear()


def test_the_wrapper_has_what_the_connection_has(hub_name):
    class Driver:
        autocommit = False

        def cursor(self, kind="plain"):
            return kind

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            return "exited"

        def close(self):
            return "closed"

    class Mine(GenericConnectionWrapper):
        def cursor(self, *args):
            return "my", super().cursor(*args)

    driver = Driver()
    wrapper = Mine(driver)
    assert wrapper.cursor("server") == ("my", "server")
    wrapper.autocommit = True
    wrapper.isolation_level = "serializable"
    assert (driver.autocommit, driver.isolation_level) == (True, "serializable")
    assert wrapper.__enter__() is driver
    assert wrapper.__exit__(None, None, None) == "exited"
    assert wrapper.close() == "closed"
    with pytest.raises(AttributeError, match="ping"):
        wrapper.ping()
    assert "Driver" in repr(wrapper)


def test_coroutines_lend_too(run_async):
    diary = Diary()

    async def main():
        pool = RawConnectionPool(diary, max_size=1, cleanup=lambda conn: sleep(0))
        async with pool.item_async() as connection:
            assert connection.timeout == 1
            with pytest.raises(greenio.BlockingInLoopError):
                pool.get()
        connection = await pool.get_async()
        await pool.put_async(connection)
        assert (pool.current_size, pool.free()) == (1, 1)
        pool.clear()

    run_async(main)


def test_os_threads_lend_too(hub_name):
    pool = RawConnectionPool(Diary(), max_size=1)

    def use():
        with pool.item() as connection:
            return connection.timeout

    assert in_thread(use) == 1
    assert pool.free() == 1
    pool.clear()


def test_databases_by_host(hub_name):
    diary = Diary()
    connector = DatabaseConnector(
        diary,
        {"db1": {"user": "one"}, "default": {"user": "any"}},
        RawConnectionPool,
        max_size=3,
    )
    pool = connector.get("db1", "shop")
    assert connector.get("db1", "shop") is pool
    assert connector.get("db1", "stock") is not pool
    assert pool.max_size == 3
    connection = pool.get()
    assert connection.kwargs == {"db": "shop", "host": "db1", "user": "one"}
    connection.close()
    pool.clear()
    assert connector.credentials_for("db2") == {"user": "any"}
    assert DatabaseConnector(diary, {}).credentials_for("db2") is None
    with pytest.raises(LookupError, match="'default'"):
        DatabaseConnector(diary, {}).get("db2", "shop")
    driver = SimpleNamespace(__name__="psycopg2", connect=diary.connect)
    named = DatabaseConnector(driver, {"h": {}}, RawConnectionPool).get("h", "d")
    assert named._kwargs == {"dbname": "d", "host": "h"}


def test_bad_arguments(hub_name):
    with pytest.raises(TypeError, match="max_idle is a number of seconds, not None"):
        RawConnectionPool(sqlite3, max_idle=None)
    for pool in (RawConnectionPool, TpooledConnectionPool):
        with pytest.raises(TypeError, match="db_module is a module of the DB-API"):
            pool("sqlite3")
        # Unless it is not asked to connect.
        Own = type("Own", (pool,), {"create": lambda self: (0, 0, "connection")})
        assert Own("sqlite3").create()[2] == "connection"
    for name in ("max_idle", "max_age", "connect_timeout"):
        with pytest.raises(TypeError, match=f"{name} is a number of seconds"):
            RawConnectionPool(sqlite3, **{name: "x"})
        with pytest.raises(ValueError, match=f"{name} is a number of seconds"):
            RawConnectionPool(sqlite3, **{name: float("nan")})
    for wrong in (None, "me", ["host"]):
        with pytest.raises(TypeError, match="credentials is a dict"):
            DatabaseConnector(sqlite3, wrong)
    with pytest.raises(TypeError, match="conn_pool is a class"):
        DatabaseConnector(sqlite3, {}, "raw")
    with pytest.raises(TypeError, match="cleanup is a function"):
        RawConnectionPool(sqlite3, cleanup="rollback")
    with pytest.raises(NotImplementedError, match="RawConnectionPool or Tpooled"):
        BaseConnectionPool(sqlite3).get()
    with pytest.raises(ValueError, match="size of 0 or more"):
        RawConnectionPool(sqlite3, max_size=-1)


def test_none_is_lost_when_the_one_after_an_old_one_cannot_be_made(hub_name):
    diary = Diary()
    pool = RawConnectionPool(diary, max_size=1, max_age=1000)
    pool.get().close()
    pool.max_age = 1e-9

    def refuse():
        raise OSError("refused")

    diary._connect = refuse
    with pytest.raises(OSError, match="refused"):
        pool.get()
    assert (pool.current_size, pool.free()) == (0, 1)
    diary._connect, pool.max_age = None, 1000
    pool.get().close()
    pool.clear()


def test_a_cancelled_coroutine_keeps_no_connection(run_async):
    async def main():
        pool = RawConnectionPool(Diary(), max_size=1)
        connection = await pool.get_async()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pool.get_async(), 0.001)
        await pool.put_async(connection)
        async with pool.item_async(cleanup=None):
            pass
        with pytest.raises(TypeError):
            async with pool.item_async(cleanup="rollback"):
                pass
        assert (pool.current_size, pool.free()) == (1, 1)
        pool.clear()

    run_async(main)


def test_one_that_cannot_be_closed_is_told_of(hub_name, caplog):
    diary = Diary()
    pool = RawConnectionPool(diary)
    pool.get().close()

    def fail():
        raise OSError("gone")

    diary.made[0].close = fail
    pool.clear()
    assert "could not be closed" in caplog.text
    assert pool.current_size == 0
