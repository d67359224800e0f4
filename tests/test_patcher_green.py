"""The green modules one by one: what waits there parks the green thread."""

from __future__ import annotations

import importlib
import os as plain_os
import select as plain_select
import signal
import socket as plain_socket
import subprocess as plain_subprocess
import sys
import time as plain_time
import types

import pytest

import greenio
from _fresh import python
from _sockets import until_parked
from _support import settle, until
from greenio import patcher
from greenio.green import os, queue, select, selectors, subprocess, threading, time

pytestmark = pytest.mark.usefixtures("hub_name")

# How long something lasts that must not stop the others.
A_WHILE = 0.05


@pytest.fixture
def pipe():
    reader, writer = plain_os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            plain_os.close(fd)
        except OSError:
            pass


MODULES = [
    *("BaseHTTPServer", "CGIHTTPServer", "Queue", "SimpleHTTPServer", "SocketServer"),
    *("builtin", "ftplib", "http", "http.client", "http.cookiejar", "http.cookies"),
    *("http.server", "httplib", "os", "queue", "select", "selectors", "socket"),
    *("socketserver", "ssl", "subprocess", "thread", "threading", "time", "urllib"),
    *("urllib.error", "urllib.parse", "urllib.request", "urllib.response"),
    *("imaplib", "poplib", "profile", "smtplib", "xmlrpc", "xmlrpc.client"),
    *("urllib.robotparser", "xmlrpc.server"),
]


@pytest.mark.parametrize("name", MODULES)
def test_it_has_the_names_of_its_standard_module(name):
    standard_name = {
        "builtin": "builtins",
        "thread": "_thread",
        "Queue": "queue",
        "httplib": "http.client",
        "SocketServer": "socketserver",
        "BaseHTTPServer": "http.server",
        "CGIHTTPServer": "http.server",
        "SimpleHTTPServer": "http.server",
    }.get(name, name)
    green = importlib.import_module(f"greenio.green.{name}")
    standard = importlib.import_module(standard_name)
    names = getattr(standard, "__all__", None) or [
        name for name in vars(standard) if not name.startswith("_")
    ]
    if standard_name == "select":
        names = [
            name for name in names if "kqueue" not in name and "kevent" not in name
        ]
    missing = [name for name in names if not hasattr(green, name)]
    assert not missing
    assert green.__name__ == f"greenio.green.{name}"
    assert green.__spec__.name == green.__name__


def test_patched_names_are_told():
    assert time.__patched__ == ["sleep"]
    assert "socket" in importlib.import_module("greenio.green.socket").__patched__
    assert importlib.import_module("greenio.green.http.client").__patched__ == []


# -- time -------------------------------------------------------------------------------


def test_sleep(ticker):
    started = plain_time.monotonic()
    time.sleep(A_WHILE)
    assert plain_time.monotonic() - started >= A_WHILE * 0.9


@pytest.mark.parametrize("seconds", [-1, "1", None])
def test_sleep_of_nonsense(seconds):
    with pytest.raises((TypeError, ValueError)):
        time.sleep(seconds)


# -- os ---------------------------------------------------------------------------------


def test_read_and_write(ticker, pipe):
    reader, writer = pipe
    greenio.spawn_after(A_WHILE, os.write, writer, b"later")
    assert os.read(reader, 100) == b"later"
    # Its flags are the user's.
    assert plain_os.get_blocking(reader)
    assert plain_os.get_blocking(writer)


def test_write_more_than_fits(ticker, pipe):
    reader, writer = pipe
    data = bytes(range(256)) * 1000
    received = bytearray()

    def consume():
        greenio.sleep(A_WHILE)
        while len(received) < len(data):
            received.extend(os.read(reader, 8192))

    consumer = greenio.spawn(consume)
    # As without greenio, a blocking descriptor takes all of it.
    assert os.write(writer, data) == len(data)
    consumer.wait()
    assert bytes(received) == data


def test_a_descriptor_that_is_not_blocking_is_waited_for(ticker, pipe):
    reader, writer = pipe
    plain_os.set_blocking(reader, False)
    greenio.spawn_after(A_WHILE, os.write, writer, b"later")
    assert os.read(reader, 100) == b"later"
    assert not plain_os.get_blocking(reader)


def test_the_end_of_a_pipe(pipe):
    reader, writer = pipe
    greenio.spawn_after(0.01, plain_os.close, writer)
    assert os.read(reader, 10) == b""


def test_a_broken_pipe(pipe):
    reader, writer = pipe
    plain_os.close(reader)
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")


