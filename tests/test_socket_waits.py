"""Green sockets: connecting, time limits, interruptions, several who wait."""

from __future__ import annotations

import errno
import gc
import math
import os
import socket
import sys
import threading
import time

import pytest
from greenlet import GreenletExit

import greenio
from _sockets import (
    NAMES,
    event_of,
    fill,
    listening,
    operations,
    registered,
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


@pytest.mark.parametrize("limit", [0, None, 7])
def test_the_limit_of_a_socket_in_green_form(hub_name, limit):
    plain, other = socket.socketpair()
    plain.settimeout(limit)
    # As with eventlet, one that never waits has been made ready for this.
    with other, GreenSocket(plain, set_nonblocking=False) as green:
        assert green.gettimeout() == (limit or None)
        reading = greenio.spawn(green.recv, 10)
        until_parked(reading)
        other.send(b"x")
        assert reading.wait() == b"x"


def test_never_waiting_and_back(pair):
    green, plain = pair
    green.settimeout(7)
    green.act_non_blocking = False
    assert green.gettimeout() == 7
    for _ in range(2):
        green.act_non_blocking = True
        with pytest.raises(BlockingIOError):
            green.recv(10)
    green.act_non_blocking = False
    assert green.gettimeout() == 7
    plain.send(b"x")
    assert green.recv(10) == b"x"


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
