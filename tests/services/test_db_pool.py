"""`greenio.db_pool` on PostgreSQL and MariaDB."""

from __future__ import annotations

import pytest

from _programs import run_client

pytestmark = [pytest.mark.slow, pytest.mark.service]

POSTGRESQL = """
import psycopg2, sys
from greenio import db_pool

def make(kind, **kwargs):
    return kind(psycopg2, dsn=sys.argv[1], **kwargs)

def sleeping(seconds):
    return f"select pg_sleep({seconds}), %s"
"""

MARIADB = """
import pymysql, sys
from urllib.parse import urlsplit
from greenio import db_pool
url = urlsplit(sys.argv[1])

def make(kind, **kwargs):
    return kind(
        pymysql, host=url.hostname, port=url.port, user=url.username,
        password=url.password or "", database=url.path.lstrip("/"), **kwargs
    )

def sleeping(seconds):
    return f"select sleep({seconds}), %s"
"""


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request) -> tuple[str, str, str]:
    """What imports the driver, the program's beginning, and the URL."""
    url = request.getfixturevalue(request.param)
    if request.param == "postgresql":
        return "import psycopg2", POSTGRESQL, url
    return "import pymysql", MARIADB, url


@pytest.mark.parametrize("kind", ["RawConnectionPool", "TpooledConnectionPool"])
def test_two_hundred_transactions_on_ten_connections(hub, database, kind):
    driver, beginning, url = database
    run_client(
        hub,
        driver,
        beginning
        + f"""
pool = make(db_pool.{kind}, max_size=10)
inside = peak = 0

def transfer(number):
    global inside, peak
    with pool.item() as connection:
        inside += 1
        peak = max(peak, inside)
        cursor = connection.cursor()
        cursor.execute(f"insert into {{unique}} values (%s)", [number])
        cursor.execute(sleeping(0.01), [number])
        row = cursor.fetchone()
        cursor.close()
        if number % 10 != 9:
            connection.commit()
        inside -= 1
        return row[1]

with pool.item() as connection:
    cursor = connection.cursor()
    cursor.execute(f"create table {{unique}} (number integer)")
    connection.commit()
with ticking() as ticker:
    assert in_green_threads(200, transfer) == list(range(200))
    assert ticker.ticks
assert 5 < peak <= 10, peak
assert pool.current_size <= 10
with pool.item() as connection:
    cursor = connection.cursor()
    cursor.execute(f"select number from {{unique}} order by number")
    rows = [row[0] for row in cursor]
    # What was not committed was rolled back when the connection came back.
    assert rows == [number for number in range(200) if number % 10 != 9], rows
    connection.rollback()
    cursor.execute(f"drop table {{unique}}")
    connection.commit()
pool.clear()
assert pool.current_size == 0
""",
        url,
    )


def test_a_connection_that_the_server_ended_is_replaced(hub, database):
    driver, beginning, url = database
    run_client(
        hub,
        driver,
        beginning
        + """
import logging; logging.disable()
pool = make(db_pool.RawConnectionPool, max_size=2)
victim, other = pool.get(), pool.get()
cursor = victim.cursor()
ask = "select pg_backend_pid()" if "psycopg2" in sys.modules else "select connection_id()"
cursor.execute(ask)
number = cursor.fetchone()[0]
end = "select pg_terminate_backend(%s)" if "psycopg2" in sys.modules else "kill %s"
other.cursor().execute(end, [number])
try:
    while True:
        cursor.execute("select 1")
        cursor.fetchone()
except Exception:
    pass
else:
    raise AssertionError("it lives")
victim.close()
other.close()
assert pool.current_size == 1, pool
with pool.item() as first, pool.item() as second:
    for connection in (first, second):
        cursor = connection.cursor()
        cursor.execute(sleeping(0), [5])
        assert cursor.fetchone()[1] == 5
pool.clear()
""",
        url,
    )


def test_a_killed_query_takes_its_connection_with_it(hub, database):
    """Nothing else is lent a connection that is in the middle of an answer."""
    driver, beginning, url = database
    run_client(
        hub,
        driver,
        beginning
        + """
import greenio, logging; logging.disable()
pool = make(db_pool.RawConnectionPool, max_size=1)

def query(seconds, number):
    with pool.item() as connection:
        cursor = connection.cursor()
        cursor.execute(sleeping(seconds), [number])
        return cursor.fetchone()[1]

assert query(0, 1) == 1
# The rollback, too, would wait for the server.
pool.cleanup = lambda connection: greenio.with_timeout(0.2, connection.rollback)
try:
    with greenio.Timeout(0.05):
        query(2, 2)
except BaseException:
    pass
else:
    raise AssertionError("no timeout")
assert query(0, 3) == 3
pool.clear()
""",
        url,
    )


def test_the_connector_knows_what_the_driver_calls_it(hub, database):
    driver, beginning, url = database
    run_client(
        hub,
        driver,
        beginning
        + """
from urllib.parse import urlsplit
url = urlsplit(sys.argv[1])
module = sys.modules.get("psycopg2") or sys.modules["pymysql"]
credentials = {"user": url.username, "port": url.port}
if url.password:
    credentials["password"] = url.password
connector = db_pool.DatabaseConnector(
    module, {"default": credentials}, db_pool.RawConnectionPool, max_size=1
)
pool = connector.get(url.hostname, url.path.lstrip("/"))
with pool.item() as connection:
    cursor = connection.cursor()
    cursor.execute(sleeping(0), [7])
    assert cursor.fetchone()[1] == 7
pool.clear()
""",
        url,
    )
