"""`os.read`, `os.writev`, `os.fdopen`, named pipes and the like, in green form."""

from __future__ import annotations

import errno
import gc
import os
import socket
import stat
import threading

import psutil
import pytest

import greenio
from _fresh import run
from _sockets import in_thread, until_parked
from _support import until
from greenio.green import os as green_os
from greenio.green.builtin import open as green_open

READERS = {
    "read": lambda fd: green_os.read(fd, 9),
    "readv": lambda fd: _readv(fd),
    "fdopen": lambda fd: _file(fd, "rb").read(9),
    "open": lambda fd: green_open(fd, "rb", 0, closefd=False).read(9),
    "text": lambda fd: _file(fd, "r", 1).readline().encode(),
}


def _readv(fd):
    first, second = bytearray(2), bytearray(7)
    count = green_os.readv(fd, [first, second])
    return bytes(first + second)[:count]


def _file(fd, mode, buffering=0):
    return green_os.fdopen(fd, mode, buffering, closefd=False)


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
@pytest.mark.parametrize("name", READERS)
def test_reading_lets_others_run(hub_name, ends, name, blocking):
    reader, writer = ends
    os.set_blocking(reader, blocking)
    thread = greenio.spawn(READERS[name], reader)
    until_parked(thread)
    os.write(writer, b"some\n")
    assert thread.wait() == b"some\n"
    assert os.get_blocking(reader) is blocking


def test_reading_nothing_or_nonsense_is_no_wait(hub_name, ends):
    reader, _ = ends
    assert green_os.read(reader, 0) == b""
    for call, error in (
        (lambda: green_os.read(reader, -1), OSError),
        (
            lambda: green_os.readv(reader, [bytearray(1), b"x"]),
            (TypeError, BufferError),
        ),
    ):
        with pytest.raises(error), greenio.Timeout(5):
            call()


WRITERS = {
    "write": lambda fd, data: green_os.write(fd, data),
    "writev": lambda fd, data: green_os.writev(fd, [data[:5], data[5:]]),
    "fdopen": lambda fd, data: _file(fd, "wb").write(data),
}


@pytest.mark.parametrize("name", WRITERS)
def test_writing_lets_others_run(hub_name, ends, name):
    reader, writer = ends
    data = bytes(1 << 20)
    thread = greenio.spawn(WRITERS[name], writer, data)
    until_parked(thread, "write")
    left = len(data)
    while left:
        left -= len(green_os.read(reader, left))
    assert thread.wait() == len(data)
    assert os.get_blocking(writer)


@pytest.mark.parametrize("name", ["write", "writev"])
def test_writing_to_a_non_blocking_descriptor(hub_name, ends, name):
    reader, writer = ends
    os.set_blocking(writer, False)
    room = 0
    while True:
        try:
            room += os.write(writer, bytes(4096))
        except BlockingIOError:
            break
    thread = greenio.spawn(WRITERS[name], writer, b"some more")
    until_parked(thread, "write")
    assert len(os.read(reader, room)) == room
    assert thread.wait() == 9
    assert os.read(reader, 10) == b"some more"


def test_writing_where_nobody_waits(hub_name, ends, tmp_path):
    assert green_os.write(ends[1], b"") == 0
    with (tmp_path / "file").open("wb", 0) as file:
        assert green_os.writev(file.fileno(), [b"ab", b"cd"]) == 4
        assert green_os.write(file.fileno(), b"ef") == 2
    assert (tmp_path / "file").read_bytes() == b"abcdef"


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "green"])
def test_sendfile(hub_name, tmp_path, blocking):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1 << 20))
    left, right = socket.socketpair()
    with left, right, path.open("rb") as source:
        left.setblocking(blocking)

        def send():
            offset = 0
            while sent := green_os.sendfile(
                left.fileno(), source.fileno(), offset, 1 << 20
            ):
                offset += sent
            return offset

        thread = greenio.spawn(send)
        until_parked(thread, "write")
        received = bytearray()
        while len(received) < 1 << 20:
            received += green_os.read(right.fileno(), 1 << 16)
        assert thread.wait() == 1 << 20
        assert received == path.read_bytes()


