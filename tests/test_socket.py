"""Green sockets: what is sent arrives, in every form of the calls."""

from __future__ import annotations

import array
import gc
import os
import socket
import sys
import weakref

import pytest

import greenio
from _sockets import fill, listening, registered, reset, until_parked
from _support import settle
from greenio._net.socket import GreenSocket, socketpair

# -- reading and writing ------------------------------------------------------------------


def test_is_a_socket():
    with GreenSocket() as sock:
        assert isinstance(sock, socket.socket)
        assert sock.family is socket.AF_INET
        assert sock.type is socket.SOCK_STREAM
        assert sock.proto == 0
        assert sock.fd is sock
        assert "GreenSocket fd=" in repr(sock)
        sock.attribute = 1
        assert weakref.ref(sock)() is sock
        assert not os.get_inheritable(sock.fileno())
    with GreenSocket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        assert (sock.family, sock.type) == (socket.AF_INET6, socket.SOCK_DGRAM)


def test_echo(everywhere):
    def main():
        with listening() as server, GreenSocket() as client:

            def serve():
                connection, address = server.accept()
                assert type(connection) is GreenSocket
                with connection:
                    while data := connection.recv(100):
                        connection.sendall(data)
                return address

            thread = greenio.spawn(serve)
            client.connect(server.getsockname())
            for size in (1, 50, 99, 100, 101, 1000):
                message = os.urandom(size)
                client.sendall(message)
                received = b""
                while len(received) < size:
                    received += client.recv(1000)
                assert received == message
            client.shutdown(socket.SHUT_WR)
            assert client.recv(10) == b""
            assert thread.wait() == client.getsockname()

    everywhere(main)


def test_more_than_fits(everywhere):
    # Both ends wait in turn, each for the other.
    payload = os.urandom(3_000_000)

    def main():
        left, right = socketpair()

        def send():
            with left:
                left.sendall(payload)

        sender = greenio.spawn(send)
        received = bytearray()
        with right:
            while data := right.recv(70_000):
                received += data
        sender.wait()
        assert received == payload

    everywhere(main)


@pytest.mark.parametrize(
    "wrap", [bytes, bytearray, memoryview, lambda data: array.array("I", data)]
)
def test_sendall_of_any_buffer(hub_name, wrap):
    payload = os.urandom(1_000_000)
    left, right = socketpair()
    with left, right:
        sender = greenio.spawn(left.sendall, wrap(payload))
        received = bytearray()
        while len(received) < len(payload):
            received += right.recv(1 << 16)
        sender.wait()
        assert received == payload
        left.sendall(wrap(b""))
        left.sendall(wrap(b"more"))
        assert right.recv(100) == b"more"


def test_send_sends_some(pair):
    green, plain = pair
    assert green.send(b"abc") == 3
    assert plain.recv(10) == b"abc"
    filled = fill(green)
    thread = greenio.spawn(green.send, bytes(1 << 20))
    until_parked(thread, "write")
    left = filled
    while left:
        left -= len(plain.recv(left))
    assert 0 < thread.wait() <= 1 << 20


def test_recv_into(pair):
    green, plain = pair
    buffer = bytearray(b"........")
    thread = greenio.spawn(green.recv_into, buffer)
    until_parked(thread)
    plain.send(b"abc")
    assert thread.wait() == 3
    assert buffer == b"abc....."
    thread = greenio.spawn(green.recv_into, memoryview(buffer)[4:], 2)
    until_parked(thread)
    plain.send(b"xyz")
    assert thread.wait() == 2
    assert buffer == b"abc.xy.."
    numbers = array.array("H", [0, 0])
    thread = greenio.spawn(green.recv_into, numbers)
    assert thread.wait() == 1
    assert numbers.tobytes() == b"z\0\0\0"
    plain.close()
    assert green.recv_into(buffer) == 0


def test_recv_into_something_without_a_length(pair):
    import ctypes

    class Header(ctypes.Structure):
        _fields_ = (("number", ctypes.c_uint32),)

    green, plain = pair
    plain.send((7).to_bytes(4, sys.byteorder))
    header = Header()
    assert green.recv_into(header) == 4
    assert header.number == 7


def test_nothing_asked_for(pair):
    green, plain = pair
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    plain.send(b"x")
    assert thread.wait() == b"x"
    # The kernel has no more, and still there is nothing to wait for.
    with greenio.Timeout(10):
        assert green.recv(0) == b""
        assert green.recv_into(bytearray()) == 0


@pytest.mark.skipif(not hasattr(socket, "MSG_DONTWAIT"), reason="no such flag")
def test_dontwait(pair):
    green, plain = pair
    for prepare in (lambda: None, lambda: greenio.spawn(green.recv, 9).wait()):
        plain.send(b"x")
        prepare()
        if prepare() is None:
            assert green.recv(9, socket.MSG_DONTWAIT) == b"x"
        with pytest.raises(BlockingIOError):
            green.recv(9, socket.MSG_DONTWAIT)
        with pytest.raises(BlockingIOError):
            green.recv_into(bytearray(9), 0, socket.MSG_DONTWAIT)
        with pytest.raises(BlockingIOError):
            green.recvmsg(9, 0, socket.MSG_DONTWAIT)
        with pytest.raises(BlockingIOError):
            green.recvfrom(9, socket.MSG_DONTWAIT)
        break
    fill(green)
    with pytest.raises(BlockingIOError):
        green.send(bytes(1 << 20), socket.MSG_DONTWAIT)
    with pytest.raises(BlockingIOError):
        green.sendall(bytes(1 << 20), socket.MSG_DONTWAIT)


