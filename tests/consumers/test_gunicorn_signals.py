"""What gunicorn's signals do to a service under load: no accepted request is lost."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager

import psutil
import pytest

from _gunicorn import Gunicorn

pytestmark = pytest.mark.slow

APP = """
import os, time

seen = os.open("seen", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def app(environ, start_response):
    path = environ["PATH_INFO"]
    os.write(seen, f"{path}\\n".encode())
    if path.startswith("/slow"):
        time.sleep(0.2)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {os.getppid()}".encode()]
"""
CLIENTS = 12


@pytest.fixture
def start(tmp_path, loop):
    started = []

    def start(*words, **keywords):
        (tmp_path / "seen").unlink(missing_ok=True)
        started.append(
            Gunicorn(tmp_path, loop, APP, "-w", "2", *words, **keywords).started()
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()


class Load:
    """Clients that ask without a pause, each with a number for each request.

    A server may end a connection that waits for a request in the moment in which the
    client sends one. As RFC 9112, 9.3.1 says, the client then sends it again: where the
    connection had brought an answer before, and nothing came of this one. What was sent
    again must not have been served before.

    Args:
        server: Whom they ask.
        keeps: Whether they use their connections again.
    """

    def __init__(self, server, keeps):
        self.server = server
        self.keeps = keeps
        self.answered = set()
        self.pids = set()
        self.errors = []
        self.sent_again = set()
        # Connections that the system made and no worker took.
        self.unaccepted = 0
        self.refused = False
        self.done = threading.Event()
        self.threads = [
            threading.Thread(target=self._ask, args=(number,))
            for number in range(CLIENTS)
        ]

    def _ask(self, number):
        count = 0
        connection = None
        again = False
        while not self.done.is_set() or again:
            fresh = connection is None
            silent = True
            if not again:
                count += 1
            again = False
            path = f"/{'slow' if number % 3 == 0 else 'quick'}/{number}/{count}"
            try:
                if fresh:
                    connection = self.server.connection()
                    connection.connect()
                connection.request("GET", path)
                silent = not connection.sock.recv(1, socket.MSG_PEEK)
                response = connection.getresponse()
                body = response.read()
                assert response.status == 200
                self.answered.add(path)
                self.pids.add(int(body.split()[0]))
                if not self.keeps or response.will_close:
                    connection.close()
                    connection = None
            except ConnectionRefusedError:
                self.refused = True
                return
            except (ConnectionResetError, BrokenPipeError) as error:
                if fresh:
                    self.unaccepted += 1
                elif silent:
                    self.sent_again.add(path)
                    again = True
                else:
                    self.errors.append((path, repr(error)))
                connection = None
            except (OSError, http.client.HTTPException) as error:
                self.errors.append((path, repr(error)))
                connection = None
        if connection is not None:
            connection.close()

    def more(self, count=60):
        """Wait until so many more requests were answered."""
        target = len(self.answered) + count
        self.server.until(lambda: len(self.answered) >= target)

    def lost(self):
        """What the application saw and no client got, be it the first time only."""
        seen = Counter((self.server.directory / "seen").read_text().split())
        del seen["/"]
        return {
            path for path in seen if path not in self.answered or seen[path] > 1
        } | (self.sent_again - self.answered if not self.refused else set())


@contextmanager
def load(server, keeps):
    clients = Load(server, keeps)
    for thread in clients.threads:
        thread.start()
    try:
        clients.more()
        yield clients
    finally:
        clients.done.set()
        for thread in clients.threads:
            thread.join()


either = pytest.mark.parametrize("keeps", [False, True], ids=["close", "keep-alive"])


def two_workers(server):
    return server.until(lambda: len(now := server.workers()) == 2 and now)


def hup(server, clients):
    old = two_workers(server)
    server.send_signal(signal.SIGHUP)
    server.until(lambda: len(new := server.workers()) == 2 and not set(old) & set(new))
    clients.more()


def usr2(server, clients):
    """Start a second gunicorn on the same sockets, then end the first."""
    first = server.master
    old = two_workers(server)
    server.send_signal(signal.SIGUSR2)
    second_pid = server.directory / "pid.2"
    second = server.until(lambda: psutil.Process(int(second_pid.read_text())))
    server.until(
        lambda: (
            int(server.ask("/").split()[0]) in {one.pid for one in second.children()}
        )
    )
    first.send_signal(signal.SIGTERM)
    if first.pid == server.process.pid:
        server.process.wait(timeout=60)
    else:
        server.until(lambda: not first.is_running())
    server.until(lambda: server.master.pid == second.pid)
    assert not set(old) & set(server.workers())
    clients.more()


def hup_and_usr2(start, keeps, rounds):
    server = start()
    with load(server, keeps) as clients:
        for _ in range(rounds):
            hup(server, clients)
            usr2(server, clients)
    assert clients.errors == []
    assert clients.unaccepted == 0
    assert not clients.refused
    assert clients.lost() == set()
    assert len(clients.pids) >= 1 + 2 * rounds


def term(start, keeps, rounds):
    for _ in range(rounds):
        server = start()
        with load(server, keeps) as clients:
            server.end()
            server.until(lambda: clients.refused)
        assert server.process.returncode == 0
        assert clients.errors == []
        assert clients.lost() == set()


@pytest.mark.parametrize(
    "keeps",
    [False, pytest.param(True, marks=pytest.mark.smoke)],
    ids=["close", "keep-alive"],
)
def test_restarts_under_load(start, keeps):
    hup_and_usr2(start, keeps, 1)


@pytest.mark.smoke
@either
def test_the_end_under_load(start, keeps):
    term(start, keeps, 1)


@pytest.mark.stress
@pytest.mark.timeout(600)
@either
def test_ten_restarts_under_load(start, keeps):
    hup_and_usr2(start, keeps, 10)


@pytest.mark.stress
@pytest.mark.timeout(600)
@either
def test_ten_ends_under_load(start, keeps):
    term(start, keeps, 10)


@either
def test_workers_that_reach_max_requests_under_load(start, keeps):
    server = start("--max-requests", "150", "--max-requests-jitter", "50")
    with load(server, keeps) as clients:
        server.until(lambda: len(clients.pids) >= 5, 60)
    assert clients.errors == []
    assert clients.unaccepted == 0
    assert clients.lost() == set()


def test_more_and_fewer_workers(start):
    server = start()
    with load(server, keeps=True) as clients:
        server.send_signal(signal.SIGTTIN)
        server.until(lambda: len(server.workers()) == 3)
        clients.more()
        server.send_signal(signal.SIGTTOU)
        two_workers(server)
        clients.more()
    assert clients.errors == []
    assert clients.unaccepted == 0
    assert clients.lost() == set()


def test_usr1_opens_the_log_files_again(start, tmp_path):
    server = start("--access-logfile", "access")
    (tmp_path / "access").rename(tmp_path / "access.1")
    server.send_signal(signal.SIGUSR1)

    def logged():
        server.ask("/after")
        return "/after" in (tmp_path / "access").read_text()

    server.until(logged)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_end_at_once(start, number):
    server = start("--graceful-timeout", "60")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(4096)
        begun = time.monotonic()
        server.end(number)
        assert time.monotonic() - begun < 30
        assert sock.recv(4096) == b""
    assert server.process.returncode == 0


def test_an_idle_connection_does_not_hold_up_the_end(start):
    server = start("--keep-alive", "100", "--graceful-timeout", "100")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(4096)
        begun = time.monotonic()
        server.end()
        assert time.monotonic() - begun < 30


def statuses(process):
    """The states of its connections."""
    return {connection.status for connection in process.net_connections()}


def test_the_last_answer_says_so(start):
    """A connection that is kept alive may bring one more request when a worker stops."""
    server = start("--keep-alive", "100")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        first = sock.recv(4096)
        assert b"Connection: close" not in first
        pid = int(first.rpartition(b"\r\n\r\n")[2].split()[0])
        worker = psutil.Process(pid)
        os.kill(pid, signal.SIGTERM)
        server.until(lambda: psutil.CONN_LISTEN not in statuses(worker))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(4096), b""))
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(first.rpartition(b"\r\n\r\n")[2])
