"""What the tests of sockets and descriptors share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import greenio
from _support import run_on_loop
from greenio import hubs
from greenio._net.socket import GreenSocket

# Where green code may run: in the main greenlet of a script, in a green thread of its
# hub, or in a green thread on a loop that somebody else runs.
PLACES = ("main", "spawned", "attached")


def run_in(place: str, factory: Callable[[], Any], func: Callable[[], Any]) -> Any:
    """Run a function in one of the `PLACES`."""
    if place == "main":
        return func()
    if place == "spawned":
        return greenio.spawn(func).wait()
    assert place == "attached"
    return run_on_loop(factory, lambda: greenio.run_green(func))


def in_thread(func: Callable[[], Any]) -> Any:
    """Call a function in a new OS thread; return its result or raise its error."""
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["result"] = func()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def until_parked(thread: greenio.GreenThread, event: str = "read") -> Any:
    """Let a green thread run until it waits for a descriptor; return its listener."""
    from _support import until

    def listener() -> Any:
        hub = hubs.get_hub()
        waiting = hub.get_readers() if event == "read" else hub.get_writers()
        for entry in waiting:
            if entry.waiter is thread or thread in (entry.others or ()):
                return entry
        assert not thread.dead, thread.wait()
        return None

    until(listener)
    return listener()


def waiting() -> int:
    """How many wait for descriptors on the current hub."""
    hub = hubs.get_hub()
    return sum(
        1 + len(entry.others or ()) for entry in hub.get_readers() + hub.get_writers()
    )


def registered() -> int:
    """How many descriptors the current loop watches for us."""
    return len(hubs.get_hub().descriptors.registered())


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe of the system's; closed at the end, where it is not closed by then."""
    ends = os.pipe()
    inodes = [os.fstat(fd).st_ino for fd in ends]
    try:
        yield ends
    finally:
        for fd, inode in zip(ends, inodes, strict=True):
            with contextlib.suppress(OSError):
                if os.fstat(fd).st_ino == inode:
                    os.close(fd)


def flags(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_GETFL)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two plain TCP sockets that are connected."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        connection, _ = server.accept()
    return client, connection


def reset(sock: Any) -> None:
    """Close a TCP socket so that its peer gets an error."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def fill(sock: Any) -> int:
    """Send until a socket takes no more; return how much that was."""
    before = sock.gettimeout()
    sock.setblocking(False)
    total = 0
    try:
        while True:
            total += sock.send(bytes(65536))
    except BlockingIOError:
        pass
    finally:
        sock.settimeout(before)
    return total


def listening(*args, **kwargs):
    sock = GreenSocket(*args, **kwargs)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


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


# -- fixtures ---------------------------------------------------------------------------


@pytest.fixture(params=PLACES)
def everywhere(request, hub_name, loop_factory):
    """Run a function wherever green code may run."""
    return lambda func: run_in(request.param, loop_factory, func)


@pytest.fixture
def ends(hub_name: str) -> Iterator[tuple[int, int]]:
    """The two ends of a pipe of the system's."""
    with pipe() as both:
        yield both


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
