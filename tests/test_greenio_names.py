"""`greenio.greenio`: eventlet's names, and green pipes."""

from __future__ import annotations

import errno
import gc
import io
import os
import pty
import socket
import threading

import pytest
from greenlet import GreenletExit

import greenio
from _fresh import run
from _sockets import flags, in_thread, registered, until_parked, waiting
from _support import settle, until
from greenio._net.files import open_green
from greenio.green import os as green_os
from greenio.greenio import GreenPipe, GreenSocket, base, py3, shutdown_safe
from greenio.greenio.base import socket_accept, socket_checkerr, socket_connect
from greenio.greenio.py3 import GreenFileIO

# -- names ----------------------------------------------------------------------------------


def test_names():
    for module in (greenio.greenio, base, py3):
        for name in module.__all__:
            assert hasattr(module, name), name
    assert {errno.EAGAIN, errno.ENOTCONN} == base.SOCKET_BLOCKING
    assert {errno.ECONNRESET, errno.EPIPE, errno.ESHUTDOWN} == base.SOCKET_CLOSED
    assert {0, errno.EISCONN} == base.CONNECT_SUCCESS
    assert errno.EINPROGRESS in base.CONNECT_ERR
    assert base.socket_timeout is socket.timeout
    assert base.BUFFER_SIZE == 4096
    assert isinstance(base.greenpipe_doc, str)
    assert issubclass(GreenFileIO, io.RawIOBase)
    assert GreenSocket is base.GreenSocket


def test_steps(hub_name):
    with (
        socket.create_server(("127.0.0.1", 0)) as plain,
        socket.socket() as sock,
        socket.socket() as other,
    ):
        plain.setblocking(False)
        assert socket_accept(plain) is None
        base.set_nonblocking(sock)
        assert sock.getblocking() is False
        while socket_connect(sock, plain.getsockname()) is None:
            pass
        assert socket_connect(sock, plain.getsockname()) is sock
        socket_checkerr(sock)
        connection, address = socket_accept(plain)
        assert address == sock.getsockname()
        connection.close()
        address = plain.getsockname()
        plain.close()
        base.set_nonblocking(other)
        with pytest.raises(ConnectionRefusedError):
            while socket_connect(other, address) is None:
                pass
        with pytest.raises(OSError):
            socket_checkerr(plain)


def test_checkerr(hub_name):
    with socket.socket(type=socket.SOCK_DGRAM) as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = reserved.getsockname()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.send(b"anybody there?")
        with pytest.raises(ConnectionRefusedError):
            socket_checkerr(sock)
        socket_checkerr(sock)


def test_set_nonblocking(ends):
    for fd in ends:
        base.set_nonblocking(fd)
        assert not os.get_blocking(fd)
    reader = os.fdopen(os.dup(ends[0]), "rb")
    os.set_blocking(ends[0], True)
    with reader:
        base.set_nonblocking(reader)
    assert not os.get_blocking(ends[0])
    with pytest.raises(AttributeError):
        base.set_nonblocking(object())


def test_shutdown_safe(hub_name):
    left, right = socket.socketpair()
    with left, right:
        shutdown_safe(left)
        assert right.recv(10) == b""
    shutdown_safe(left)
    with socket.socket() as sock:
        shutdown_safe(sock)

    class Connection:
        def shutdown(self):
            calls.append(1)

    calls = []
    shutdown_safe(Connection())
    assert calls == [1]

    class Broken:
        def shutdown(self, how):
            raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        shutdown_safe(Broken())


# -- pipes ------------------------------------------------------------------------------------


def test_pipe(everywhere):
    def main():
        reader, writer = os.pipe()
        with GreenPipe(reader) as lines, GreenPipe(writer, "w") as out:
            assert type(lines) is io.TextIOWrapper
            reading = greenio.spawn(lines.readline)
            until_parked(reading)
            out.write("größe\n")
            out.flush()
            assert reading.wait() == "größe\n"
        assert (waiting(), registered()) == (0, 0)

    everywhere(main)


def test_more_than_fits(everywhere):
    payload = os.urandom(500_000)

    def main():
        reader, writer = os.pipe()

        def write():
            with GreenPipe(writer, "wb") as out:
                out.write(payload)

        writing = greenio.spawn(write)
        with GreenPipe(reader, "rb") as source:
            assert source.read() == payload
        writing.wait()

    everywhere(main)


