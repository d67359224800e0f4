"""Green sockets: reading, writing, connecting, time limits, closing."""

from __future__ import annotations

import array
import asyncio
import errno
import gc
import io
import math
import os
import socket
import sys
import threading
import time
import warnings
import weakref
from pathlib import Path

import pytest
from greenlet import GreenletExit

import greenio
from _sockets import (
    PLACES,
    fill,
    in_thread,
    registered,
    reset,
    run_in,
    tcp_pair,
    until_parked,
    waiting,
)
from _support import settle, until
from greenio import hubs
from greenio._net.socket import (
    GreenSocket,
    create_connection,
    create_server,
    fromfd,
    socketpair,
)
from greenio.hubs import IOClosed


@pytest.fixture(params=PLACES)
def everywhere(request, hub_name, loop_factory):
    """Run a function wherever green code may run."""
    return lambda func: run_in(request.param, loop_factory, func)


@pytest.fixture
def pair(hub_name):
    """A green socket and a plain one, which are connected."""
    plain, other = socket.socketpair()
    green = GreenSocket(fileno=other.detach())
    with green, plain:
        yield green, plain


@pytest.fixture
def tcp(hub_name):
    """The same over TCP."""
    plain, other = tcp_pair()
    green = GreenSocket(fileno=other.detach())
    with green, plain:
        yield green, plain


def listening(*args, **kwargs):
    sock = GreenSocket(*args, **kwargs)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


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
    writing = greenio.spawn(green.sendall, bytes(10))
    until_parked(writing, "write")
    reset(plain)
    with greenio.Timeout(10):
        outcomes = []
        for thread in (reading, writing):
            with pytest.raises(OSError, match=r"reset|pipe") as caught:
                thread.wait()
            outcomes.append(type(caught.value))
    assert ConnectionResetError in outcomes


# -- files to send ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_sendfile(everywhere, tmp_path, kind):
    content = os.urandom(700_000)
    path = tmp_path / "file"
    path.write_bytes(content)

    def main():
        left, right = socketpair()
        with path.open("rb") if kind == "file" else io.BytesIO(content) as file:

            def send(*args):
                with left:
                    return left.sendfile(file, *args)

            thread = greenio.spawn(send, 1000)
            received = bytearray()
            with right:
                while data := right.recv(1 << 16):
                    received += data
            assert thread.wait() == len(content) - 1000
            assert received == content[1000:]
            assert file.tell() == len(content)

    everywhere(main)


