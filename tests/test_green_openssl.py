"""Green connections of pyOpenSSL."""

from __future__ import annotations

import os
import socket as plain_socket

import pytest
import trustme

import greenio
from _sockets import fill, until_parked
from greenio.green import socket

SSL = pytest.importorskip("greenio.green.OpenSSL.SSL")
from OpenSSL import SSL as PlainSSL  # noqa: E402 - only if there is one

pytestmark = pytest.mark.usefixtures("hub_name")


@pytest.fixture(scope="module")
def contexts():
    """A server's context, and a client's that trusts it."""
    authority = trustme.CA()
    server = SSL.Context(SSL.TLS_METHOD)
    authority.issue_cert("server.test").configure_cert(server)
    client = SSL.Context(SSL.TLS_METHOD)
    client.set_verify(SSL.VERIFY_PEER)
    authority.configure_trust(client)
    return server, client


@pytest.fixture
def pair(contexts):
    """Both ends of a connection, before the handshake; the server's first."""
    left, right = socket.socketpair()
    server = SSL.Connection(contexts[0], left)
    client = SSL.Connection(contexts[1], right)
    server.set_accept_state()
    client.set_connect_state()
    yield server, client
    server.close()
    client.close()


@pytest.fixture
def shaken(pair):
    """The same, after the handshake."""
    server, client = pair
    thread = greenio.spawn(server.do_handshake)
    client.do_handshake()
    thread.wait()
    return pair


def test_connect_and_accept(contexts):
    server = SSL.Connection(contexts[0], socket.create_server(("127.0.0.1", 0)))

    def serve():
        connection, address = server.accept()
        assert isinstance(connection, PlainSSL.Connection)
        with pytest.raises(SSL.ZeroReturnError):
            while True:
                connection.sendall(connection.recv(1000).upper())
        connection.shutdown()
        connection.close()
        return address

    thread = greenio.spawn(serve)
    client = SSL.Connection(contexts[1], socket.socket())
    client.set_tlsext_host_name(b"server.test")
    client.connect(server.getsockname())
    for word in (b"one", b"two"):
        client.send(word)
        assert client.recv(100) == word.upper()
    client.shutdown()
    # As pyOpenSSL and eventlet say it; a loop that reads until then would never end.
    with pytest.raises(SSL.ZeroReturnError):
        client.recv(100)
    assert thread.wait() == client.getsockname()
    client.close()
    server.close()


def test_much_both_ways(shaken):
    content = os.urandom(2_000_000)

    def receive(connection):
        received = b""
        while len(received) < len(content):
            received += connection.read(1 << 16)
        return received

    receivers = [greenio.spawn(receive, connection) for connection in shaken]
    senders = [greenio.spawn(connection.sendall, content) for connection in shaken]
    for thread in receivers:
        assert thread.wait() == content
    for thread in senders:
        assert thread.wait() == len(content)


def test_into_a_buffer(shaken):
    server, client = shaken
    buffer = bytearray(10)
    thread = greenio.spawn(server.recv_into, buffer)
    until_parked(thread)
    client.write(b"hello")
    assert thread.wait() == 5
    assert buffer[:5] == b"hello"
    client.shutdown()
    with pytest.raises(SSL.ZeroReturnError):
        server.recv_into(buffer)


def test_files(shaken):
    server, client = shaken
    with server.makefile("rw") as file:
        server.close()
        client.sendall(b"line\n")
        assert file.readline() == "line\n"
        file.write("answer\n")
        file.flush()
        assert client.recv(100) == b"answer\n"
        client.sendall(b"rest")
        client.shutdown()
        assert file.read() == "rest"
    assert server.fileno() == -1


def test_limits(pair):
    server, client = pair
    client.settimeout(0.02)
    with pytest.raises(TimeoutError):
        client.do_handshake()
    client.settimeout(20)
    thread = greenio.spawn(server.do_handshake)
    client.do_handshake()
    thread.wait()
    client.settimeout(0)
    with pytest.raises(SSL.WantReadError):
        client.recv(10)
    client.settimeout(0.02)
    fill(client._socket)
    with pytest.raises(TimeoutError):
        client.send(b"x" * 1000)


def test_the_end_in_the_middle(shaken):
    """It must not pass for the end that the peer meant."""
    server, client = shaken
    thread = greenio.spawn(server.recv, 10)
    until_parked(thread)
    # There may be session tickets that it has not read: then it is a reset.
    client.close()
    with pytest.raises(SSL.SysCallError):
        thread.wait()


def test_of_a_plain_socket(contexts):
    left, right = plain_socket.socketpair()
    server = SSL.Connection(contexts[0], left)
    client = SSL.Connection(contexts[1], right)
    server.set_accept_state()
    client.set_connect_state()
    thread = greenio.spawn(server.do_handshake)
    client.do_handshake()
    thread.wait()
    twin = client.dup()
    assert type(twin) is SSL.Connection
    assert twin.fileno() not in (-1, client.fileno())
    for connection in (server, client, twin):
        connection.close()
    assert left.fileno() == right.fileno() == -1


def test_over_memory(contexts):
    """Without a socket it is pyOpenSSL's, which never waits."""
    client = SSL.Connection(contexts[1])
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    assert client.bio_read(1 << 16)


def test_names():
    from greenio.green import OpenSSL
    from greenio.green.OpenSSL import crypto, version

    assert OpenSSL.SSL is SSL
    assert SSL.GreenConnection is SSL.ConnectionType is SSL.Connection
    assert SSL.Context is PlainSSL.Context
    assert SSL.Error is PlainSSL.Error
    assert crypto.X509 is OpenSSL.crypto.X509
    assert version.__version__ == OpenSSL.__version__