def test_raw(ends):
    reader, writer = (
        GreenPipe(fd, mode, 0) for fd, mode in zip(ends, ("rb", "wb"), strict=True)
    )
    with reader, writer:
        assert type(reader) is GreenFileIO
        assert (reader.readable(), reader.writable(), reader.seekable()) == (
            True,
            False,
            False,
        )
        assert reader.fileno() == ends[0]
        assert not reader.isatty()
        # All of it is written, although the system takes it in pieces.
        payload = os.urandom(300_000)
        writing = greenio.spawn(writer.write, memoryview(payload))
        until_parked(writing, "write")
        received = b""
        while len(received) < len(payload):
            received += reader.read(100_000)
        assert received == payload
        assert writing.wait() == len(payload)
        reading = greenio.spawn(reader.read, 10)
        until_parked(reading)
        writer.write(b"abc")
        assert reading.wait() == b"abc"
        buffer = bytearray(5)
        reading = greenio.spawn(reader.readinto, buffer)
        until_parked(reading)
        writer.write(b"xyz")
        assert reading.wait() == 3
        assert buffer == b"xyz\0\0"
        assert writer.write(b"") == 0
        for call in (lambda: writer.read(1), lambda: reader.write(b"x"), reader.tell):
            with pytest.raises(OSError):
                call()
        writer.close()
        assert reader.read() == b""
        with pytest.raises(ValueError, match="closed"):
            writer.write(b"x")


def test_modes(ends):
    with GreenPipe(os.dup(ends[0]), "rb") as file:
        assert type(file) is io.BufferedReader
    with GreenPipe(os.dup(ends[1]), "wb", 100) as file:
        assert type(file) is io.BufferedWriter
    with GreenPipe(os.dup(ends[1]), "wt", encoding="latin-1", newline="\r\n") as file:
        assert file.encoding == "latin-1"
        file.write("größe\n")
    assert os.read(ends[0], 100) == b"gr\xf6\xdfe\r\n"
    with GreenPipe(os.dup(ends[1]), "w", 1) as file:
        assert file.line_buffering
        file.write("line\n")
        assert os.read(ends[0], 100) == b"line\n"
    for arguments in (
        ("q",),
        ("rbt",),
        ("r", 0),
        ("rb", -1, "utf-8"),
        ("rb", -1, None, "strict"),
        ("",),
        ("rw",),
    ):
        with pytest.raises(ValueError):
            GreenPipe(ends[0], *arguments, closefd=False)
    with pytest.raises(io.UnsupportedOperation):
        GreenPipe(ends[0], "r+", closefd=False)
    with pytest.raises(OSError):
        GreenPipe(1 << 20)
    with pytest.raises(TypeError):
        GreenPipe(None)


def test_regular_file(everywhere, tmp_path):
    path = tmp_path / "file"

    def main():
        with GreenPipe(str(path), "w") as file:
            file.write("some text\n" * 1000)
        with GreenPipe(path) as file:
            assert file.read() == "some text\n" * 1000
        with GreenPipe(path, "r+b") as file:
            assert type(file) is io.BufferedRandom
            file.seek(5)
            file.write(b"TEXT")
            file.seek(0)
            assert file.readline() == b"some TEXT\n"
            file.truncate(10)
        with GreenPipe(path, "a") as file:
            file.write("more\n")
        # An open file is given up, with what was written to it.
        opened = path.open("a")
        opened.write("by the plain file, ")
        with GreenPipe(opened, "a") as file:
            assert opened.closed
            file.write("by the green one\n")
        opened = path.open()
        with GreenPipe(opened) as file:
            assert opened.closed
            assert file.readlines() == [
                "some TEXT\n",
                "more\n",
                "by the plain file, by the green one\n",
            ]
        path.unlink()

    everywhere(main)


def test_standard_streams_stay_open():
    code = """
        import os
        import sys
        from greenio.greenio import GreenPipe

        sys.stdout.write("plain, ")
        with GreenPipe(sys.stdout, "w") as out:
            out.write("green, ")
        assert os.fstat(1)
        sys.stdout.write("plain")
    """
    assert run(code) == "plain, green, plain"


@pytest.mark.parametrize("mode", ["rb", "wb"])
def test_the_wrong_end_is_no_wait(hub_name, mode):
    ends = os.pipe()
    # The reader's number to write to, and the other way round.
    fd = ends["rw".index(mode[0]) ^ 1]
    file = open_green(fd, mode, 0)
    for wrong in (
        lambda: file.read(1) if mode == "rb" else file.write(b"x"),
        lambda: green_os.read(fd, 1) if mode == "rb" else green_os.write(fd, b"x"),
    ):
        with pytest.raises(OSError) as caught, greenio.Timeout(5):
            wrong()
        assert caught.value.errno == errno.EBADF
    for end in ends:
        os.close(end) if end != fd else file.close()


