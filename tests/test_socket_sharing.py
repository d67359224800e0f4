"""Green sockets and the system: options, backlogs, and children that have them too."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import time
import weakref

import pytest

import greenio
from _fresh import run
from _sockets import fill, flags, in_thread, listening, until_parked
from greenio._net import backlog
from greenio._net import inherited as inherited_sockets
from greenio._net.inherited import InheritedSocket, share_with_children
from greenio._net.numbers import sockets_with
from greenio._net.socket import GreenSocket, socketpair
from greenio.green import subprocess

A_WHILE = 0.02


def limit(seconds):
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))


# -- SO_RCVTIMEO, SO_SNDTIMEO -----------------------------------------------------------


@pytest.mark.parametrize("thread", [False, True], ids=["green", "os thread"])
def test_the_systems_limits(pair, thread):
    green, plain = pair
    where = in_thread if thread else lambda func: func()
    green.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit(A_WHILE))
    green.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit(A_WHILE))
    for receive in (lambda: green.recv(10), lambda: green.recv_into(bytearray(10))):
        # What has been read before does not change it.
        plain.send(b"x")
        assert where(receive)
        started = time.monotonic()
        with pytest.raises(BlockingIOError) as caught:
            where(receive)
        assert caught.value.errno == errno.EAGAIN
        assert time.monotonic() - started > A_WHILE * 0.9
    fill(green)
    with pytest.raises(BlockingIOError):
        where(lambda: green.sendall(b"x"))
    assert green.gettimeout() is None
    # The limit of settimeout comes first, as it does without greenio.
    green.settimeout(0.001)
    with pytest.raises(TimeoutError):
        where(lambda: green.recv(10))


def test_the_systems_limits_hold_after_those_of_a_socket_that_a_child_has(pair):
    green, plain = pair
    green.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit(A_WHILE))
    share_with_children([green.fileno()])
    assert type(green) is InheritedSocket
    green.settimeout(5)
    green.settimeout(None)
    plain.send(b"x")
    assert green.recv(10) == b"x"
    with greenio.Timeout(5), pytest.raises(BlockingIOError):
        green.recv(10)


def test_the_systems_limits_end(pair):
    green, plain = pair
    green.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit(0.001))
    with green.dup() as twin, pytest.raises(BlockingIOError):
        twin.recv(10)
    green.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit(0))
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    greenio.sleep(0.005)
    plain.send(b"late")
    assert thread.wait() == b"late"
    with pytest.raises(OSError):
        green.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"x")


# -- the backlog --------------------------------------------------------------------------


def test_more_clients_than_the_backlog_holds(hub_name):
    server = listening()
    server.listen(5)
    served = 0

    def serve():
        nonlocal served
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"x")
            served += 1

    def client():
        with GreenSocket() as sock:
            sock.connect(server.getsockname())
            return sock.recv(1)

    serving = greenio.spawn(serve)
    started = time.monotonic()
    clients = [greenio.spawn(client) for _ in range(60)]
    assert [thread.wait() for thread in clients] == [b"x"] * 60
    # The kernel sends again after a second what it has dropped.
    assert time.monotonic() - started < 0.9
    serving.kill()
    server.close()


def test_nobody_accepts(hub_name):
    """Who cannot see that others accept does not wait for it."""
    server = listening()
    server.listen(2)
    clients = [GreenSocket() for _ in range(3)]
    try:
        for client in clients:
            client.connect(server.getsockname())
        known = backlog.backlog_for(server.getsockname())
        assert known.waiting <= 3
        accepted = [server.accept()[0] for _ in clients]
        assert known.waiting == 0
        for connection in accepted:
            connection.close()
    finally:
        for sock in (*clients, server):
            sock.close()


def test_failed_connections_are_not_counted(hub_name):
    server = listening()
    address = server.getsockname()
    server.close()
    for _ in range(3):
        with GreenSocket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(address)
    assert backlog.backlog_for(address).waiting == 0
    assert backlog.backlog_for(("192.0.2.1", address[1])) is None
    assert backlog.backlog_for("/a/path") is None
    with GreenSocket() as client, pytest.raises(TypeError, match="pair"):
        client.connect(("127.0.0.1",))


@pytest.mark.parametrize("wrong", [(None,), (1.5,), (1, 2)])
def test_what_is_no_backlog(hub_name, wrong):
    with GreenSocket() as sock, pytest.raises(TypeError):
        sock.listen(*wrong)


# -- children ---------------------------------------------------------------------------

READ_AND_ANSWER = "import os; os.write(1, os.read(0, 99)[::-1])"


@pytest.mark.parametrize("as_number", [False, True], ids=["socket", "number"])
def test_a_child_finds_it_blocking(hub_name, as_number):
    ours, childs = socketpair()
    with ours, childs:
        given = childs.fileno() if as_number else childs
        with subprocess.Popen(
            [sys.executable, "-Sc", READ_AND_ANSWER], stdin=given, stdout=given
        ) as child:
            childs.close()
            greenio.sleep(A_WHILE)
            ours.sendall(b"abc")
            assert ours.recv(99) == b"cba"
            assert child.wait() == 0


def test_a_child_that_gets_it_by_its_number(hub_name):
    ours, childs = socketpair()
    script = f"import socket; s = socket.socket(fileno={childs.fileno()}); s.recv(9)"
    with (
        ours,
        childs,
        subprocess.Popen(
            [sys.executable, "-c", script], pass_fds=[childs.fileno()]
        ) as child,
    ):
        greenio.sleep(A_WHILE)
        ours.sendall(b"x")
        assert child.wait() == 0


@pytest.fixture
def inherited(hub_name):
    green, peer = socketpair()
    share_with_children([green.fileno()])
    with green, peer:
        yield green, peer


def test_the_parent_goes_on_with_it(inherited):
    green, peer = inherited
    assert isinstance(green, InheritedSocket)
    receivers = (
        lambda: green.recv(9),
        lambda: green.recvfrom(9)[0],
        lambda: green.recvmsg(9)[0],
        lambda: green.recv_into(bytearray(9)).to_bytes(1, "big"),
    )
    for receive in receivers:
        thread = greenio.spawn(receive)
        until_parked(thread)
        assert os.get_blocking(green.fileno())
        peer.send(b"\3..")
        assert thread.wait()[:1] == b"\3"
    data = bytes(1 << 20)
    thread = greenio.spawn(green.sendall, data)
    until_parked(thread, "write")
    received = 0
    while received < len(data):
        received += len(peer.recv(1 << 20))
    thread.wait()
    assert green.sendmsg([b"a", b"b"]) == 2


def test_a_listening_socket_that_a_child_has(hub_name):
    server = listening()
    share_with_children([server.fileno()])
    with server:
        thread = greenio.spawn(server.accept)
        until_parked(thread)
        with GreenSocket() as client:
            client.connect(server.getsockname())
            connection, _ = thread.wait()
            connection.close()


def test_limits_of_an_inherited_socket(inherited):
    green, peer = inherited
    green.settimeout(None)
    assert not flags(green.fileno()) & os.O_NONBLOCK
    green.settimeout(0.001)
    assert flags(green.fileno()) & os.O_NONBLOCK
    with pytest.raises(TimeoutError):
        green.recv(9)
    green.setblocking(True)
    peer.send(b"x")
    assert green.recv(9) == b"x"


def test_an_inherited_socket_that_is_not_to_wait(inherited):
    green, peer = inherited
    green.setblocking(False)
    assert flags(green.fileno()) & os.O_NONBLOCK
    with pytest.raises(BlockingIOError):
        green.recv(9)
    peer.send(b"x")
    assert green.recv(9) == b"x"


def test_datagrams_of_an_inherited_socket(hub_name):
    with (
        GreenSocket(socket.AF_INET, socket.SOCK_DGRAM) as green,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain,
    ):
        green.bind(("127.0.0.1", 0))
        plain.bind(("127.0.0.1", 0))
        share_with_children([green.fileno()])
        assert isinstance(green, InheritedSocket)
        assert green.sendto(b"one", plain.getsockname()) == 3
        assert green.sendto(b"two", 0, plain.getsockname()) == 3
        assert green.sendmsg([b"th", b"ree"], (), 0, plain.getsockname()) == 5
        assert [plain.recv(9) for _ in range(3)] == [b"one", b"two", b"three"]


def test_what_is_left_as_it_is(pair):
    green, plain = pair
    green.settimeout(5)
    share_with_children([green.fileno(), plain.fileno(), -1, 1 << 20])
    assert type(green) is GreenSocket
    assert flags(green.fileno()) & os.O_NONBLOCK


def test_a_patched_program():
    out = run(f"""
        import greenio; greenio.monkey_patch()
        import socket, subprocess, sys, threading, time
        ours, childs = socket.socketpair()
        def answer():
            time.sleep(0.05)
            ours.sendall(b"abc")
            print(ours.recv(9))
        thread = threading.Thread(target=answer)
        thread.start()
        subprocess.run([sys.executable, "-Sc", {READ_AND_ANSWER!r}], stdin=childs,
                       stdout=childs, check=True)
        thread.join()
        ours.close()
        childs.close()
    """)
    assert out == "b'cba'\n"


def test_those_who_told_their_number_are_found_without_a_search(hub_name, monkeypatch):
    green, peer = socketpair()
    other = GreenSocket(green)
    third, fourth = socketpair()
    with green, peer, other, third, fourth:
        pipe = os.pipe2(os.O_NONBLOCK)
        with monkeypatch.context() as patch:
            patch.setattr(inherited_sockets, "gc", None)
            # A pipe is none of them.
            share_with_children([green.fileno(), *pipe])
        for fd in pipe:
            os.close(fd)
        assert type(green) is InheritedSocket
        assert isinstance(other, InheritedSocket)
        assert type(peer) is GreenSocket
        # Others have to be looked for.
        share_with_children([socket.socket.fileno(third)])
        assert type(third) is InheritedSocket


def test_a_number_that_was_closed_behind_a_sockets_back_is_somebody_elses(hub_name):
    old, peer = socketpair()
    number = old.fileno()
    os.close(number)
    new, other = socketpair()
    try:
        with peer, new, other:
            assert socket.socket.fileno(new) == number
            share_with_children([number])
            assert type(new) is InheritedSocket
            new.fileno()
            assert list(sockets_with(number)) == [new]
    finally:
        old.detach()


def test_a_closed_number_can_be_told(hub_name):
    green, peer = socketpair()
    with peer:
        number = socket.socket.fileno(green)
        os.close(number)
        assert green.fileno() == number
        green.detach()


def test_to_tell_a_number_keeps_nobody(hub_name):
    numbers: set[int] = set()
    for _ in range(3):
        sock = GreenSocket()
        numbers.add(sock.fileno())
        gone = weakref.ref(sock)
        sock.close()
        del sock
        assert gone() is None
    assert all(not list(sockets_with(fd)) for fd in numbers)
