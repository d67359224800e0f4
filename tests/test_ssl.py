"""TLS over green sockets: the connection."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import socket
import ssl
import types

import pytest

import greenio
from _sockets import in_thread, registered, until_parked, waiting
from _support import until
from _tls import tls_over
from greenio._net.socket import GreenSocket, socketpair
from greenio._net.ssl import GreenSSLContext, GreenSSLSocket

# -- the connection -----------------------------------------------------------------------


def test_echo(everywhere, certificates):
    def main():
        server_context = certificates.server_context()
        client_context = certificates.client_context()
        plain = GreenSocket()
        plain.bind(("127.0.0.1", 0))
        plain.listen()
        with server_context.wrap_socket(plain, server_side=True) as server:

            def serve():
                connection, address = server.accept()
                assert type(connection) is GreenSSLSocket
                assert isinstance(connection, ssl.SSLSocket)
                assert isinstance(connection, GreenSocket)
                with connection:
                    while data := connection.recv(1000):
                        connection.sendall(data)
                return address

            thread = greenio.spawn(serve)
            with client_context.wrap_socket(
                GreenSocket(), server_hostname="server.test"
            ) as client:
                assert client.version() is None
                client.connect(server.getsockname())
                assert client.version() in ("TLSv1.2", "TLSv1.3")
                assert client.cipher() is not None
                names = {name for _, name in client.getpeercert()["subjectAltName"]}
                assert names == {"server.test", "other.test"}
                for size in (1, 1000, 100_000):
                    message = os.urandom(size)
                    sending = greenio.spawn(client.sendall, message)
                    received = b""
                    while len(received) < size:
                        received += client.recv(1 << 16)
                    sending.wait()
                    assert received == message
                assert thread.dead is False
                address = client.getsockname()
            assert thread.wait() == address
        assert (waiting(), registered()) == (0, 0)

    everywhere(main)


def test_a_connected_socket(everywhere, certificates):
    def main():
        left, right = socketpair()
        server, client = tls_over(left, right, certificates)
        # The plain ones are used up.
        assert (left.fileno(), right.fileno()) == (-1, -1)
        with server, client:
            thread = greenio.spawn(server.recv, 10)
            until_parked(thread)
            client.send(b"hello")
            assert thread.wait() == b"hello"

    everywhere(main)


def test_of_a_plain_socket(hub_name, certificates):
    left, right = socket.socketpair()
    server, client = tls_over(left, right, certificates)
    with server, client:
        thread = greenio.spawn(client.recv, 10)
        until_parked(thread)
        server.sendall(b"x")
        assert thread.wait() == b"x"


def test_other_threads_run_during_the_handshake(hub_name, certificates):
    left, right = socketpair()
    wrapping = greenio.spawn(
        certificates.server_context().wrap_socket, left, server_side=True
    )
    ticks = 0

    def tick():
        nonlocal ticks
        while True:
            ticks += 1
            greenio.sleep(0)

    ticker = greenio.spawn(tick)
    until(lambda: ticks > 10)
    assert not wrapping.dead
    client = certificates.client_context().wrap_socket(
        right, server_hostname="server.test"
    )
    with client, wrapping.wait():
        ticker.kill()


def test_more_than_fits(tls_pair):
    server, client = tls_pair
    payload = os.urandom(20_000_000)
    sending = greenio.spawn(server.sendall, payload)
    until_parked(sending, "write")
    received = bytearray()
    while len(received) < len(payload):
        received += client.recv(1 << 17)
    sending.wait()
    assert received == payload


def test_every_way_to_read_and_write(tls_pair):
    server, client = tls_pair
    assert client.send(b"send") == 4
    assert server.recv(10) == b"send"
    assert client.write(b"write") == 5
    assert server.read(3) == b"wri"
    assert server.pending() == 2
    buffer = bytearray(10)
    assert server.read(2, buffer) == 2
    assert buffer[:2] == b"te"
    client.sendall(memoryview(b"view"))
    assert server.recv_into(buffer) == 4
    assert buffer[:4] == b"view"
    client.sendall(bytearray(b"array"))
    assert server.recv_into(buffer, 3) == 3
    assert server.recv_into(memoryview(buffer)[3:]) == 2
    assert buffer[:5] == b"array"
    assert client.sendfile(io.BytesIO(b"file")) == 4
    assert server.recv(10) == b"file"


def test_reads_wait(tls_pair):
    server, client = tls_pair
    buffer = bytearray(10)
    for call in (
        lambda: server.recv(10),
        lambda: server.read(10),
        lambda: server.recv_into(buffer),
        lambda: server.read(10, buffer),
    ):
        thread = greenio.spawn(call)
        until_parked(thread)
        client.sendall(b"x")
        assert thread.wait() in (b"x", 1)


def test_files(tls_pair):
    server, client = tls_pair

    def answer():
        with server.makefile("rw") as stream:
            for line in stream:
                stream.write(line.upper())
                stream.flush()

    thread = greenio.spawn(answer)
    with client.makefile("rwb") as stream:
        for _ in range(3):
            stream.write(b"line\n")
            stream.flush()
            assert stream.readline() == b"LINE\n"
    client.shutdown(socket.SHUT_WR)
    thread.wait()


def test_not_with_tls(tls_pair):
    server, _ = tls_pair
    for call in (
        lambda: server.recvmsg(10),
        lambda: server.recvmsg_into([bytearray(10)]),
        lambda: server.sendmsg([b"x"]),
        server.dup,
    ):
        with pytest.raises(NotImplementedError):
            call()
    for call in (
        lambda: server.recvfrom(10),
        lambda: server.recvfrom_into(bytearray(10)),
        lambda: server.sendto(b"x", ("127.0.0.1", 1)),
        lambda: server.recv(10, socket.MSG_PEEK),
        lambda: server.send(b"x", socket.MSG_DONTWAIT),
        lambda: server.sendall(b"x", socket.MSG_DONTWAIT),
    ):
        with pytest.raises(ValueError, match="not allowed"):
            call()


def test_before_there_is_tls(hub_name, certificates):
    # A socket that does not shake hands by itself is a plain one until it does.
    left, right = socketpair()
    client = certificates.client_context().wrap_socket(
        right, server_hostname="server.test", do_handshake_on_connect=False
    )
    wrapping = greenio.spawn(
        certificates.server_context().wrap_socket, left, server_side=True
    )
    until_parked(wrapping)
    client.do_handshake()
    with client, wrapping.wait() as server:
        client.sendall(b"x")
        assert server.recv(10) == b"x"


# -- other places -------------------------------------------------------------------------


def test_in_the_loop_greenlet(run_async, certificates):
    async def main():
        left, right = socketpair()
        server, client = await greenio.run_green(
            lambda: tls_over(left, right, certificates)
        )
        with server, client:
            client.sendall(b"x")
            assert server.recv(10) == b"x"
            with pytest.raises(greenio.BlockingInLoopError):
                server.recv(10)
            client.sendall(b"y")
            assert server.recv(10) == b"y"

    run_async(main)


def test_with_a_peer_on_asyncio(run_async, certificates):
    async def main():
        async def serve(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

        server = await asyncio.start_server(
            serve, "127.0.0.1", 0, ssl=certificates.server_context(ssl.SSLContext)
        )
        address = server.sockets[0].getsockname()

        def ask():
            with certificates.client_context().wrap_socket(
                GreenSocket(), server_hostname="server.test"
            ) as client:
                client.connect(address)
                client.sendall(b"question\n")
                return client.recv(100)

        assert await greenio.run_green(ask) == b"QUESTION\n"
        server.close()
        await server.wait_closed()

    run_async(main)


def test_asyncio_uses_a_green_context(run_async, certificates):
    async def main():
        async def serve(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

        server = await asyncio.start_server(
            serve, "127.0.0.1", 0, ssl=certificates.server_context()
        )
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(),
            ssl=certificates.client_context(),
            server_hostname="server.test",
        )
        writer.write(b"question\n")
        assert await reader.readline() == b"QUESTION\n"
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run_async(main)


def test_in_an_os_thread_without_a_hub(hub_name, certificates):
    left, right = socketpair()
    wrapping = greenio.spawn(
        certificates.server_context().wrap_socket, left, server_side=True
    )

    def talk():
        with certificates.client_context().wrap_socket(
            right, server_hostname="server.test"
        ) as client:
            client.sendall(b"x")
            return client.recv(10)

    done = []
    import threading

    thread = threading.Thread(target=lambda: done.append(talk()))
    thread.start()
    with wrapping.wait() as server:
        assert server.recv(10) == b"x"
        server.sendall(b"y")
        until(lambda: done)
    thread.join()
    assert done == [b"y"]


def test_types():
    assert issubclass(GreenSSLSocket, ssl.SSLSocket)
    assert issubclass(GreenSSLContext, ssl.SSLContext)
    order = GreenSSLSocket.__mro__
    assert order.index(GreenSocket) < order.index(ssl.SSLSocket)
    assert isinstance(ssl, types.ModuleType)
    assert in_thread(lambda: GreenSSLContext(ssl.PROTOCOL_TLS_CLIENT)) is not None


# -- what TLS does not have ------------------------------------------------------------------


def test_datagrams_are_not_for_tls(tls_pair):
    sock, _ = tls_pair
    for call in (
        lambda: sock.recvfrom(10),
        lambda: sock.recvfrom_into(bytearray(10)),
        lambda: sock.sendto(b"x", ("127.0.0.1", 9)),
        lambda: sock.sendto(b"x", addr=("127.0.0.1", 9)),
    ):
        with pytest.raises(ValueError, match="not allowed on instances of"):
            call()
    for call in (
        lambda: sock.recvmsg(10),
        lambda: sock.recvmsg_into([bytearray(10)]),
        lambda: sock.sendmsg([b"x"]),
    ):
        with pytest.raises(NotImplementedError):
            call()


def test_before_it_is_connected(hub_name, certificates):
    """There is no TLS yet: it is what an unconnected socket says."""
    with certificates.client_context().wrap_socket(
        GreenSocket(), server_hostname="server.test"
    ) as sock:
        for call in (
            lambda: sock.recv_into(bytearray(1)),
            lambda: sock.recvfrom_into(bytearray(1)),
            lambda: sock.send(b"x"),
        ):
            with pytest.raises(OSError):
                call()
