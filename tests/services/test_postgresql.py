"""psycopg2 and asyncpg on PostgreSQL."""

from __future__ import annotations

import pytest

from _programs import run_client

pytestmark = [pytest.mark.slow, pytest.mark.service]


def test_psycopg2_overlaps(hub, late, postgresql):
    run_client(
        hub,
        "import psycopg2, sys",
        """
        def query(number):
            connection = psycopg2.connect(sys.argv[1])
            try:
                with connection.cursor() as cursor:
                    cursor.execute("select pg_sleep(0.2), %s", [number])
                    return cursor.fetchone()[1]
            finally:
                connection.close()

        assert together(20, query) == list(range(20))
        """,
        postgresql,
        late=late,
    )


def test_psycopg2_by_two_hundred_through_a_pool(hub, postgresql):
    """Transactions of two hundred green threads on ten connections."""
    run_client(
        hub,
        "import psycopg2, sys; from psycopg2.pool import ThreadedConnectionPool",
        """
        from greenio import Semaphore
        pool = ThreadedConnectionPool(11, 11, sys.argv[1])
        allowed = Semaphore(10)
        inside = peak = 0

        def transfer(number):
            global inside, peak
            with allowed:
                connection = pool.getconn()
                inside += 1
                peak = max(peak, inside)
                with connection, connection.cursor() as cursor:
                    cursor.execute(f"insert into {unique} values (%s)", [number])
                    cursor.execute("select pg_sleep(0.01)")
                    if number % 10 == 9:
                        connection.rollback()
                inside -= 1
                pool.putconn(connection)

        connection = pool.getconn()
        with connection, connection.cursor() as cursor:
            cursor.execute(f"create table {unique} (number integer)")
        with ticking() as ticker:
            in_green_threads(200, transfer)
            assert ticker.ticks
        with connection, connection.cursor() as cursor:
            cursor.execute(f"select number from {unique} order by number")
            rows = [row for row, in cursor]
            cursor.execute(f"drop table {unique}")
        assert rows == [number for number in range(200) if number % 10 != 9], rows
        assert peak > 5, peak
        pool.putconn(connection)
        pool.closeall()
        """,
        postgresql,
    )


def test_psycopg2_waiting_is_interrupted(hub, postgresql):
    """A green thread that is killed in a query leaves a connection that can be closed."""
    run_client(
        hub,
        "import psycopg2, sys",
        """
        import greenio
        connections = [psycopg2.connect(sys.argv[1]) for _ in range(2)]

        def query(connection, seconds):
            with connection.cursor() as cursor:
                cursor.execute("select pg_sleep(%s), 'done'", [seconds])
                return cursor.fetchone()[1]

        patient = greenio.spawn(query, connections[0], 0.2)
        try:
            with greenio.Timeout(0.05):
                query(connections[1], 60)
        except greenio.Timeout:
            pass
        else:
            raise AssertionError("no timeout")
        assert patient.wait() == "done"
        for connection in connections:
            connection.close()
        """,
        postgresql,
    )


def test_asyncpg_beside(hub, postgresql):
    """Its pool, used by two hundred green threads, beside psycopg2."""
    run_client(
        hub,
        "import asyncpg, psycopg2, sys",
        """
        import greenio

        def blocking(number):
            connection = psycopg2.connect(sys.argv[1])
            with connection.cursor() as cursor:
                cursor.execute("select pg_sleep(0.2), %s", [number])
                row = cursor.fetchone()
            connection.close()
            return row[1]

        pool = greenio.await_(asyncpg.create_pool(sys.argv[1], max_size=20))

        async def query(number):
            return (await pool.fetchrow("select pg_sleep(0.2), $1::int", number))[1]

        def either(number):
            return greenio.await_(query(number)) if number % 2 else blocking(number)

        assert together(20, either) == list(range(20))

        def quick(number):
            return greenio.await_(pool.fetchval("select $1::int", number))

        assert in_green_threads(200, quick) == list(range(200))
        greenio.await_(pool.close())
        """,
        postgresql,
    )
