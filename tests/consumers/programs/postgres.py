"""psycopg2 made green by psycogreen, which waits by `trampoline`: ``postgres.py DSN``."""

import eventlet

eventlet.monkey_patch()

import sys

import psycogreen.eventlet
import psycopg2
import psycopg2.extensions

psycogreen.eventlet.patch_psycopg()
assert psycopg2.extensions.get_wait_callback().__module__ == "psycogreen.eventlet"
dsn = sys.argv[1]
ticks, waiting = [], []


def ticking():
    while True:
        ticks.append(1)
        eventlet.sleep(0.01)


def ask(number):
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            waiting.append(number)
            # Until all 20 wait in the database.
            while len(waiting) < 20:
                cursor.execute("select pg_sleep(0.05)")
            cursor.execute("select %s + 1", [number])
            return cursor.fetchone()[0]
    finally:
        connection.close()


ticker = eventlet.spawn(ticking)
assert list(eventlet.GreenPool(20).imap(ask, range(20))) == [*range(1, 21)]
assert len(ticks) > 3
connection = psycopg2.connect(dsn)
with connection, connection.cursor() as cursor:
    cursor.execute("select repeat('x', 5000000)")
    assert len(cursor.fetchone()[0]) == 5_000_000
try:
    with eventlet.Timeout(0.2):
        with connection.cursor() as cursor:
            cursor.execute("select pg_sleep(30)")
    raise AssertionError("no time-out")
except eventlet.Timeout:
    pass
connection.close()
ticker.kill()
print("done")