def test_in_the_loop_greenlet(run_async, tmp_path):
    path = tmp_path / "file"

    async def main():
        # A regular file never waits.
        with GreenPipe(path, "w") as file:
            file.write("text")
        with GreenPipe(path) as file:
            assert file.read() == "text"
        reader, writer = os.pipe()
        with GreenPipe(reader, "rb", 0) as source, GreenPipe(writer, "wb", 0) as out:
            with pytest.raises(greenio.BlockingInLoopError):
                source.read(10)
            out.write(b"x")
            assert source.read(10) == b"x"

    run_async(main)


def test_close_wakes(ends):
    file = GreenPipe(ends[0], "rb", 0)
    reading = greenio.spawn(file.read, 10)
    until_parked(reading)
    file.close()
    with pytest.raises(OSError) as caught:
        reading.wait()
    assert caught.value.errno == errno.EBADF
    assert (waiting(), registered()) == (0, 0)


def test_killed(ends):
    with GreenPipe(ends[0], "rb", 0) as file:
        for kill in (lambda thread: thread.kill(),):
            reading = greenio.spawn(file.read, 10)
            until_parked(reading)
            kill(reading)
            with pytest.raises(GreenletExit):
                reading.wait()
            assert (waiting(), registered()) == (0, 0)
        with pytest.raises(greenio.Timeout), greenio.Timeout(0.005):
            file.read(10)
        os.write(ends[1], b"x")
        assert file.read(10) == b"x"


def test_the_reader_has_gone(ends):
    os.close(ends[0])
    with GreenPipe(ends[1], "wb", 0) as file, pytest.raises(BrokenPipeError):
        file.write(b"x")


def test_closefd(ends):
    # A descriptor that stays somebody else's keeps its flags.
    before = [flags(fd) for fd in ends]
    reader = GreenPipe(ends[0], "rb", 0, closefd=False)
    writer = GreenPipe(ends[1], "wb", 0, closefd=False)
    reading = greenio.spawn(reader.read, 1 << 20)
    until_parked(reading)
    assert [flags(fd) for fd in ends] == before
    payload = os.urandom(200_000)
    writing = greenio.spawn(writer.write, payload)
    received = reading.wait()
    while len(received) < len(payload):
        received += reader.read(1 << 20)
    assert writing.wait() == len(payload)
    assert received == payload
    assert [flags(fd) for fd in ends] == before
    reader.close()
    writer.close()
    os.write(ends[1], b"x")
    assert os.read(ends[0], 10) == b"x"


def test_others_run_while_a_borrowed_pipe_is_full(ends):
    writer = GreenPipe(ends[1], "wb", 0, closefd=False)
    writing = greenio.spawn(writer.write, bytes(1_000_000))
    until_parked(writing, "write")
    settle()
    assert not writing.dead
    left = 1_000_000
    while left:
        greenio.sleep(0)
        left -= len(os.read(ends[0], 50_000))
    writing.wait()


def test_terminal(hub_name):
    outside, inside = pty.openpty()
    with GreenPipe(inside, "r") as file:
        assert file.isatty()
        reading = greenio.spawn(file.readline)
        until_parked(reading)
        os.write(outside, b"typed\n")
        assert reading.wait() == "typed\n"
    os.close(outside)


def test_in_an_os_thread_without_a_hub(ends):
    def talk():
        timer = threading.Timer(0.01, os.write, (ends[1], b"x"))
        timer.start()
        with GreenPipe(os.dup(ends[0]), "rb", 0) as file:
            data = file.read(10)
        timer.join()
        return data

    assert in_thread(talk) == b"x"


def test_forgotten(ends):
    def forget():
        file = GreenPipe(os.dup(ends[0]), "rb", 0)
        number = file.fileno()
        knot = [file]
        knot.append(knot)
        del file, knot
        gc.collect()
        return number

    # The collector may come at any time.
    with pytest.warns(ResourceWarning):
        number = forget()
    with pytest.raises(OSError):
        os.fstat(number)


def test_children(everywhere):
    # As programs use pipes: to talk to another process.
    import subprocess
    import sys

    program = (
        "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"
    )

    def main():
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with GreenPipe(process.stdin, "w") as to, GreenPipe(process.stdout) as answers:
            for word in ("one", "two"):
                to.write(f"{word}\n")
                to.flush()
                assert answers.readline() == f"{word.upper()}\n"
            to.close()
            assert answers.read() == ""
        until(lambda: process.poll() is not None)
        assert process.wait() == 0

    everywhere(main)
