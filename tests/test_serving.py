"""`serve` and its kin: what they say when a handler fails, and of bad arguments."""

from __future__ import annotations

import socket
import sys
import traceback

import pytest

import greenio
from _sockets import until_parked
from _support import settle, until
from greenio import connect, listen, serve, wrap_ssl
from greenio._net.socket import GreenSocket

LOCAL = ("127.0.0.1", 0)


def fail(connection, address):
    raise LookupError("not in the shop")


def test_a_failing_handler_ends_it_and_shows_where(hub_name):
    with listen(LOCAL) as server:
        serving = greenio.spawn(serve, server, fail)
        with connect(server.getsockname()) as client:
            assert client.recv(1) == b""
        with pytest.raises(LookupError) as caught:
            serving.wait()
        names = [frame.name for frame in traceback.extract_tb(caught.tb)]
        assert names[-1] == "fail"
        if sys.version_info >= (3, 11):
            assert "serve() ended" in caught.value.__notes__[0]
        # It is the caller's, and can be served again.
        serving = greenio.spawn(serve, server, lambda sock, _: sock.sendall(b"x"))
        with connect(server.getsockname()) as client:
            assert client.recv(1) == b"x"
        serving.kill()


def test_coroutine_functions_and_plain_sockets(hub_name):
    async def handle(connection, address):
        await greenio.run_green(connection.sendall, b"async")

    with socket.create_server(LOCAL) as server:
        serving = greenio.spawn(serve, server, handle)
        until_parked(serving)
        with connect(server.getsockname()) as client:
            assert client.recv(9) == b"async"
        serving.kill()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda sock: serve(sock, None),
            r"serve\(listen\(address\), handle\), not None",
        ),
        (lambda sock: serve(None, fail), r"greenio\.listen\(address\).*not None"),
        (lambda sock: serve(7, fail), "not 7"),
        (lambda sock: serve(sock, fail, "many"), "whole number"),
        (lambda sock: listen(None), r"listen\(\(host, port\)\)"),
        (lambda sock: listen("localhost:80"), "not 'localhost:80'"),
        (lambda sock: wrap_ssl(None), r"greenio\.connect\(\)"),
    ],
)
def test_bad_arguments(hub_name, call, says):
    with listen(LOCAL) as sock, pytest.raises(TypeError, match=says):
        call(sock)


def test_no_connections_at_a_time(hub_name):
    with listen(LOCAL) as sock, pytest.raises(ValueError, match="accept none"):
        serve(sock, fail, 0)
    with GreenSocket() as sock, pytest.raises(OSError):
        serve(sock, fail)


class Accepts:
    """What is no socket and accepts like one, as pyOpenSSL's connections do."""

    def __init__(self, sock):
        self._sock = sock
        self.accepted = 0

    def accept(self):
        found = self._sock.accept()
        self.accepted += 1
        return found


def test_who_is_accepted_while_there_is_no_room_is_closed_with_the_server(hub_name):
    handling = []

    def handle(connection, address):
        handling.append(connection)
        connection.recv(1)

    with listen(LOCAL) as server:
        listener = Accepts(server)
        serving = greenio.spawn(serve, listener, handle, 1)
        with (
            connect(server.getsockname()) as first,
            connect(server.getsockname()) as second,
        ):
            until(lambda: handling and listener.accepted == 2)
            settle()
            serving.kill()
            assert second.recv(1) == b""
            # Whoever is served goes on.
            first.sendall(b"x")
            assert first.recv(1) == b""
    assert len(handling) == 1


def test_somebody_else_may_say_that_it_is_over(hub_name):
    with listen(LOCAL) as server:
        serving = greenio.spawn(serve, server, fail)
        until_parked(serving)
        serving.kill(greenio.StopServe)
        assert serving.wait() is None


def test_whatever_accepts_is_served(hub_name):
    with listen(LOCAL) as server:
        serving = greenio.spawn(
            serve, Accepts(server), lambda sock, _: sock.sendall(b"x")
        )
        with connect(server.getsockname()) as client:
            assert client.recv(9) == b"x"
        serving.kill()
