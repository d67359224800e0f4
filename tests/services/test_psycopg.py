"""psycopg 3, green and asynchronous."""

from __future__ import annotations

import pytest

from _programs import run_client

pytestmark = [pytest.mark.slow, pytest.mark.service]


def test_psycopg_overlaps(hub, late, postgresql):
    run_client(
        hub,
        "import psycopg, sys",
        """
        def query(number):
            with psycopg.connect(sys.argv[1]) as connection:
                row = connection.execute("select pg_sleep(0.2), %s", [number]).fetchone()
                return row[1]

        assert together(20, query) == list(range(20))
        """,
        postgresql,
        late=late,
    )


def test_psycopg_notifications(hub, postgresql):
    """`notifies` waits for what another connection sends."""
    run_client(
        hub,
        "import psycopg, sys",
        """
        def listen(number):
            with psycopg.connect(sys.argv[1], autocommit=True) as connection:
                connection.execute(f"listen {unique}")
                return next(connection.notifies()).payload

        def notify():
            with psycopg.connect(sys.argv[1], autocommit=True) as connection:
                # Some may be about to listen.
                connection.execute("select pg_sleep(0.2)")
                connection.execute(f"notify {unique}, 'hello'")

        assert gated(5, listen, notify) == ["hello"] * 5
        """,
        postgresql,
    )


def test_psycopg_async_beside(hub, postgresql):
    """Its asynchronous connections, by `await_` and beside green threads."""
    run_client(
        hub,
        "import psycopg, sys",
        """
        import greenio
        async def query(number):
            async with await psycopg.AsyncConnection.connect(sys.argv[1]) as connection:
                cursor = await connection.execute(
                    "select pg_sleep(0.2), %s", [number]
                )
                return (await cursor.fetchone())[1]

        def either(number):
            if number % 2:
                return greenio.await_(query(number))
            with psycopg.connect(sys.argv[1]) as connection:
                row = connection.execute("select pg_sleep(0.2), %s", [number]).fetchone()
                return row[1]

        assert together(20, either) == list(range(20))
        """,
        postgresql,
    )


def test_psycopg_by_two_hundred_through_its_pool(hub, postgresql):
    """The pool has threads of its own, which are green too."""
    run_client(
        hub,
        "import psycopg, psycopg_pool, sys",
        """
        inside = peak = 0

        def query(number):
            global inside, peak
            with pool.connection() as connection:
                inside += 1
                peak = max(peak, inside)
                row = connection.execute(
                    "select pg_sleep(0.01), %s", [number]
                ).fetchone()
                inside -= 1
                return row[1]

        with psycopg_pool.ConnectionPool(sys.argv[1], min_size=10) as pool:
            pool.wait()
            with ticking() as ticker:
                assert in_green_threads(200, query) == list(range(200))
                assert ticker.ticks
        assert peak > 5, peak
        """,
        postgresql,
    )


def test_psycopg_cancels_what_is_interrupted(hub, postgresql):
    """After a timeout or a kill in a query, the connection can be used."""
    run_client(
        hub,
        "import psycopg, sys",
        """
        with psycopg.connect(sys.argv[1], autocommit=True) as connection:
            try:
                with greenio.Timeout(0.1):
                    connection.execute("select pg_sleep(60)")
            except greenio.Timeout:
                pass
            else:
                raise AssertionError("no timeout")
            assert connection.execute("select 1").fetchone() == (1,)
            killed = greenio.spawn(connection.execute, "select pg_sleep(60)")
            greenio.sleep(0.05)
            killed.kill()
            assert connection.execute("select 2").fetchone() == (2,)
        """,
        postgresql,
    )