def test_peek(pair):
    green, plain = pair
    thread = greenio.spawn(green.recv, 10, socket.MSG_PEEK)
    until_parked(thread)
    plain.send(b"abc")
    assert thread.wait() == b"abc"
    assert green.recv(2, socket.MSG_PEEK) == b"ab"
    assert green.recv(10) == b"abc"


@pytest.mark.skipif(not hasattr(socket, "MSG_WAITALL"), reason="no such flag")
def test_waitall(tcp):
    green, plain = tcp
    buffer = bytearray(6)
    for call, result in (
        (lambda: green.recv(6, socket.MSG_WAITALL), lambda got: got),
        (
            lambda: green.recv_into(buffer, 0, socket.MSG_WAITALL),
            lambda _: bytes(buffer),
        ),
    ):
        thread = greenio.spawn(call)
        until_parked(thread)
        plain.send(b"ab")
        settle()
        plain.send(b"cd")
        settle()
        assert not thread.dead
        plain.send(b"efgh")
        assert result(thread.wait()) == b"abcdef"
        assert green.recv(10) == b"gh"
    thread = greenio.spawn(green.recv, 6, socket.MSG_WAITALL)
    until_parked(thread)
    plain.send(b"ab")
    plain.close()
    assert thread.wait() == b"ab"


@pytest.mark.skipif(not hasattr(socket, "MSG_WAITALL"), reason="no such flag")
def test_waitall_in_time_is_what_there_is(tcp):
    green, plain = tcp
    green.settimeout(5)
    plain.send(b"ab")
    assert green.recv(6, socket.MSG_WAITALL) == b"ab"
    buffer = bytearray(6)
    thread = greenio.spawn(green.recv_into, buffer, 0, socket.MSG_WAITALL)
    until_parked(thread)
    plain.send(b"cd")
    assert thread.wait() == 2
    assert buffer[:2] == b"cd"


def test_a_buffer_is_free_when_nothing_came(pair):
    green, plain = pair
    green.settimeout(0.001)
    buffer = bytearray(2)
    for drained in (False, True):
        if drained:
            plain.send(b"x")
            assert green.recv_into(buffer) == 1
        with pytest.raises(TimeoutError) as caught:
            green.recv_into(buffer)
        buffer.append(0)
        assert caught.value.__traceback__ is not None


def test_nonsense_is_no_wait(pair):
    green, plain = pair

    def drain():
        # The next read knows that it must wait, before it asks the system.
        plain.send(b"x")
        assert green.recv(10) == b"x"

    for call, args, error in (
        (green.recv, (-1,), ValueError),
        (green.recv_into, (bytearray(2), -1), ValueError),
        (green.recv_into, (bytearray(2), 3), ValueError),
        (green.recv_into, (b"read only",), (TypeError, BufferError)),
    ):
        drain()
        with pytest.raises(error), greenio.Timeout(5):
            call(*args)


def test_ancillary_data(everywhere):
    def main():
        left, right = socketpair()
        reader, writer = os.pipe()
        with left, right:
            buffer, rest = bytearray(3), bytearray(3)

            def receive():
                data, ancillary, _, _ = right.recvmsg(10, socket.CMSG_SPACE(4))
                (fd,) = array.array("i", ancillary[0][2])
                assert data == b"pipe"
                assert right.recvmsg_into([buffer, rest])[0] == 5
                return fd

            thread = greenio.spawn(receive)
            until_parked(thread)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [reader]))
            assert left.sendmsg([b"pi", b"pe"], [rights]) == 4
            settle()
            assert left.sendmsg(part for part in (b"he", b"llo")) == 5
            fd = thread.wait()
            assert buffer + rest == b"hello\0"
            os.write(writer, b"through")
            assert os.read(fd, 10) == b"through"
        for number in (fd, reader, writer):
            os.close(number)

    everywhere(main)


def test_sendmsg_waits(pair):
    green, plain = pair
    fill(green)
    thread = greenio.spawn(green.sendmsg, iter([b"x" * 100, b"y" * 100]))
    until_parked(thread, "write")
    plain.setblocking(False)
    tail = b""
    while not thread.dead or b"y" not in tail:
        try:
            tail = (tail + plain.recv(1 << 20))[-200:]
        except BlockingIOError:
            greenio.sleep(0)
    assert thread.wait() == 200
    assert tail == b"x" * 100 + b"y" * 100


