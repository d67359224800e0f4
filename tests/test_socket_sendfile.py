"""Green sockets: `sendfile` and `makefile`."""

from __future__ import annotations

import io
import os
import socket
import sys
from pathlib import Path

import pytest

import greenio
from _sockets import until_parked
from greenio._net.socket import GreenSocket, socketpair

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


@pytest.mark.skipif(sys.platform == "win32", reason="needs fstat of pipes")
def test_sendfile_of_a_pipe_sends_nothing(hub_name):
    """As the plain socket's: it sends as much as the file's size says."""
    reading, writing = os.pipe()
    os.write(writing, b"in the pipe")
    os.close(writing)
    left, right = socketpair()
    with (
        left,
        right,
        os.fdopen(reading, "rb") as pipe,
        Path(os.devnull).open("rb") as null,
    ):
        assert left.sendfile(pipe) == left.sendfile(null) == 0
        assert pipe.read() == b"in the pipe"


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
