"""`greenio.green.MySQLdb`, on a stand-in for mysqlclient whose server is the test."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
from types import ModuleType

import pytest
from greenlet import GreenletExit

import greenio
from _sockets import in_thread


class Result:
    """Rows that come one by one; it knows in which OS threads it was asked for them."""

    def __init__(self):
        self.asked_in = set()
        self.left = [1, 2, 3]
        self.fields = "known at once"

    def fetch_row(self, maxrows=1, how=0):
        self.asked_in.add(threading.get_ident())
        rows, self.left = self.left[:maxrows], self.left[maxrows:]
        return tuple((row, how) for row in rows)

    def discard(self):
        self.asked_in.add(threading.get_ident())
        self.left.clear()


class PlainConnection:
    """A connection as mysqlclient's: the answer is read when it is asked for."""

    results = None

    def __init__(self, host, *, port=3306):
        self.made_in = threading.get_ident()
        self.where = (host, port)
        self.sent = []
        self.sent_in = []
        self.answers = []
        self.closed = False
        self.committed_in = None
        self._sock, self.server = socket.socketpair()

    def fileno(self):
        return self._sock.fileno()

    def send_query(self, query):
        self.sent.append(query)
        self.sent_in.append(threading.get_ident())

    def read_query_result(self):
        self.answers.append(self._sock.recv(100))

    def use_result(self):
        return self.results

    def commit(self):
        """Commit, says mysqlclient."""
        self.committed_in = threading.get_ident()

    def close(self):
        self.closed = True
        self._sock.close()
        self.server.close()


@pytest.fixture
def mysql(monkeypatch, hub_name):
    """The green module, made of the stand-in."""
    package, connections = ModuleType("MySQLdb"), ModuleType("MySQLdb.connections")
    package.__path__ = []
    package.connections = connections
    package.escape_string = str.upper
    connections.Connection = PlainConnection
    monkeypatch.setitem(sys.modules, "MySQLdb", package)
    monkeypatch.setitem(sys.modules, "MySQLdb.connections", connections)
    name = "greenio.green.MySQLdb"
    # Whichever there may be comes back afterwards.
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)
    vars(greenio.green).pop("MySQLdb", None)


@pytest.fixture
def connection(mysql):
    made = mysql.connect("db.test", port=1)
    yield made
    if not made.closed:
        made.close()


def test_connecting_is_done_in_another_thread(mysql, connection):
    assert isinstance(connection, mysql.Connection)
    assert connection.where == ("db.test", 1)
    assert connection.made_in != threading.get_ident()
    assert mysql.Connect is mysql.connect
    # The rest is mysqlclient's.
    assert mysql.escape_string("a") == "A"


def test_others_run_until_the_server_answers(connection, ticker):
    query = greenio.spawn(connection.query, bytearray(b"select 1"))
    while not connection.sent or ticker.ticks < 2:
        greenio.sleep(0)
    assert connection.sent == [b"select 1"]
    assert type(connection.sent[0]) is bytes
    assert connection.sent_in == [threading.get_ident()]
    assert connection.answers == []
    connection.server.send(b"one row")
    query.wait()
    assert connection.answers == [b"one row"]


def test_a_long_query_is_sent_in_another_thread(connection):
    connection.server.send(b"done")
    connection.query("x" * 100_000)
    assert connection.answers == [b"done"]
    assert threading.get_ident() not in connection.sent_in


def test_an_interrupted_query_closes_the_connection(connection):
    query = greenio.spawn(connection.query, "select sleep(10)")
    greenio.sleep(0)
    query.kill()
    with pytest.raises(GreenletExit):
        query.wait()
    assert connection.closed
    assert connection.answers == []


def test_a_query_in_a_thread_without_a_hub(connection):
    connection.server.send(b"there")
    in_thread(lambda: connection.query("select 1"))
    assert connection.answers == [b"there"]


def test_rows_on_their_way_are_fetched_in_another_thread(connection):
    assert connection.use_result() is None
    connection.results = Result()
    rows = connection.use_result()
    assert rows.fields == "known at once"
    assert rows.fetch_row(2, how=1) == ((1, 1), (2, 1))
    rows.discard()
    assert connection.results.left == []
    assert threading.get_ident() not in connection.results.asked_in


def test_what_waits_for_the_server_is_done_in_another_thread(connection):
    connection.commit()
    assert connection.committed_in not in (None, threading.get_ident())
    assert type(connection).commit.__name__ == "commit"
    assert type(connection).commit.__doc__ == "Commit, says mysqlclient."
    # This mysqlclient has no such method.
    assert not hasattr(connection, "dump_debug_info")