def test_regular_files_and_bad_descriptors(tmp_path):
    path = tmp_path / "file"
    fd = plain_os.open(path, plain_os.O_RDWR | plain_os.O_CREAT)
    assert os.write(fd, b"content") == 7
    plain_os.lseek(fd, 0, plain_os.SEEK_SET)
    assert os.read(fd, 100) == b"content"
    assert os.read(fd, 100) == b""
    os.close(fd)
    for call in (lambda: os.read(fd, 1), lambda: os.write(fd, b"x")):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(fd)


def test_closing_wakes_who_waits(pipe):
    reader, _writer = pipe
    waiting = greenio.spawn(os.read, reader, 1)
    until_parked(waiting)
    os.close(reader)
    with pytest.raises(OSError, match="Bad file descriptor"):
        waiting.wait()


def child(seconds=A_WHILE, status=7):
    return plain_subprocess.Popen(
        [
            sys.executable,
            "-Sc",
            f"import time; time.sleep({seconds}); raise SystemExit({status})",
        ]
    )


@pytest.mark.parametrize("how", ["waitpid", "wait", "options"])
def test_waiting_for_a_child(ticker, how):
    process = child()
    if how == "waitpid":
        pid, status = os.waitpid(process.pid, 0)
    elif how == "wait":
        pid, status = os.wait()
    else:
        pid, status = os.waitpid(process.pid, plain_os.WUNTRACED)
    assert pid == process.pid
    assert plain_os.waitstatus_to_exitcode(status) == 7
    process.returncode = 7
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, 0)


def test_not_waiting_for_a_child():
    process = child(30)
    assert os.waitpid(process.pid, plain_os.WNOHANG) == (0, 0)
    process.kill()
    assert process.wait() == -signal.SIGKILL


# -- select -----------------------------------------------------------------------------


def test_select(ticker, pipe):
    reader, writer = pipe
    assert select.select([reader], [], [], 0) == ([], [], [])
    assert select.select([], [writer], [], None) == ([], [writer], [])
    assert select.select([reader], [], [], 0.01) == ([], [], [])
    greenio.spawn_after(A_WHILE, plain_os.write, writer, b"x")
    assert select.select([reader], [], [reader]) == ([reader], [], [])
    # Any iterable, and what has a fileno.
    left, right = plain_socket.socketpair()
    with left, right:
        greenio.spawn_after(0.01, right.send, b"x")
        assert select.select(iter([left]), (), {left}) == ([left], [], [])
        # Two at once.
        assert select.select([left, reader], [], [], 1) == ([left, reader], [], [])


def test_select_as_a_sleep(ticker):
    assert select.select([], [], [], A_WHILE) == ([], [], [])


def test_several_wait_for_one_descriptor(pipe):
    reader, writer = pipe
    waiting = [greenio.spawn(select.select, [reader], [], [], 5) for _ in range(3)]
    reading = greenio.spawn(os.read, reader, 1)
    for thread in (*waiting, reading):
        until(lambda thread=thread: thread.gr_frame is not None)
    settle()
    assert not any(thread.dead for thread in (*waiting, reading))
    plain_os.write(writer, b"ab")
    assert [thread.wait()[0] for thread in waiting] == [[reader]] * 3
    assert reading.wait() == b"a"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (([], [], [], -1), ValueError),
        (([], [], [], "soon"), TypeError),
        ((["x"], [], []), TypeError),
        (([-1], [], [], 1), ValueError),
        ((1, [], []), TypeError),
    ],
)
def test_select_of_nonsense(arguments, error):
    with pytest.raises(error):
        select.select(*arguments)


def test_select_on_a_closed_descriptor(pipe):
    reader, _writer = pipe
    plain_os.close(reader)
    with pytest.raises(OSError, match="Bad file descriptor"):
        select.select([reader], [], [], 1)