@pytest.mark.skipif(not hasattr(os, "splice"), reason="no such call")
def test_splice(hub_name, ends):
    reader, writer = ends
    left, right = socket.socketpair()
    with left, right:
        thread = greenio.spawn(green_os.splice, reader, left.fileno(), 9)
        until_parked(thread)
        os.write(writer, b"to the socket")
        assert thread.wait() == 9
        assert right.recv(99) == b"to the so"
        assert green_os.splice(reader, left.fileno(), 9) == 4
        right.recv(99)

        thread = greenio.spawn(green_os.splice, left.fileno(), writer, 9)
        until_parked(thread)
        right.send(b"back")
        assert thread.wait() == 4
        assert os.read(reader, 9) == b"back"
        left.setblocking(False)
        nonblocking = getattr(os, "SPLICE_F_NONBLOCK", 2)
        with pytest.raises(BlockingIOError):
            green_os.splice(reader, left.fileno(), 9, flags=nonblocking)


def test_regular_files_are_what_open_makes(tmp_path):
    path = tmp_path / "file"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    with green_os.fdopen(fd, "r+") as file:
        assert type(file.buffer.raw).__module__ == "_io"
        file.write("text")
    with green_open(path, opener=green_os.open) as file:
        assert file.read() == "text"


def test_wrong_arguments(ends):
    with pytest.raises(TypeError, match="invalid fd type"):
        green_os.fdopen("name")
    with pytest.raises(OSError) as caught:
        green_os.fdopen(1 << 20)
    assert caught.value.errno == errno.EBADF
    for arguments in (("q",), ("rbt",), ("r", 0), ("rb", -1, "utf-8")):
        with pytest.raises(ValueError):
            green_os.fdopen(ends[0], *arguments, closefd=False)
    with pytest.warns(RuntimeWarning, match="line buffering") as warned:
        green_open(ends[0], "rb", 1, closefd=False).close()
    assert warned[0].filename == __file__


# -- named pipes --------------------------------------------------------------------------


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def _as_text(path, mode):
    return green_open(path, mode)


def _as_descriptor(path, mode):
    fd = green_os.open(path, os.O_RDONLY if mode == "r" else os.O_WRONLY)
    return green_os.fdopen(fd, mode)


@pytest.mark.parametrize("opened", [_as_text, _as_descriptor])
def test_both_ends_of_a_named_pipe(hub_name, fifo, opened):
    def read():
        with opened(fifo, "r") as file:
            return file.read()

    def write():
        with opened(fifo, "w") as file:
            file.write("text")

    reading = greenio.spawn(read)
    greenio.sleep(0)
    greenio.spawn(write).wait()
    assert reading.wait() == "text"


def test_opening_a_named_pipe_is_given_up(hub_name, fifo):
    greenio.sleep(0)  # the loop has its own descriptors
    process = psutil.Process()
    before = process.num_fds()
    for mode in ("r", "w"):
        with pytest.raises(greenio.Timeout), greenio.Timeout(0.01):
            green_open(fifo, mode)
        # The thread that opened it has ended, and no descriptor is left.
        until(lambda: process.num_fds() == before)


def test_opening_a_named_pipe_fails(hub_name, fifo):
    fifo.chmod(0)
    if os.getuid() == 0:
        with pytest.raises(NotADirectoryError):
            green_open(fifo / "below")
    else:
        with pytest.raises(PermissionError):
            green_open(fifo)
    fd = green_os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert stat.S_ISFIFO(os.fstat(fd).st_mode)
    os.close(fd)


def test_opening_a_named_pipe_in_an_os_thread(hub_name, fifo):
    def read():
        with green_open(fifo) as file:
            return file.read()

    writing = threading.Thread(target=lambda: fifo.write_text("text"))
    writing.start()
    assert in_thread(read) == "text"
    writing.join()


def test_a_patched_program():
    out = run("""
        import greenio; greenio.monkey_patch()
        import io, os, tempfile, threading
        assert io.open is open
        path = os.path.join(tempfile.mkdtemp(), "fifo")
        os.mkfifo(path)
        def write():
            with open(path, "w") as file:
                file.write("through a name")
        threading.Thread(target=write).start()
        with open(path) as file:
            print(file.read())
        r, w = os.pipe()
        threading.Thread(target=lambda: (os.writev(w, [b"a", b"b"]), os.close(w))).start()
        with open(r) as file:
            print(file.read())
        with os.fdopen(os.open(path, os.O_RDWR), "r+b", 0) as file:
            print(file.write(b"x"), file.read(9))
    """)
    gc.collect()
    assert out == "through a name\nab\n1 b'x'\n"
