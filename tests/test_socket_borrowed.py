"""Green sockets made of another socket, and what they do when that one is closed."""

from __future__ import annotations

import copy
import errno
import os
import socket
import weakref
from pathlib import Path

import pytest

import greenio
from _sockets import flags, in_thread, registered, until_parked
from _support import collect_garbage
from _tls import tls_over
from greenio._http.connection import _EarlySocket
from greenio._net.borrowed import Borrowing, kind_of
from greenio._net.inherited import InheritedSocket, share_with_children
from greenio._net.socket import GreenSocket, socketpair

_CALLS = {
    "accept": lambda sock: sock.accept(),
    "bind": lambda sock: sock.bind("/nowhere/at/all"),
    "connect": lambda sock: sock.connect("/nowhere/at/all"),
    "dup": lambda sock: sock.dup(),
    "getpeername": lambda sock: sock.getpeername(),
    "getsockname": lambda sock: sock.getsockname(),
    "getsockopt": lambda sock: sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE),
    "listen": lambda sock: sock.listen(),
    "makefile": lambda sock: sock.makefile("rb", 0).read(1),
    "recv": lambda sock: sock.recv(10),
    "recv_into": lambda sock: sock.recv_into(bytearray(10)),
    "recvfrom": lambda sock: sock.recvfrom(10),
    "recvfrom_into": lambda sock: sock.recvfrom_into(bytearray(10)),
    "recvmsg": lambda sock: sock.recvmsg(10),
    "recvmsg_into": lambda sock: sock.recvmsg_into([bytearray(10)]),
    "send": lambda sock: sock.send(b"wrong"),
    "sendall": lambda sock: sock.sendall(b"wrong"),
    "sendmsg": lambda sock: sock.sendmsg([b"wrong"]),
    "sendto": lambda sock: sock.sendto(b"wrong", "/nowhere/at/all"),
    "setblocking": lambda sock: sock.setblocking(True),
    "setsockopt": lambda sock: sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
    ),
    "settimeout": lambda sock: sock.settimeout(1),
    "shutdown": lambda sock: sock.shutdown(socket.SHUT_RDWR),
}


class _Others:
    """Has a borrower whose number is somebody else's by now."""

    def __init__(self, how: str, lender: str) -> None:
        pair = socketpair if lender == "green" else socket.socketpair
        first, self.peer = pair()
        self.borrower = GreenSocket(first)
        number = first.fileno()
        if how == "close":
            first.close()
        else:
            os.close(first.detach())
        self.kept: list[socket.socket] = []
        while True:
            one, other = socket.socketpair()
            self.kept += [one, other]
            if number in (one.fileno(), other.fileno()):
                break
        self.taker, self.takers_peer = one, other
        if number == other.fileno():
            self.taker, self.takers_peer = other, one

    def __enter__(self) -> _Others:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for sock in (*self.kept, self.peer):
            sock.close()


@pytest.fixture(params=["close", "detach"])
def others(hub_name, request):
    with _Others(request.param, "plain") as others:
        yield others


@pytest.mark.parametrize("name", _CALLS)
def test_with_its_lender_closed_it_is_closed(others, name):
    with pytest.raises(OSError) as caught:
        _CALLS[name](others.borrower)
    assert caught.value.errno == errno.EBADF
    assert others.borrower.fileno() == -1
    assert "closed" in repr(others.borrower) or "fd=-1" in repr(others.borrower)


def test_nothing_reaches_who_has_the_number_now(others):
    borrower, taker = others.borrower, others.taker
    before = flags(taker.fileno())
    for call in _CALLS.values():
        with pytest.raises(OSError):
            call(borrower)
    assert borrower.connect_ex("/nowhere/at/all") == errno.EBADF
    with Path(__file__).open("rb") as file, pytest.raises(OSError):
        borrower.sendfile(file)
    assert borrower.detach() == -1
    borrower.close()
    assert flags(taker.fileno()) == before
    taker.send(b"right")
    assert others.takers_peer.recv(10) == b"right"
    others.takers_peer.send(b"back")
    assert taker.recv(10) == b"back"


def test_closing_it_leaves_the_number_to_the_other(others):
    others.borrower.close()
    others.taker.send(b"x")
    assert others.takers_peer.recv(10) == b"x"
    del others.borrower
    collect_garbage()
    others.taker.send(b"y")
    assert others.takers_peer.recv(10) == b"y"


@pytest.mark.parametrize("lender", ["plain", "green"])
def test_in_an_os_thread(hub_name, lender):
    with _Others("close", lender) as others:

        def send():
            with pytest.raises(OSError, match="Bad file descriptor"):
                others.borrower.send(b"wrong")

        in_thread(send)