def test_files(everywhere):
    def main():
        left, right = socketpair()
        with left, right:

            def answer():
                with right.makefile("rw", encoding="utf-8") as stream:
                    for line in stream:
                        stream.write(line.upper())
                        stream.flush()

            thread = greenio.spawn(answer)
            with left.makefile("rwb") as stream:
                for _ in range(3):
                    stream.write("größe\n".encode())
                    stream.flush()
                    assert stream.readline() == "GRÖSSE\n".encode()
            left.shutdown(socket.SHUT_WR)
            thread.wait()

    everywhere(main)


def test_a_file_keeps_the_socket_open(pair):
    green, plain = pair
    stream = green.makefile("rb")
    green.close()
    reading = greenio.spawn(stream.read)
    until_parked(reading)
    plain.send(b"still here")
    plain.close()
    assert reading.wait() == b"still here"
    assert registered() == 1
    stream.close()
    assert registered() == 0
    assert green.fileno() == -1


def test_a_file_and_its_socket_are_forgotten(hub_name):
    # The user has closed the socket; that a file of it is garbage is no news.
    left, right = socketpair()
    with right:
        stream = left.makefile("rb")
        left.close()
        knot = [stream, left]
        knot.append(knot)
        del left, stream, knot
        gc.collect()
        assert right.recv(10) == b""


def test_eventlets_makefile(pair):
    green, plain = pair
    plain.send(b"line\n")
    with green.makeGreenFile("rb") as stream:
        assert stream.readline() == b"line\n"


# -- datagrams ----------------------------------------------------------------------------


def test_udp(everywhere):
    def main():
        with (
            GreenSocket(socket.AF_INET, socket.SOCK_DGRAM) as server,
            GreenSocket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            server.bind(("127.0.0.1", 0))

            def serve():
                for _ in range(3):
                    data, address = server.recvfrom(100)
                    server.sendto(data.upper(), 0, address)

            thread = greenio.spawn(serve)
            until_parked(thread)
            client.sendto(b"one", server.getsockname())
            assert client.recvfrom(10) == (b"ONE", server.getsockname())
            buffer = bytearray(5)
            client.sendto(b"two", ("localhost", server.getsockname()[1]))
            assert client.recvfrom_into(buffer) == (3, server.getsockname())
            assert buffer == b"TWO\0\0"
            client.connect(server.getsockname())
            client.send(b"three")
            # A datagram shorter than asked for says nothing about the next one.
            assert client.recv(100) == b"THREE"
            thread.wait()
            server.sendto(b"a", client.getsockname())
            server.sendto(b"", client.getsockname())
            server.sendto(b"b", client.getsockname())
            assert [client.recv(9), client.recv(9), client.recv(9)] == [b"a", b"", b"b"]

    everywhere(main)


def test_unix_datagrams(hub_name, tmp_path):
    with (
        GreenSocket(socket.AF_UNIX, socket.SOCK_DGRAM) as server,
        GreenSocket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
    ):
        server.bind(str(tmp_path / "server"))
        client.bind(str(tmp_path / "client"))
        thread = greenio.spawn(server.recvfrom, 10)
        until_parked(thread)
        client.sendto(b"x", str(tmp_path / "server"))
        assert thread.wait() == (b"x", str(tmp_path / "client"))
        # A full queue is waited for.
        client.connect(str(tmp_path / "server"))
        count = 0
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                client.send(b"x" * 100)
                count += 1
        client.setblocking(True)
        thread = greenio.spawn(client.send, b"last")
        until_parked(thread, "write")
        for _ in range(count):
            assert server.recv(200) == b"x" * 100
        thread.wait()
        assert server.recv(200) == b"last"


def test_an_error_is_not_the_end(hub_name):
    # uvloop gives up a descriptor that has had an error, and tells nobody.
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved,
        GreenSocket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        reserved.bind(("127.0.0.1", 0))
        address = reserved.getsockname()
        reserved.close()
        client.connect(address)
        for _ in range(3):
            thread = greenio.spawn(client.recv, 10)
            until_parked(thread)
            client.send(b"anybody there?")
            with pytest.raises(ConnectionRefusedError):
                thread.wait()
        with GreenSocket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(address)
            thread = greenio.spawn(client.recv, 10)
            until_parked(thread)
            server.sendto(b"yes", client.getsockname())
            with greenio.Timeout(10):
                assert thread.wait() == b"yes"


def test_reset_behind_the_last_data(tcp):
    # The error comes together with data, which is read; the next read must see it.
    green, plain = tcp
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    green.send(b"unread, so that the close is a reset")
    plain.send(b"x")
    reset(plain)
    with greenio.Timeout(10):
        assert thread.wait() == b"x"
        with pytest.raises(ConnectionResetError):
            green.recv(10)


def test_reset_while_two_wait(tcp):
    green, plain = tcp
    fill(green)
    reading = greenio.spawn(green.recv, 10)
    until_parked(reading)
    # More than the system may still find room for.
    writing = greenio.spawn(green.sendall, bytes(1 << 24))
    until_parked(writing, "write")
    reset(plain)
    with greenio.Timeout(10):
        outcomes = []
        for thread in (reading, writing):
            with pytest.raises(OSError, match=r"reset|pipe") as caught:
                thread.wait()
            outcomes.append(type(caught.value))
    assert ConnectionResetError in outcomes
