"""PyMySQL on MariaDB.

mysqlclient has no wheels: it is not tried here.
"""

from __future__ import annotations

import pytest

from _programs import run_client

pytestmark = [pytest.mark.slow, pytest.mark.service]


CONNECT = """
import sys
from urllib.parse import urlsplit
url = urlsplit(sys.argv[1])

def connect():
    return pymysql.connect(
        host=url.hostname, port=url.port, user=url.username,
        password=url.password or "", database=url.path.lstrip("/"),
    )
"""


def test_pymysql_overlaps(hub, late, mariadb):
    run_client(
        hub,
        "import pymysql",
        CONNECT
        + """
def query(number):
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("select sleep(0.2), %s", [number])
        return cursor.fetchone()[1]

assert together(20, query) == list(range(20))
""",
        mariadb,
        late=late,
    )


def test_pymysql_by_two_hundred_through_a_pool(hub, mariadb):
    run_client(
        hub,
        "import pymysql",
        CONNECT
        + """
from greenio.pools import Pool
pool = Pool(max_size=10, create=connect)
inside = peak = 0

def query(number):
    global inside, peak
    with pool.item() as connection, connection.cursor() as cursor:
        inside += 1
        peak = max(peak, inside)
        cursor.execute("select sleep(0.01), %s", [number])
        inside -= 1
        return cursor.fetchone()[1]

with ticking() as ticker:
    assert in_green_threads(200, query) == list(range(200))
    assert ticker.ticks
assert peak > 5, peak
while pool.free_items:
    pool.free_items.popleft().close()
""",
        mariadb,
    )


def test_pymysql_locks_in_turn(hub, mariadb):
    """Named locks of the server, each waited for by a green thread."""
    run_client(
        hub,
        "import pymysql",
        CONNECT
        + """
def ask(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]

def take(number):
    with connect() as connection:
        assert ask(connection, f"select get_lock('{unique}', 30)") == 1
        return ask(connection, f"select release_lock('{unique}')")

with connect() as holder:
    assert ask(holder, f"select get_lock('{unique}', 30)") == 1
    release = lambda: ask(holder, f"select release_lock('{unique}')")
    assert gated(10, take, release) == [1] * 10
""",
        mariadb,
    )