def test_select_on_large_numbers(pipe):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2100:
        pytest.skip("too few descriptors allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2100), hard))
    reader, writer = pipe
    high = 2050
    plain_os.dup2(reader, high)
    try:
        assert select.select([high], [writer], [], 1) == ([], [writer], [])
        greenio.spawn_after(0.01, plain_os.write, writer, b"x")
        assert select.select([high], [], []) == ([high], [], [])
    finally:
        plain_os.close(high)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_poll(ticker, pipe):
    reader, writer = pipe
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    assert poller.poll(0) == []
    assert poller.poll(10) == []
    greenio.spawn_after(A_WHILE, plain_os.write, writer, b"x")
    assert poller.poll() == [(reader, select.POLLIN)]
    poller.modify(reader, select.POLLPRI)
    assert poller.poll(1) == []
    poller.unregister(reader)
    with pytest.raises(KeyError):
        poller.unregister(reader)
    poller.register(writer)
    assert poller.poll(-1) == [(writer, select.POLLOUT)]
    plain_os.close(reader)
    assert poller.poll(None)[0][1] & select.POLLERR


@pytest.mark.skipif(not hasattr(plain_select, "epoll"), reason="no epoll here")
def test_epoll(ticker, pipe):
    reader, writer = pipe
    with select.epoll() as poller:
        poller.register(reader, select.EPOLLIN)
        assert poller.poll(0) == []
        assert poller.poll(0.01) == []
        greenio.spawn_after(A_WHILE, plain_os.write, writer, b"x")
        assert poller.poll() == [(reader, select.EPOLLIN)]
        again = select.epoll.fromfd(plain_os.dup(poller.fileno()))
        assert again.poll(1, maxevents=1) == [(reader, select.EPOLLIN)]
        again.close()
        assert again.closed
        poller.modify(reader, select.EPOLLPRI)
        assert poller.poll(0.001) == []
        poller.unregister(reader)
    with pytest.raises(ValueError, match="closed"):
        poller.poll()


@pytest.mark.parametrize("kind", ["SelectSelector", "PollSelector", "EpollSelector"])
def test_waiting_for_what_is_ready_lets_others_run(pipe, kind):
    """`multiprocessing.Pool` goes round like this until its other thread has read."""
    if not hasattr(selectors, kind):
        pytest.skip("not on this system")
    reader, writer = pipe
    plain_os.write(writer, b"x")
    reading = greenio.spawn(plain_os.read, reader, 1)
    with getattr(selectors, kind)() as selector:
        selector.register(reader, selectors.EVENT_READ)
        for _ in range(10):
            if not selector.select(0.001):
                break
        assert reading.dead
        assert selector.select(0) == []


@pytest.mark.parametrize(
    "kind", ["DefaultSelector", "SelectSelector", "PollSelector", "EpollSelector"]
)
def test_selectors(kind, ticker):
    left, right = plain_socket.socketpair()
    with left, right, getattr(selectors, kind)() as selector:
        selector.register(left, selectors.EVENT_READ, "data")
        assert selector.select(0.001) == []
        greenio.spawn_after(A_WHILE, right.send, b"x")
        ((key, events),) = selector.select()
        assert (key.data, events) == ("data", selectors.EVENT_READ)


# -- subprocess -------------------------------------------------------------------------

ECHO = "import sys, time; time.sleep(0.05); print(sys.stdin.read().upper(), end='')"


def test_run(ticker):
    done = subprocess.run(
        [sys.executable, "-Sc", ECHO],
        input="text",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "TEXT"


def test_pipes(ticker):
    with subprocess.Popen(
        [sys.executable, "-Sc", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdin.write(b"through ")
        process.stdin.write(b"pipes")
        process.stdin.close()
        assert process.stdout.read(3) == b"THR"
        assert process.stdout.readline() == b"OUGH PIPES"
    assert process.returncode == 0


@pytest.mark.parametrize("mode", ["lines", "unbuffered", "text"])
def test_reading_as_it_comes(ticker, mode):
    program = "import time\nfor n in range(3): print(n, flush=True); time.sleep(0.02)"
    with subprocess.Popen(
        [sys.executable, "-Sc", program],
        stdout=subprocess.PIPE,
        bufsize=0 if mode == "unbuffered" else -1,
        text=mode == "text",
    ) as process:
        lines = list(process.stdout)
    expected = ["0\n", "1\n", "2\n"]
    assert lines == (expected if mode == "text" else [x.encode() for x in expected])


def test_much_in_both_directions(ticker):
    data = b"0123456789" * 30_000
    program = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    process = subprocess.Popen(
        [sys.executable, "-Sc", f"import time; time.sleep({A_WHILE}); {program}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.communicate(data) == (data, b"")
    assert process.returncode == 0


def test_waiting_with_a_time_limit(ticker):
    process = subprocess.Popen([sys.executable, "-Sc", "import time; time.sleep(60)"])
    with pytest.raises(plain_subprocess.TimeoutExpired) as caught:
        process.wait(A_WHILE)
    assert caught.value.timeout == A_WHILE
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM
    assert process.wait(0) == -signal.SIGTERM


def test_other_calls(ticker):
    quick = [sys.executable, "-Sc", f"import time; time.sleep({A_WHILE}); print('x')"]
    assert subprocess.check_output(quick) == b"x\n"
    assert subprocess.getoutput("echo there") == "there"
    assert subprocess.call([sys.executable, "-Sc", "raise SystemExit(3)"]) == 3
    with pytest.raises(plain_subprocess.CalledProcessError):
        subprocess.check_call([sys.executable, "-Sc", "raise SystemExit(3)"])
    with pytest.raises(FileNotFoundError):
        subprocess.run(["/no/such/program"], check=False)


# -- builtins ---------------------------------------------------------------------------


def test_open_of_a_descriptor(ticker, pipe):
    from greenio.green.builtin import open as green_open

    reader, writer = pipe

    def write():
        greenio.sleep(A_WHILE)
        with green_open(writer, "w", closefd=False) as file:
            file.write("one\ntwo\n")

    writing = greenio.spawn(write)
    with green_open(reader, closefd=False) as file:
        assert file.readline() == "one\n"
        assert file.readline() == "two\n"
    writing.wait()
    with pytest.raises(ValueError, match="unbuffered"):
        green_open(reader, "r", 0)
    raw = green_open(reader, "rb", 0, closefd=False)
    with pytest.raises(OSError, match="for writing"):
        raw.write(b"x")
    plain_os.write(writer, b"xyz")
    assert raw.read(2) == b"xy"
    buffer = bytearray(5)
    assert raw.readinto(buffer) == 1
    raw.close()


def test_open_of_a_file(tmp_path):
    from greenio.green.builtin import open as green_open

    path = tmp_path / "file"
    with green_open(path, "w") as file:
        file.write("text")
    with green_open(path, "rb") as file:
        assert file.read() == b"text"


# -- servers ----------------------------------------------------------------------------


def test_an_http_server_and_its_clients(ticker):
    from greenio.green.http import server
    from greenio.green.urllib.request import urlopen

    class Handler(server.BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(A_WHILE)
            body = self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    class Server(server.ThreadingHTTPServer):
        request_queue_size = 50

    def fetch(number):
        with urlopen(f"{address}/{number}", timeout=20) as response:
            return response.read()

    with Server(("127.0.0.1", 0), Handler) as httpd:
        address = f"http://127.0.0.1:{httpd.server_address[1]}"
        serving = greenio.spawn(httpd.serve_forever, 0.01)
        started = plain_time.monotonic()
        fetching = [greenio.spawn(fetch, number) for number in range(20)]
        assert [thread.wait() for thread in fetching] == [
            f"/{number}".encode() for number in range(20)
        ]
        assert plain_time.monotonic() - started < 20 * A_WHILE
        httpd.shutdown()
        serving.wait()


def test_create_server_makes_green_sockets():
    from greenio.green import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert type(server) is socket.GreenSocket
        accepting = greenio.spawn(server.accept)
        with socket.create_connection(server.getsockname(), 5) as client:
            connection, address = accepting.wait()
            assert address == client.getsockname()
            connection.close()


def test_green_modules_live_in_a_world_of_their_own():
    urllib_request = importlib.import_module("greenio.green.urllib.request")
    assert urllib_request.socket.__name__ == "greenio.green.socket"
    assert urllib_request.http.client.__name__ == "greenio.green.http.client"
    assert urllib_request.os.__name__ == "greenio.green.os"
    assert queue.threading is threading
    assert isinstance(patcher.original("socket"), types.ModuleType)


SUBMODULES = """
import importlib

from greenio._patch.plans import GREEN

submodules = [name for name in GREEN if "." in name]
for name in submodules:
    # The package has it as an attribute from now on, and so would a copy of its names.
    importlib.import_module(name)
for name in submodules:
    package, _, attribute = name.rpartition(".")
    namespace = {}
    exec(f"from greenio.green.{package} import {attribute} as module", namespace)
    assert namespace["module"].__name__ == f"greenio.green.{name}", name
print(len(submodules))
"""


def test_submodules_are_green_whoever_has_imported_the_standard_ones():
    done = python("-c", SUBMODULES)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 8


def test_poll_of_nonsense(pipe):
    reader, _ = pipe
    poller = select.poll()
    with pytest.raises(OverflowError):
        poller.poll(2**31)
    poller.register(reader, select.POLLIN)
    thread = greenio.spawn(poller.poll)
    settle()
    with pytest.raises(RuntimeError, match="concurrent poll"):
        poller.poll()
    thread.kill()


def test_polling_a_file_beside_a_pipe(pipe, tmp_path):
    """A file is ready always, so it keeps nobody who asks for nothing of it."""
    reader, _ = pipe
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    with (tmp_path / "file").open("wb") as file:
        poller.register(file, 0)
        assert poller.poll(1) == []
