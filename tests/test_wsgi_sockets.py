"""The sockets of `greenio.wsgi`: of every kind, and taken over by the application."""

from __future__ import annotations

import contextlib
import errno
import os

import pytest
import trustme

import greenio
from _http import (
    LAST,
    PATHS,
    Answers,
    ClassicPath,
    echo,
    hello,
    read_all,
    read_answer,
    serving,
)
from greenio import wsgi
from greenio._net.socket import GreenSocket
from greenio.green import socket, ssl


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


# -- taking the socket over ------------------------------------------------------------------


@pytest.mark.parametrize("how", ["returned", "local"])
@pytest.mark.parametrize("early", [b"", b"early "])
def test_an_application_may_take_the_socket(how, early, path, hub_name):
    def app(environ, start_response):
        sock = environ["eventlet.input"].get_socket()
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        while data := sock.recv(100):
            sock.sendall(data.upper())
        if how == "returned":
            return wsgi.ALREADY_HANDLED
        wsgi.WSGI_LOCAL.already_handled = True
        return []

    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    with serving(app, **path) as site:
        for _ in range(2):
            with site.connect() as sock:
                sock.sendall(upgrade + early)
                greenio.sleep(0)
                sock.sendall(b"later")
                sock.shutdown(socket.SHUT_WR)
                assert read_all(sock).endswith(b"\r\n\r\n" + early.upper() + b"LATER")
        # What one has said does not count for the next one.
        site.app = hello
        assert site.ask(LAST).statuses == [200]


def tls_listener():
    """A listening socket with TLS, and what makes clients of it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    plain = greenio.listen(("127.0.0.1", 0))
    return context.wrap_socket(plain, server_side=True), client


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("how", ["recv", "recv_into", "read"])
def test_what_came_with_the_head_comes_first(how, secure, hub_name):
    """From a socket that the application has taken, by each way to receive."""

    def receive(sock, most):
        if how == "recv_into":
            buffer = bytearray(most)
            return bytes(buffer[: sock.recv_into(buffer)])
        # TLS sockets have both.
        return getattr(sock, how, sock.recv)(most)

    def app(environ, start_response):
        sock = environ["eventlet.input"].get_socket()
        assert sock.fileno() > 0
        got = b""
        while len(got) < len(b"early later"):
            got += receive(sock, 4)
        sock.sendall(got.upper())
        return wsgi.ALREADY_HANDLED

    listener, client = tls_listener() if secure else (None, None)
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    with serving(app, listener) as site, site.connect() as plain:
        sock = (
            client.wrap_socket(plain, server_hostname="localhost") if secure else plain
        )
        sock.sendall(upgrade + b"early ")
        sock.sendall(b"later")
        got = b""
        while len(got) < len(b"early later"):
            got += sock.recv(100)
        assert got == b"EARLY LATER"
        sock.close()


def test_what_stands_for_an_answer_of_the_applications_own():
    assert list(wsgi.ALREADY_HANDLED) == []
    assert repr(wsgi.ALREADY_HANDLED) == "greenio.wsgi.ALREADY_HANDLED"


# -- sockets -------------------------------------------------------------------------------------


def test_a_unix_socket(path, tmp_path, hub_name):
    name = str(tmp_path / "socket")
    with serving(hello, greenio.listen(name, socket.AF_UNIX), **path) as site:
        assert site.ask(LAST).statuses == [200]
    assert f"http:unix:{name}" in site.log.text


def test_a_socket_that_is_not_green(path, hub_name):
    import socket as plain

    with serving(hello, plain.create_server(("127.0.0.1", 0)), **path) as site:
        assert site.ask(LAST).statuses == [200]


def test_tls(path, hub_name):
    listener, client = tls_listener()
    schemes = []

    def app(environ, start_response):
        schemes.append(environ["wsgi.url_scheme"])
        return echo(environ, start_response)

    with serving(app, listener, **path) as site:
        # One that says nothing, and one that says nonsense, keep nobody waiting.
        silent = greenio.connect(site.address)
        with contextlib.suppress(ConnectionResetError):
            assert site.ask(b"nonsense\r\n\r\n").statuses == []
        plain = greenio.connect(site.address)
        with client.wrap_socket(plain, server_hostname="localhost") as sock:
            body = b"x" * 200_000
            sock.sendall(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body
            )
            assert read_answer(sock)[2] == body
            sock.sendall(LAST)
            assert read_answer(sock)[0] == 200
            assert sock.recv(10) == b""
        silent.close()
    assert schemes == ["https"] * 2


def test_answers_objects_are_not_confused(hub_name):
    """The helper finds as many answers as there are."""
    assert Answers(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 404 No\r\n\r\n").statuses == [
        200,
        404,
    ]


def test_a_classic_path_is_told_from_others():
    class Harmless(wsgi.HttpProtocol):
        minimum_chunk_size = 1

        def extra(self):
            pass

    class Deeper(ClassicPath):
        pass

    assert not Harmless._is_classic
    assert ClassicPath._is_classic
    assert Deeper._is_classic


# -- accepting ---------------------------------------------------------------------------


class Flaky(GreenSocket):
    """A listening socket that some connections get lost of."""

    def fail(self, *numbers):
        self.numbers = list(numbers)

    def accept(self):
        if self.numbers:
            number = self.numbers.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ECONNABORTED, None),
        (errno.EPERM, "wsgi could not accept a connection"),
        (errno.EMFILE, "wsgi cannot accept connections for now"),
    ],
    ids=["aborted", "refused", "too many files"],
)
def test_a_connection_that_cannot_be_accepted_ends_no_server(
    number, said, path, hub_name, monkeypatch
):
    waited = []
    monkeypatch.setattr("greenio._http.accepting.sleep", waited.append)
    listener = Flaky()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.fail(number)
    with serving(hello, listener, **path) as site:
        assert site.ask(LAST).statuses == [200]
    assert said is None or said in site.log.text
    assert "greenio" not in site.log.text or said
    assert bool([seconds for seconds in waited if seconds]) is (said is not None)
