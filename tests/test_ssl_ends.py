"""TLS over green sockets: the end of a connection, time limits, non-blocking."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import ssl
import time

import pytest
from greenlet import GreenletExit

import greenio
from _sockets import registered, until_parked, waiting
from _support import settle
from _tls import connection, shaken, tls_over
from greenio import hubs
from greenio._net.socket import GreenSocket, socketpair

# -- the end ------------------------------------------------------------------------------


def test_unwrap(tls_pair):
    server, client = tls_pair
    unwrapping = greenio.spawn(server.unwrap)
    until_parked(unwrapping)
    plain_client = client.unwrap()
    plain_server = unwrapping.wait()
    thread = greenio.spawn(plain_server.recv, 10)
    until_parked(thread)
    plain_client.sendall(b"in the clear")
    assert thread.wait() == b"in the cle"
    assert plain_server.recv(10) == b"ar"
    with pytest.raises(ValueError, match="No SSL wrapper"):
        client.unwrap()


def test_after_unwrap_a_file_is_sent_in_the_clear(tls_pair, tmp_path):
    server, client = tls_pair
    unwrapping = greenio.spawn(server.unwrap)
    until_parked(unwrapping)
    client = client.unwrap()
    server = unwrapping.wait()
    (tmp_path / "file").write_bytes(b"in a file")
    thread = greenio.spawn(client.recvfrom, 10)
    until_parked(thread)
    with (tmp_path / "file").open("rb") as file:
        assert server.sendfile(file) == 9
    assert thread.wait()[0] == b"in a file"


def test_detached_is_closed(tls_pair):
    server, client = tls_pair
    fd = client.detach()
    # Not a wait of the whole OS thread on a number that is somebody else's.
    with pytest.raises(OSError) as caught:
        client.recv(10)
    assert caught.value.errno == errno.EBADF
    os.close(fd)
    # A reset, if there was something that it has not read: tickets for a next session.
    with contextlib.suppress(ConnectionResetError):
        assert server.recv(10) == b""


def test_close_is_the_end_of_the_stream(tls_pair):
    server, client = tls_pair
    thread = greenio.spawn(client.recv, 10)
    until_parked(thread)
    server.close()
    assert thread.wait() == b""


def test_ragged_end(hub_name, certificates):
    left, right = connection()
    server, client = shaken(
        certificates.server_context(),
        certificates.client_context(),
        certificates,
        left=left,
        right=right,
        suppress_ragged_eofs=False,
    )
    with client:
        thread = greenio.spawn(client.recv, 10)
        until_parked(thread)
        server.close()
        with pytest.raises(ssl.SSLEOFError):
            thread.wait()


@pytest.mark.parametrize("name", ["recv", "recv_into", "read", "sendall"])
def test_close_wakes(tls_pair, name):
    server, client = tls_pair
    call = {
        "recv": lambda: server.recv(10),
        "recv_into": lambda: server.recv_into(bytearray(10)),
        "read": lambda: server.read(10),
        "sendall": lambda: server.sendall(bytes(5_000_000)),
    }[name]
    thread = greenio.spawn(call)
    until_parked(thread, "write" if name == "sendall" else "read")
    server.close()
    with pytest.raises(OSError) as caught:
        thread.wait()
    assert caught.value.errno == errno.EBADF
    assert (waiting(), registered()) == (0, 0)
    assert client.recv(1 << 20) is not None


def test_closed_during_the_handshake(hub_name, certificates):
    left, right = socketpair()
    server = certificates.server_context().wrap_socket(
        left, server_side=True, do_handshake_on_connect=False
    )
    thread = greenio.spawn(server.do_handshake)
    until_parked(thread)
    server.close()
    with pytest.raises(OSError):
        thread.wait()
    right.close()


def test_killed_during_the_handshake(hub_name, certificates):
    left, right = socketpair()
    wrapping = greenio.spawn(
        certificates.server_context().wrap_socket, left, server_side=True
    )
    until_parked(wrapping)
    wrapping.kill()
    with pytest.raises(GreenletExit):
        wrapping.wait()
    del wrapping
    gc.collect()
    assert (waiting(), registered()) == (0, 0)
    # Nobody else could close it.
    assert right.recv(10) == b""
    right.close()


def test_killed_while_reading(tls_pair):
    server, client = tls_pair
    thread = greenio.spawn(server.recv, 10)
    until_parked(thread)
    thread.kill()
    settle()
    assert waiting() == 0
    client.sendall(b"x")
    assert server.recv(10) == b"x"


# -- time limits and non-blocking ---------------------------------------------------------


@pytest.mark.parametrize("name", ["recv", "recv_into", "read", "sendall"])
def test_too_late(tls_pair, name):
    server, _ = tls_pair
    server.settimeout(0.02)
    assert server.gettimeout() == 0.02
    call = {
        "recv": lambda: server.recv(10),
        "recv_into": lambda: server.recv_into(bytearray(10)),
        "read": lambda: server.read(10),
        "sendall": lambda: server.sendall(bytes(5_000_000)),
    }[name]
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="timed out"):
        call()
    assert 0.015 < time.monotonic() - began < 5
    assert waiting() == 0


def test_handshake_too_late(hub_name, certificates):
    left, right = socketpair()
    left.settimeout(0.02)
    with pytest.raises(TimeoutError):
        certificates.server_context().wrap_socket(left, server_side=True)
    assert (waiting(), registered(), hubs.get_hub().timers) == (0, 0, 0)
    assert right.recv(10) == b""
    right.close()


def test_timeout_around_the_handshake(hub_name, certificates):
    left, right = socketpair()
    with pytest.raises(greenio.Timeout), greenio.Timeout(0.02):
        certificates.server_context().wrap_socket(left, server_side=True)
    gc.collect()
    assert (waiting(), registered()) == (0, 0)
    assert right.recv(10) == b""
    right.close()


def test_the_limit_of_the_plain_socket_stays(hub_name, certificates):
    left, right = socketpair()
    right.settimeout(9)
    server, client = tls_over(left, right, certificates)
    with server, client:
        assert client.gettimeout() == 9
        assert server.gettimeout() is None


def test_non_blocking(tls_pair):
    server, client = tls_pair
    server.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        server.recv(10)
    with pytest.raises(ssl.SSLWantReadError):
        server.read(10)
    with pytest.raises(ssl.SSLWantReadError):
        server.recv_into(bytearray(10))
    with pytest.raises(ssl.SSLWantWriteError):
        while True:
            server.send(bytes(1 << 16))
    with pytest.raises(ssl.SSLWantWriteError):
        server.sendall(bytes(1 << 16))
    assert waiting() == 0
    assert len(client.recv(100)) == 100


def test_non_blocking_handshake(hub_name, certificates):
    left, right = socketpair()
    left.setblocking(False)
    with pytest.raises(ValueError, match="do_handshake_on_connect"):
        certificates.server_context().wrap_socket(left, server_side=True)
    right.close()
    left, right = socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with (
        certificates.server_context().wrap_socket(
            left, server_side=True, do_handshake_on_connect=False
        ) as server,
        certificates.client_context().wrap_socket(
            right, server_hostname="server.test", do_handshake_on_connect=False
        ) as client,
    ):
        left_over = {server, client}
        for _ in range(20):
            for sock in tuple(left_over):
                with contextlib.suppress(ssl.SSLWantReadError):
                    sock.do_handshake()
                    left_over.discard(sock)
        assert not left_over
        client.setblocking(True)
        assert client.send(b"x") == 1
        assert server.recv(10) == b"x"


def test_handshake_that_blocks_all_the_same(hub_name, certificates):
    left, right = socketpair()
    right.setblocking(False)
    client = certificates.client_context().wrap_socket(
        right, server_hostname="server.test", do_handshake_on_connect=False
    )
    wrapping = greenio.spawn(
        certificates.server_context().wrap_socket, left, server_side=True
    )
    client.do_handshake(block=True)
    assert client.gettimeout() == 0
    with client, wrapping.wait():
        pass


def test_connect_ex(hub_name, certificates):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with certificates.client_context().wrap_socket(
            GreenSocket(), server_hostname="server.test"
        ) as client:
            assert client.connect_ex(reserved.getsockname()) == errno.ECONNREFUSED
        with (
            certificates.client_context().wrap_socket(
                GreenSocket(), server_hostname="server.test"
            ) as client,
            pytest.raises(ConnectionRefusedError),
        ):
            client.connect(reserved.getsockname())
    plain = GreenSocket()
    plain.bind(("127.0.0.1", 0))
    plain.listen()
    with certificates.server_context().wrap_socket(plain, server_side=True) as server:
        accepting = greenio.spawn(server.accept)
        with certificates.client_context().wrap_socket(
            GreenSocket(), server_hostname="server.test"
        ) as client:
            assert client.connect_ex(server.getsockname()) == 0
            accepting.wait()[0].close()
            with pytest.raises(ValueError, match="already-connected"):
                client.connect(server.getsockname())
        with pytest.raises(ValueError, match="server-side"):
            server.connect(server.getsockname())


# -- shutdown -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["recv", "recv_into", "read"])
def test_shutdown_is_the_end_for_a_reader(tls_pair, name):
    server, _ = tls_pair
    call = {
        "recv": lambda: server.recv(10),
        "recv_into": lambda: server.recv_into(bytearray(10)),
        "read": lambda: server.read(10),
    }[name]
    thread = greenio.spawn(call)
    until_parked(thread)
    server.shutdown(socket.SHUT_RDWR)
    assert thread.wait() in (b"", 0)


def test_shutdown_under_a_writer(tls_pair):
    server, _ = tls_pair
    thread = greenio.spawn(server.sendall, bytes(5_000_000))
    until_parked(thread, "write")
    server.shutdown(socket.SHUT_RDWR)
    with pytest.raises(OSError):
        thread.wait()


def test_shutdown_of_the_writing_half(tls_pair):
    server, client = tls_pair
    thread = greenio.spawn(server.recv, 10)
    until_parked(thread)
    server.shutdown(socket.SHUT_WR)
    client.sendall(b"data")
    assert thread.wait() == b"data"