def test_sendfile_counts(hub_name, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    left, right = socketpair()
    with left, right, path.open("rb") as file:
        assert left.sendfile(file, 2, 3) == 3
        assert file.tell() == 5
        assert right.recv(100) == b"234"
        assert left.sendfile(file, 8, 100) == 2
        assert right.recv(100) == b"89"
        assert left.sendfile(file, 50) == 0
        with path.open("r") as text, pytest.raises(ValueError, match="binary"):
            left.sendfile(text)
        left.setblocking(False)
        with pytest.raises(ValueError, match="non-blocking"):
            left.sendfile(file)
    with (
        GreenSocket(type=socket.SOCK_DGRAM) as sock,
        path.open("rb") as file,
        pytest.raises(ValueError, match="SOCK_STREAM"),
    ):
        sock.sendfile(file)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_sendfile_of_what_the_system_cannot_send(hub_name):
    left, right = socketpair()
    with left, right, Path("/proc/self/status").open("rb") as file:
        assert left.sendfile(file) > 0
        assert right.recv(5) == b"Name:"


def test_sendfile_by_its_parts(hub_name, tmp_path):
    """What `sendfile` does it with can be asked for, too, and lets the others run."""
    content = os.urandom(3_000_000)
    path = tmp_path / "file"
    path.write_bytes(content)
    for name in ("_sendfile_use_sendfile", "_sendfile_use_send"):
        left, right = socketpair()
        with right, path.open("rb") as file:

            def send(left=left, name=name, file=file):
                with left:
                    return getattr(left, name)(file)

            thread = greenio.spawn(send)
            received = bytearray()
            while data := right.recv(1 << 16):
                received += data
            assert thread.wait() == len(content)
            assert received == content
    left, right = socketpair()
    with left, right, pytest.raises(socket._GiveupOnSendfile):
        left._sendfile_use_sendfile(io.BytesIO(content))


def test_sendfile_in_time(hub_name, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(5_000_000))
    left, right = socketpair()
    with left, right, path.open("rb") as file:
        left.settimeout(0.02)
        with pytest.raises(TimeoutError):
            left.sendfile(file)
        assert 0 < file.tell() < 5_000_000


@pytest.mark.skipif(not hasattr(socket, "SOCK_NONBLOCK"), reason="Linux has it")
def test_non_blocking_from_the_start(hub_name):
    with GreenSocket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        assert sock.type is socket.SOCK_DGRAM
        assert sock.gettimeout() == 0
        assert not sock.getblocking()
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        sock.settimeout(0.01)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_limits_of_a_closed_socket(pair):
    """As the plain one, it says so. Python's `ssl` and libraries count on it."""
    green, _ = pair
    green.settimeout(5)
    other = GreenSocket(fileno=green.fileno())
    green.close()
    for sock in (green, other):
        for change, value in (
            (sock.settimeout, 1),
            (sock.settimeout, None),
            (sock.setblocking, True),
            (sock.setblocking, False),
        ):
            with pytest.raises(OSError, match="Bad file descriptor"):
                change(value)
    assert green.gettimeout() == 5
    other.detach()


def test_descriptor_that_somebody_made_blocking(pair):
    """The limit is set once more, and waiting parks again."""
    green, plain = pair
    os.set_blocking(green.fileno(), True)
    green.settimeout(None)
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    plain.send(b"x")
    assert thread.wait() == b"x"


# -- connecting ---------------------------------------------------------------------------


def test_connect_refused(everywhere):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = reserved.getsockname()

        def main():
            with GreenSocket() as sock:
                with pytest.raises(ConnectionRefusedError):
                    sock.connect(address)
                assert sock.connect_ex(address) == errno.ECONNREFUSED
                # The same socket may be used for the next attempt.
                reserved.listen()
                sock.connect(address)
                sock.getpeername()

        everywhere(main)


def test_connect_by_name(everywhere):
    def main():
        with listening() as server, GreenSocket() as client:
            client.connect(("localhost", server.getsockname()[1]))
            assert client.getpeername() == server.getsockname()
            connection, _ = server.accept()
            connection.close()
            with GreenSocket() as other:
                assert other.connect_ex((b"localhost", server.getsockname()[1])) == 0
                server.accept()[0].close()

    everywhere(main)


def test_connect_mistakes(hub_name):
    with GreenSocket() as sock:
        with pytest.raises(TypeError):
            sock.connect("127.0.0.1:80")
        with pytest.raises(socket.gaierror):
            sock.connect(("name.invalid", 80))
        with pytest.raises(socket.gaierror):
            sock.connect_ex(("name.invalid", 80))
        with pytest.raises(OverflowError):
            sock.connect(("127.0.0.1", 1 << 20))


def test_already_connected(hub_name):
    with listening() as server, GreenSocket() as client:
        client.connect(server.getsockname())
        with pytest.raises(OSError) as caught:
            client.connect(server.getsockname())
        assert caught.value.errno == errno.EISCONN
        server.accept()[0].close()


@pytest.fixture
def full_server(nothing_left):
    """A server whose queue is full, so that connecting to it takes its time."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    others = []
    while True:
        other = socket.socket()
        other.setblocking(False)
        others.append(other)
        other.connect_ex(server.getsockname())
        time.sleep(0.002)
        if len(others) > 4:
            break
    yield server
    for other in others:
        other.close()
    server.close()


def test_connect_takes_too_long(full_server, everywhere):
    def main():
        with GreenSocket() as sock:
            sock.settimeout(0.02)
            with pytest.raises(TimeoutError):
                sock.connect(full_server.getsockname())
        with GreenSocket() as sock:
            sock.settimeout(0.02)
            assert sock.connect_ex(full_server.getsockname()) == errno.EAGAIN
        assert (waiting(), registered(), hubs.get_hub().timers) == (0, 0, 0)

    everywhere(main)


def test_closed_while_connecting(full_server, hub_name):
    sock = GreenSocket()
    thread = greenio.spawn(sock.connect, full_server.getsockname())
    until_parked(thread, "write")
    sock.close()
    with pytest.raises(IOClosed):
        thread.wait()
    sock = GreenSocket()
    thread = greenio.spawn(sock.connect_ex, full_server.getsockname())
    until_parked(thread, "write")
    sock.close()
    assert thread.wait() == errno.EBADF


def test_connect_again_after_giving_up(hub_name, tmp_path):
    # What was begun goes on, so the second attempt finds it under way or finished.
    with listening() as server, GreenSocket() as sock:
        address = server.getsockname()
        thread = greenio.spawn(sock.connect, address)
        until_parked(thread, "write")
        thread.kill()
        settle()
        sock.connect(address)
        assert sock.getpeername() == address
        server.accept()[0].close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse at once")
def test_connect_to_a_busy_unix_server(hub_name, tmp_path):
    path = str(tmp_path / "socket")
    with GreenSocket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        with (
            GreenSocket(socket.AF_UNIX) as first,
            GreenSocket(socket.AF_UNIX) as second,
        ):
            first.connect(path)
            second.settimeout(0.03)
            with pytest.raises(TimeoutError):
                second.connect(path)
            second.settimeout(None)
            thread = greenio.spawn(second.connect, path)
            settle()
            assert not thread.dead
            server.accept()[0].close()
            thread.wait()
            server.accept()[0].close()


# -- time limits --------------------------------------------------------------------------


def operations(sock):
    """Whatever may wait, on a connected socket that has nothing to read, and is full."""
    return {
        "recv": lambda: sock.recv(10),
        "recv_into": lambda: sock.recv_into(bytearray(10)),
        "recvfrom": lambda: sock.recvfrom(10),
        "recvfrom_into": lambda: sock.recvfrom_into(bytearray(10)),
        "recvmsg": lambda: sock.recvmsg(10),
        "recvmsg_into": lambda: sock.recvmsg_into([bytearray(10)]),
        "send": lambda: sock.send(bytes(1 << 20)),
        "sendall": lambda: sock.sendall(bytes(1 << 20)),
        "sendmsg": lambda: sock.sendmsg([bytes(1 << 20)]),
    }


NAMES = list(operations(None))


def event_of(name):
    return "write" if name.startswith("send") else "read"


@pytest.mark.parametrize("name", NAMES)
def test_too_late(pair, name):
    green, _ = pair
    fill(green)
    green.settimeout(0.02)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="timed out"):
            operations(green)[name]()
        assert 0.015 < time.monotonic() - began < 5
    assert waiting() == 0


@pytest.mark.parametrize("name", NAMES)
def test_non_blocking(pair, name):
    green, _ = pair
    fill(green)
    green.setblocking(False)
    assert green.gettimeout() == 0
    assert not green.getblocking()
    with pytest.raises(BlockingIOError):
        operations(green)[name]()
    assert registered() == 0


def test_accept_in_time(hub_name):
    with listening() as server:
        server.settimeout(0.01)
        with pytest.raises(TimeoutError):
            server.accept()
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
        with GreenSocket() as client:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.connect(server.getsockname())
            server.settimeout(10)
            connection, _ = server.accept()
            assert connection.gettimeout() is None
            connection.close()


def test_default_limit(hub_name):
    socket.setdefaulttimeout(7)
    try:
        with listening() as server, GreenSocket() as client:
            assert client.gettimeout() == 7
            client.connect(server.getsockname())
            connection, _ = server.accept()
            assert connection.timeout == 7
            connection.close()
    finally:
        socket.setdefaulttimeout(None)


def test_the_limit_can_be_changed(hub_name):
    with GreenSocket() as sock:
        assert sock.gettimeout() is None
        assert sock.getblocking()
        sock.settimeout(3)
        assert type(sock.gettimeout()) is float
        assert sock.timeout == 3
        sock.setblocking(True)
        assert sock.timeout is None
        for wrong in ("5", object()):
            with pytest.raises(TypeError, match="seconds or None"):
                sock.settimeout(wrong)
        for wrong in (-1, math.nan):
            with pytest.raises(ValueError, match="out of range"):
                sock.settimeout(wrong)
        with pytest.raises(OverflowError):
            sock.settimeout(math.inf)


def test_sendall_has_one_limit_for_everything(pair):
    green, plain = pair
    green.settimeout(0.1)
    thread = greenio.spawn(green.sendall, bytes(50_000_000))
    until_parked(thread, "write")
    began = time.monotonic()
    # It gets on all the time, but not fast enough.
    while not thread.dead:
        plain.recv(1000)
        greenio.sleep(0.005)
    assert time.monotonic() - began < 2
    with pytest.raises(TimeoutError):
        thread.wait()


def test_one_timer_for_many_waits(pair):
    green, plain = pair
    green.settimeout(30)
    made = []
    hub = hubs.get_hub()
    call_later = hub.call_later

    def counting(*args):
        made.append(args)
        return call_later(*args)

    hub.call_later = counting
    for _ in range(20):
        thread = greenio.spawn(green.recv, 10)
        until_parked(thread)
        plain.send(b"x")
        assert thread.wait() == b"x"
    assert len(made) == 1
    # A shorter limit cannot use it, a longer one can.
    green.settimeout(0.01)
    with pytest.raises(TimeoutError):
        green.recv(1)
    green.close()
    assert hub.timers == 0


def test_a_limit_of_the_past(pair):
    # A timer that is still there must not end a wait without, or with a later, limit.
    green, plain = pair
    for later in (None, 30):
        green.settimeout(0.02)
        thread = greenio.spawn(green.recv, 10)
        until_parked(thread)
        plain.send(b"x")
        assert thread.wait() == b"x"
        green.settimeout(later)
        thread = greenio.spawn(green.recv, 10)
        until_parked(thread)
        greenio.sleep(0.04)
        assert not thread.dead
        plain.send(b"y")
        assert thread.wait() == b"y"


def test_the_clock_of_a_busy_loop(pair):
    # uvloop's own clock stands still while somebody computes.
    green, plain = pair
    green.settimeout(0.04)
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    plain.send(b"x")
    thread.wait()

    def busy():
        time.sleep(0.05)
        timer = threading.Timer(0.01, plain.send, (b"y",))
        timer.start()
        try:
            return green.recv(10)
        finally:
            timer.join()

    assert greenio.spawn(busy).wait() == b"y"


# -- closing ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_close_wakes(pair, name):
    green, _ = pair
    fill(green)
    thread = greenio.spawn(operations(green)[name])
    until_parked(thread, event_of(name))
    green.close()
    assert registered() == 0
    with pytest.raises(OSError) as caught:
        thread.wait()
    assert caught.value.errno == errno.EBADF
    assert not isinstance(caught.value, TimeoutError)


def test_close_wakes_everywhere(everywhere):
    def main():
        server = listening()
        thread = greenio.spawn(server.accept)
        until_parked(thread)
        server.close()
        with pytest.raises(OSError) as caught:
            thread.wait()
        assert caught.value.errno == errno.EBADF
        assert (waiting(), registered()) == (0, 0)

    everywhere(main)


def test_close_wakes_both_directions(pair):
    green, _ = pair
    fill(green)
    threads = [
        greenio.spawn(green.recv, 10),
        greenio.spawn(green.sendall, bytes(1 << 20)),
    ]
    until_parked(threads[0])
    until_parked(threads[1], "write")
    green.close()
    for thread in threads:
        with pytest.raises(IOClosed):
            thread.wait()


def test_shutdown_wakes(pair):
    green, _ = pair
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    green.shutdown(socket.SHUT_RDWR)
    assert thread.wait() == b""


@pytest.mark.parametrize("name", [*NAMES, "accept", "getpeername"])
def test_closed_already(hub_name, name):
    left, right = socketpair()
    right.close()
    left.close()
    left.close()
    assert left.fileno() == -1
    call = operations(left).get(name) or getattr(left, name)
    with pytest.raises(OSError) as caught:
        call()
    assert caught.value.errno == errno.EBADF


def test_the_number_is_used_again(hub_name):
    # The new socket has the old one's number, and nothing else of it.
    left, right = socketpair()
    old = greenio.spawn(left.recv, 10)
    until_parked(old)
    number = left.fileno()
    left.close()
    other, far = socketpair()
    assert number in (other.fileno(), far.fileno())
    fresh = other if other.fileno() == number else far
    peer = far if fresh is other else other
    with right, fresh, peer:
        new = greenio.spawn(fresh.recv, 10)
        with pytest.raises(IOClosed):
            old.wait()
        until_parked(new)
        peer.send(b"new")
        assert new.wait() == b"new"


@pytest.mark.parametrize("how", ["socket", "socketpair", "accept", "fromfd", "dup"])
def test_closed_behind_our_back(hub_name, how):
    with listening() as server:
        left, right = socketpair()
        old = greenio.spawn(left.recv, 10)
        listener = until_parked(old)
        # It has polled, so that only the kernel and we know the number.
        right.send(b"x")
        assert old.wait() == b"x"
        old = greenio.spawn(left.recv, 10)
        until_parked(old)
        settle(3)
        plain = socket.create_connection(server.getsockname())
        number = left.fileno()
        os.close(number)
        if how == "socket":
            fresh = [GreenSocket()]
        elif how == "socketpair":
            fresh = list(socketpair())
        elif how == "accept":
            fresh = [server.accept()[0]]
        elif how == "fromfd":
            fresh = [fromfd(right.fileno(), right.family, right.type)]
        else:
            fresh = [right.dup()]
        assert number in [sock.fileno() for sock in fresh]
        with pytest.raises(IOClosed):
            old.wait()
        assert listener.closed
        # What is left of the old object does not hurt the new one.
        new = next(sock for sock in fresh if sock.fileno() == number)
        left.detach()
        if how == "socketpair":
            new.settimeout(0.01)
            with pytest.raises(TimeoutError):
                new.recv(10)
        for sock in (*fresh, plain, right):
            sock.close()


def test_detach(pair):
    green, plain = pair
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    number = green.detach()
    assert green.fileno() == -1
    with pytest.raises(IOClosed):
        thread.wait()
    assert registered() == 0
    # As it seemed to be, for whoever has it now.
    assert os.get_blocking(number)
    plain.send(b"x")
    assert os.read(number, 10) == b"x"
    os.close(number)


def test_dup(pair):
    green, plain = pair
    green.settimeout(5)
    twin = green.dup()
    assert type(twin) is GreenSocket
    assert twin.fileno() != green.fileno()
    assert twin.gettimeout() == 5
    assert not os.get_inheritable(twin.fileno())
    waiters = [greenio.spawn(sock.recv, 1) for sock in (green, twin)]
    for thread in waiters:
        until_parked(thread)
    plain.send(b"ab")
    assert sorted(thread.wait() for thread in waiters) == [b"a", b"b"]
    green.close()
    thread = greenio.spawn(twin.recv, 10)
    until_parked(thread)
    plain.send(b"c")
    assert thread.wait() == b"c"
    twin.close()


def test_forgotten(hub_name):
    left, right = socketpair()
    thread = greenio.spawn(left.recv, 10)
    until_parked(thread)
    right.send(b"x")
    thread.wait()
    assert registered() == 1
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del left, thread
        gc.collect()
    assert registered() == 0
    assert [entry.category for entry in caught] == [ResourceWarning]
    assert right.recv(10) == b""
    right.close()


def test_could_not_be_made(hub_name):
    with pytest.raises(OSError):
        GreenSocket(999)
    with pytest.raises((ValueError, OSError)):
        GreenSocket(fileno=-1)
    gc.collect()


# -- the registration stays ---------------------------------------------------------------


def test_requests_without_registering(hub_name):
    left, right = socketpair()
    with left, right:

        def serve():
            while data := right.recv(100):
                right.sendall(data)

        server = greenio.spawn(serve)
        registrations = set()

        def ask():
            for _ in range(50):
                left.sendall(b"ping")
                assert left.recv(100) == b"ping"
                for listener in hubs.get_hub().descriptors.registered():
                    registrations.add((listener.fd, id(listener._registration)))

        greenio.spawn(ask).wait()
        assert {fd for fd, _ in registrations} == {left.fileno(), right.fileno()}
        assert len(registrations) == 2
        left.shutdown(socket.SHUT_WR)
        server.wait()


def test_idle_registration_goes(pair):
    green, plain = pair
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    plain.send(b"x")
    thread.wait()
    assert registered() == 1
    # It becomes readable, and nobody waits.
    plain.send(b"y")
    until(lambda: registered() == 0)
    assert green.recv(10) == b"y"
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    plain.send(b"z")
    assert thread.wait() == b"z"


def test_asking_for_the_number(pair):
    green, plain = pair
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    green.fileno()
    assert registered() == 1
    plain.send(b"x")
    thread.wait()
    assert registered() == 1
    green.fileno()
    assert registered() == 0


# -- being interrupted --------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_killed(pair, name):
    green, plain = pair
    fill(green)
    thread = greenio.spawn(operations(green)[name])
    until_parked(thread, event_of(name))
    thread.kill()
    with pytest.raises(GreenletExit):
        thread.wait()
    assert waiting() == 0
    # The socket can be used as before.
    plain.send(b"x")
    assert green.recv(10) == b"x"


@pytest.mark.parametrize("limit", [None, 30])
@pytest.mark.parametrize("name", NAMES)
def test_timed_out(pair, name, limit):
    green, plain = pair
    green.settimeout(limit)
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    plain.send(b"x")
    thread.wait()
    fill(green)
    with pytest.raises(greenio.Timeout), greenio.Timeout(0.005):
        operations(green)[name]()
    assert waiting() == 0
    plain.send(b"y")
    assert green.recv(10) == b"y"
    green.close()
    assert (registered(), hubs.get_hub().timers) == (0, 0)


def test_killed_and_ready_at_once(pair):
    # What came in is not lost with the reader: it has not read it.
    green, plain = pair
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    plain.send(b"x")
    thread.kill()
    settle()
    assert green.recv(10) == b"x"


# -- somebody else ------------------------------------------------------------------------


def test_second_reader(pair):
    green, plain = pair
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    for call in (green.recv, GreenSocket(green).recv):
        with pytest.raises(greenio.SimultaneousUseError, match="second simultaneous"):
            call(10)
    plain.send(b"x")
    assert thread.wait() == b"x"


def test_reader_and_writer(pair):
    green, plain = pair
    reading = greenio.spawn(green.recv, 10)
    until_parked(reading)
    green.sendall(b"x")
    assert plain.recv(10) == b"x"
    plain.send(b"y")
    assert reading.wait() == b"y"


def test_several_acceptors(hub_name):
    greenio.debug.hub_prevent_multiple_readers(False)
    try:
        with listening() as server:
            order = []

            def accept(name):
                connection, _ = server.accept()
                connection.close()
                order.append(name)

            threads = [greenio.spawn(accept, name) for name in "abc"]
            for thread in threads:
                until_parked(thread)
            impatient = GreenSocket(server)
            impatient.settimeout(0.01)
            with pytest.raises(TimeoutError):
                impatient.accept()
            for count in range(1, 4):
                with GreenSocket() as client:
                    client.connect(server.getsockname())
                    until(lambda count=count: len(order) == count)
            assert order == ["a", "b", "c"]
    finally:
        greenio.debug.hub_prevent_multiple_readers(True)


def test_of_an_existing_socket(everywhere):
    # As gunicorn makes it of its listening sockets.
    def main():
        plain = socket.create_server(("127.0.0.1", 0))
        plain.settimeout(9)
        green = GreenSocket(plain)
        assert green.fileno() == plain.fileno()
        assert green.getsockname() == plain.getsockname()
        assert green.gettimeout() == 9
        green.setblocking(1)
        thread = greenio.spawn(green.accept)
        until_parked(thread)
        with GreenSocket() as client:
            client.connect(plain.getsockname())
            connection, _ = thread.wait()
            connection.close()
        green.close()
        assert (green.fileno(), plain.fileno(), registered()) == (-1, -1, 0)

    everywhere(main)


def test_of_an_existing_socket_that_stays(hub_name):
    left, right = socket.socketpair()
    with left, right:
        green = GreenSocket(left)
        thread = greenio.spawn(green.recv, 10)
        until_parked(thread)
        right.send(b"x")
        thread.wait()
        del green, thread
        gc.collect()
        assert registered() == 0
        left.setblocking(True)
        left.send(b"still open")
        assert right.recv(20) == b"still open"
        green = GreenSocket(left)
        assert green.detach() >= 0
        assert left.fileno() == -1
        os.close(right.detach())


# -- other places -------------------------------------------------------------------------


def test_in_the_loop_greenlet(run_async):
    async def main():
        left, right = socketpair()
        with left, right, listening() as server:
            # What needs no waiting is done.
            left.sendall(b"x")
            assert right.recv(10) == b"x"
            for call in (lambda: right.recv(10), server.accept):
                with pytest.raises(greenio.BlockingInLoopError, match="run_green"):
                    call()
            left.sendall(b"nothing is lost")
            assert right.recv(100) == b"nothing is lost"
            fill(left)
            with pytest.raises(greenio.BlockingInLoopError):
                left.send(b"x")
            client = GreenSocket()
            with pytest.raises(greenio.BlockingInLoopError):
                client.connect(("localhost", server.getsockname()[1]))
            with pytest.raises(greenio.BlockingInLoopError):
                client.connect(server.getsockname())
            await greenio.run_green(client.connect, server.getsockname())
            server.accept()[0].close()
            client.close()
            # An address that must be looked up can be bound to, as ever.
            with GreenSocket() as sock:
                sock.bind(("localhost", 0))

    run_async(main)


def test_in_a_portal(run_async):
    async def main():
        left, right = socketpair()
        with left, right:

            @greenio.portal
            async def read():
                received = []
                right.settimeout(10)
                for _ in range(3):
                    received.append(right.recv(10))
                    await asyncio.sleep(0)
                right.settimeout(0.01)
                with pytest.raises(TimeoutError):
                    right.recv(10)
                return received

            task = asyncio.create_task(read())
            for message in (b"1", b"2", b"3"):
                await asyncio.sleep(0.005)
                left.send(message)
            assert await task == [b"1", b"2", b"3"]

            right.settimeout(None)
            task = asyncio.create_task(greenio.portal(greenio.as_async(right.recv))(9))
            while not waiting():
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert waiting() == 0

    run_async(main)


def test_in_an_os_thread_without_a_hub(pair):
    green, plain = pair

    def blocked():
        green.settimeout(0.01)
        with pytest.raises(TimeoutError):
            green.recv(10)
        green.settimeout(10)
        timer = threading.Timer(0.01, plain.send, (b"x",))
        timer.start()
        assert green.recv(10) == b"x"
        timer.join()
        green.sendall(b"answer")
        with listening() as server, GreenSocket() as client:
            client.connect(("localhost", server.getsockname()[1]))
            connection, _ = server.accept()
            connection.close()
        green.settimeout(None)

    in_thread(blocked)
    assert plain.recv(10) == b"answer"
    # Here it is green, there it blocks, and here it is green again.
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    plain.send(b"y")
    assert thread.wait() == b"y"
    plain.send(b"z")
    assert in_thread(lambda: green.recv(10)) == b"z"


def test_two_loops_share_a_listening_socket(loop_factory):
    server = listening()
    counts = {"here": 0, "there": 0}
    ready = threading.Barrier(2)
    ended = []

    def accept(name):
        try:
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(name.encode())
                counts[name] += 1
        except OSError as exc:
            ended.append(exc.errno)

    def other():
        loop = loop_factory()

        async def main():
            thread = greenio.spawn(accept, "there")
            await asyncio.sleep(0)
            ready.wait()
            await thread

        try:
            loop.run_until_complete(main())
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
                loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            loop.close()

    native = threading.Thread(target=other)
    native.start()
    thread = greenio.spawn(accept, "here")
    until_parked(thread)
    ready.wait()
    total = 0
    while total < 40 or not all(counts.values()):
        with GreenSocket() as client:
            client.settimeout(10)
            client.connect(server.getsockname())
            assert client.recv(10) in (b"here", b"there")
        total += 1
        assert total < 5000
    server.close()
    thread.wait()
    native.join(20)
    assert not native.is_alive()
    assert ended == [errno.EBADF] * 2


def test_closed_from_another_os_thread(pair):
    green, _ = pair
    for _ in range(2):
        thread = greenio.spawn(green.recv, 10)
        until_parked(thread)
        in_thread(green.close)
        # Its number is not given away before our loop has let go of it.
        with pytest.raises(IOClosed):
            thread.wait()
        break
    assert registered() == 0


# -- asyncio uses it ----------------------------------------------------------------------


def test_asyncio_and_green_code_take_turns(run_async):
    async def main():
        loop = asyncio.get_running_loop()
        left, right = socketpair()
        with left, right:
            for _ in range(10):
                reading = greenio.spawn(right.recv, 10)
                await loop.run_in_executor(None, left.send, b"green")
                assert await reading == b"green"
                for sock in (left, right):
                    sock.setblocking(False)
                await loop.sock_sendall(left, b"async")
                assert await loop.sock_recv(right, 10) == b"async"
                buffer = bytearray(9)
                receiving = asyncio.ensure_future(loop.sock_recv_into(right, buffer))
                await asyncio.sleep(0)
                await loop.sock_sendall(left, b"into")
                assert await receiving == 4
                for sock in (left, right):
                    sock.setblocking(True)

    run_async(main)


def test_asyncio_accepts_and_connects(run_async):
    async def main():
        loop = asyncio.get_running_loop()
        with listening() as server, GreenSocket() as client:
            server.setblocking(False)
            client.setblocking(False)
            accepting = asyncio.ensure_future(loop.sock_accept(server))
            await loop.sock_connect(client, server.getsockname())
            connection, address = await accepting
            assert address == client.getsockname()
            with connection:
                connection.setblocking(False)
                await loop.sock_sendall(connection, b"welcome")
                client.setblocking(True)
                assert await greenio.run_green(client.recv, 10) == b"welcome"

    run_async(main)


def test_streams_over_green_sockets(run_async):
    async def main():
        listener = listening()
        # It has been waited on, so the loop knows it.
        accepting = greenio.spawn(listener.accept)
        first = GreenSocket()
        await greenio.run_green(first.connect, listener.getsockname())
        (await accepting)[0].close()
        first.close()

        async def serve(reader, writer):
            while data := await reader.read(100):
                writer.write(data.upper())
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, sock=listener)
        client = GreenSocket()
        await greenio.run_green(client.connect, listener.getsockname())

        def talk():
            for _ in range(3):
                client.sendall(b"from green")
                assert client.recv(100) == b"FROM GREEN"

        await greenio.run_green(talk)
        # The same connection goes on as a stream.
        client.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(b"from a stream")
        assert await reader.readexactly(13) == b"FROM A STREAM"
        with pytest.raises(greenio.SimultaneousUseError):
            await greenio.run_green(trample, client.fileno())
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run_async(main)


def trample(number):
    hubs.trampoline(number, read=True)


# -- functions ----------------------------------------------------------------------------


def test_socketpair(hub_name):
    for args in ((), (socket.AF_UNIX, socket.SOCK_DGRAM), (None, socket.SOCK_STREAM)):
        left, right = socketpair(*args)
        with left, right:
            assert type(left) is type(right) is GreenSocket
            thread = greenio.spawn(right.recv, 10)
            until_parked(thread)
            left.send(b"x")
            assert thread.wait() == b"x"


def test_fromfd(hub_name):
    left, right = socket.socketpair()
    with left, right, fromfd(left.fileno(), left.family, left.type) as green:
        assert type(green) is GreenSocket
        assert green.fileno() != left.fileno()
        thread = greenio.spawn(green.recv, 10)
        until_parked(thread)
        right.send(b"x")
        assert thread.wait() == b"x"


def test_create_connection(everywhere):
    def main():
        with create_server(("127.0.0.1", 0)) as server:
            assert type(server) is GreenSocket
            port = server.getsockname()[1]
            accepting = greenio.spawn(server.accept)
            with create_connection(
                ("localhost", port), timeout=5, source_address=("127.0.0.1", 0)
            ) as client:
                assert type(client) is GreenSocket
                assert client.gettimeout() == 5
                connection, address = accepting.wait()
                assert address == client.getsockname()
                connection.close()
        with pytest.raises(ConnectionRefusedError):
            create_connection(("127.0.0.1", port))
        with pytest.raises(socket.gaierror):
            create_connection(("name.invalid", 1))

    everywhere(main)


def test_create_server_for_both_families(hub_name):
    if not socket.has_dualstack_ipv6():
        pytest.skip("no dual-stack IPv6 here")
    with create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            accepting = greenio.spawn(server.accept)
            with create_connection((host, port)):
                accepting.wait()[0].close()