@pytest.mark.parametrize("end", ["close", "detach"])
def test_a_green_lender_that_is_closed_wakes_who_waits(hub_name, end):
    lender, peer = socketpair()
    with peer:
        borrower = GreenSocket(lender)
        second = GreenSocket(borrower)
        thread = greenio.spawn(second.recv, 10)
        until_parked(thread)
        number = getattr(lender, end)()
        with pytest.raises(OSError) as caught:
            thread.wait()
        assert caught.value.errno == errno.EBADF
        assert registered() == 0
        if number is not None:
            os.close(number)
        for sock in (borrower, second):
            assert sock.fileno() == -1
            with pytest.raises(OSError, match="Bad file descriptor"):
                sock.send(b"x")


def test_who_waits_sees_it_when_the_number_is_ready(hub_name):
    plain, peer = socket.socketpair()
    borrower = GreenSocket(plain)
    # A read that takes all there is makes ordinary sockets wait first at the next one.
    peer.send(b"x")
    assert borrower.recv(10) == b"x"
    thread = greenio.spawn(borrower.recv, 10)
    until_parked(thread)
    twin = plain.dup()
    taker, other = socket.socketpair()
    with peer, twin, taker, other:
        # In place of the lender's, which the loop still watches by the twin.
        number = plain.detach()
        peer.send(b"for the twin")
        with pytest.raises(OSError, match="Bad file descriptor"):
            thread.wait()
        assert twin.recv(20) == b"for the twin"
        os.close(number)


def test_what_it_makes_is_its_own(hub_name):
    plain, peer = socket.socketpair()
    with peer:
        borrower = GreenSocket(plain)
        twin = borrower.dup()
        borrower.close()
        assert plain.fileno() == -1
        with twin:
            assert type(twin) is GreenSocket
            twin.send(b"x")
            assert peer.recv(10) == b"x"
    with socket.create_server(("127.0.0.1", 0)) as plain:
        with GreenSocket() as client:
            client.connect(plain.getsockname())
            connection, _ = GreenSocket(plain).accept()
            with connection:
                assert type(connection) is GreenSocket


def test_detached_it_takes_the_number_from_its_lender(hub_name):
    plain, peer = socket.socketpair()
    with peer:
        borrower = GreenSocket(plain)
        number = plain.fileno()
        assert borrower.detach() == number
        assert plain.fileno() == -1
        with GreenSocket(fileno=number) as owner:
            assert type(owner) is GreenSocket
            owner.send(b"x")
            assert peer.recv(10) == b"x"


def test_what_it_is(hub_name):
    class Own(GreenSocket):
        def recv(self, *args):
            return b"own " + super().recv(*args)

    plain, peer = socket.socketpair()
    with plain, peer:
        for kind in (GreenSocket, Own):
            borrower = kind(plain)
            assert isinstance(borrower, kind)
            assert kind_of(borrower) is kind
            assert kind_of(plain) is socket.socket
            assert type(borrower) is type(kind(plain))
            assert type(borrower).__name__ == kind.__name__
            assert repr(borrower).startswith(f"<{kind.__module__}.")
            with pytest.raises(TypeError, match=f"cannot pickle '{kind.__name__}'"):
                copy.copy(borrower)
        peer.send(b"x")
        assert borrower.recv(10) == b"own x"
        gone = weakref.ref(borrower)
        del borrower
        collect_garbage()
        assert gone() is None


def test_a_child_has_it_too(hub_name):
    plain, peer = socket.socketpair()
    with peer:
        borrower = GreenSocket(plain)
        share_with_children([borrower.fileno()])
        assert kind_of(borrower) is InheritedSocket
        assert not flags(plain.fileno()) & os.O_NONBLOCK
        thread = greenio.spawn(borrower.recv, 10)
        until_parked(thread)
        peer.send(b"x")
        assert thread.wait() == b"x"
        borrower.settimeout(5)
        assert kind_of(borrower) is GreenSocket
        assert isinstance(borrower, Borrowing)
        plain.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            borrower.send(b"x")


def test_with_bytes_in_front(hub_name):
    lender, peer = socketpair()
    with peer:
        sock = _EarlySocket(lender, b"early")
        peer.send(b"late")
        assert sock.recv(10) == b"early"
        assert sock.recv(10) == b"late"
        lender.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            sock.recv(10)


def test_tls_takes_the_number_from_its_lender(hub_name, certificates):
    plains = socket.socketpair()
    left, right = map(GreenSocket, plains)
    server, client = tls_over(left, right, certificates)
    with server, client:
        assert [plain.fileno() for plain in plains] == [-1, -1]
        client.sendall(b"x")
        assert server.recv(10) == b"x"
    plain, peer = socket.socketpair()
    with peer:
        borrower = GreenSocket(plain)
        plain.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            certificates.client_context().wrap_socket(
                borrower, server_hostname="server.test"
            )


def test_of_what_is_no_socket(hub_name):
    class Other:
        def __init__(self, sock):
            self.sock = sock

        def __getattr__(self, name):
            return getattr(self.sock, name)

        def fileno(self):
            if self.sock.fileno() < 0:
                raise ValueError("closed")
            return self.sock.fileno()

    plain, peer = socket.socketpair()
    with peer:
        borrower = GreenSocket(Other(plain))
        borrower.send(b"x")
        assert peer.recv(10) == b"x"
        plain.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            borrower.send(b"x")
