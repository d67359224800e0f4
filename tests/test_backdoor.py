"""`greenio.backdoor`: a console in a running program."""

from __future__ import annotations

import contextlib
import io
import socket
import sys
import warnings

import pytest

import greenio
from _fresh import run
from _sockets import PLACES, reset, run_in
from _support import until
from greenio import backdoor, spawn
from greenio._debug.backdoor import _Stream, _streams
from greenio._net.socket import GreenSocket

PROMPT = ">>> "


class Client:
    """Somebody at the console."""

    def __init__(self, listener):
        self.sock = GreenSocket(listener.family)
        self.sock.settimeout(20)
        self.sock.connect(listener.getsockname())
        self.banner = self.read()

    def read(self, end=PROMPT):
        text = ""
        while not text.endswith(end):
            data = self.sock.recv(4096)
            if not data:
                return text + "<end>"
            text += data.decode()
        return text.removesuffix(end)

    def __call__(self, line, end=PROMPT):
        self.sock.sendall(line.encode() + b"\n")
        return self.read(end)

    def close(self):
        self.sock.close()


@contextlib.contextmanager
def serving(names=None, family=socket.AF_INET):
    listener = GreenSocket(family)
    listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else "")
    listener.listen(16)
    server = spawn(backdoor.backdoor_server, listener, names)
    clients = []

    def connect():
        clients.append(Client(listener))
        return clients[-1]

    try:
        yield connect
    finally:
        for client in clients:
            client.close()
        server.kill()
        assert listener.fileno() == -1
        until(lambda: not _streams._consoles)


@pytest.mark.parametrize("place", PLACES)
def test_a_console(hub_name, loop_factory, place):
    def talk():
        with serving({"answer": 42}) as connect:
            client = connect()
            assert client.banner.startswith(f"Python {sys.version}")
            assert client("answer") == "42\n"
            assert client("_ + 1") == "43\n"
            assert client("print('hi')") == "hi\n"
            assert "SyntaxError" in client("answer +")
            assert client("def double(n):", "... ") == ""
            assert client("    return 2 * n", "... ") == ""
            assert client("") == ""
            assert client("double(answer)\r") == "84\n"
            assert client("'é' * 2") == "'éé'\n"

    run_in(place, loop_factory, talk)


def test_await_works_at_the_prompt(hub_name):
    with serving() as connect:
        client = connect()
        assert client("import asyncio") == ""
        assert client("await asyncio.sleep(0, 'slept')") == "'slept'\n"
        assert (
            client("loop = asyncio.get_running_loop(); loop.is_running()") == "True\n"
        )
        assert client("async def five(): return 5", "... ") == ""
        assert client("") == ""
        assert client("n = await five()") == ""
        assert client("n") == "5\n"
        assert client("async with asyncio.Lock() as lock: print('in')", "... ") == ""
        assert client("") == "in\n"
        # Blocking calls too: it is a green thread.
        assert client("import greenio; greenio.sleep(0)") == ""


def test_run_info_at_the_prompt(hub_name):
    with serving() as connect:
        shown = connect()("run_info()")
        assert "<Hub owned" in shown
        assert "green thread of backdoor_server" in shown


def test_errors_are_shown_without_our_frames(hub_name):
    with serving() as connect:
        client = connect()
        shown = client("raise ValueError('mine')")
        assert shown == (
            "Traceback (most recent call last):\n"
            '  File "<backdoor>", line 1, in <module>\n'
            "ValueError: mine\n"
        )
        assert "Timeout" in client("import greenio; raise greenio.Timeout()")
        assert "KeyboardInterrupt" in client("raise KeyboardInterrupt")
        assert client("1") == "1\n"


def test_the_loop_is_not_blocked_by_who_types(hub_name):
    with serving() as connect:
        first, second = connect(), connect()
        first.sock.sendall(b"input('name? ')\n")
        assert first.read("name? ") == ""
        assert second("1 + 1") == "2\n"
        first.sock.sendall(b"Ada\n")
        assert first.read() == "'Ada'\n"


def test_output_goes_to_who_asked_for_it(hub_name, capsys):
    """Also that of green threads and tasks started at a prompt, and no other's."""
    names = {}
    with serving(names) as connect:
        first, second = connect(), connect()
        assert first("import greenio, sys") == ""
        assert first("def say(): greenio.sleep(0); print('later')", "... ") == ""
        assert first("") == ""
        assert first("greenio.spawn(say).wait()") == "later\n"
        assert second("print('second')") == "second\n"
        assert first("sys.stderr.write('oops\\n')") == "oops\n5\n"
        assert first("sys.stdout.isatty()") == "True\n"
        print("the program's")
    printed = capsys.readouterr().out
    assert "the program's" in printed
    assert "later" not in printed
    assert type(sys.stdout) is not _Stream


@pytest.mark.parametrize("leave", ["exit()", "raise SystemExit", "quit()"])
def test_leaving(hub_name, leave, capsys):
    with serving() as connect:
        client = connect()
        assert client(leave).endswith("<end>")
        # The program goes on, and lets the next one in.
        assert connect()("1") == "1\n"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("backdoor server listening on 127.0.0.1:")
    assert lines[1].startswith("backdoor to 127.0.0.1:")
    assert sum(line.startswith("backdoor closed to 127") for line in lines) == 2


def test_lines_that_come_together_are_all_read(hub_name):
    with serving() as connect:
        client = connect()
        client.sock.sendall(b"1\n2\n3\nexit()\n")
        assert client.read("<end>") == "1\n>>> 2\n>>> 3\n>>> <end>"


def test_the_client_goes_away_in_the_middle(hub_name):
    with serving() as connect:
        client = connect()
        client.sock.sendall(b"for n in range(100000): print('x' * 1000)\n\n")
        client.sock.recv(10)
        reset(client.sock)
        until(lambda: not _streams._consoles)
        assert connect()("1") == "1\n"


def test_a_console_is_killed(hub_name):
    consoles = []
    names = {"note": lambda: consoles.append(greenio.getcurrent())}
    with serving(names) as connect:
        client = connect()
        client("note()")
        assert isinstance(consoles[0], backdoor.SocketConsole)
        consoles[0].kill()
        assert client.read().endswith("<end>")


def test_a_killed_console_ends_in_the_middle_of_a_call(hub_name):
    consoles = []
    names = {"note": lambda: consoles.append(greenio.getcurrent())}
    with serving(names) as connect:
        client = connect()
        client.sock.sendall(b"note(); import greenio; greenio.sleep(1000)\n")
        until(lambda: consoles)
        consoles[0].kill()
        assert client.read().endswith("<end>")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets")
def test_on_a_unix_socket(hub_name):
    with serving({"n": 1}, socket.AF_UNIX) as connect:
        assert connect()("n") == "1\n"


def test_a_port_that_others_reach_is_warned_about(hub_name):
    listener = greenio.listen(("0.0.0.0", 0))
    server = spawn(backdoor.backdoor_server, listener)
    with pytest.warns(backdoor.BackdoorWarning, match=r"0\.0\.0\.0.*Unix socket"):
        greenio.sleep(0)
    server.kill()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        listener = greenio.listen(("127.0.0.1", 0))
        server = spawn(backdoor.backdoor_server, listener)
        greenio.sleep(0)
        assert not server.dead
        server.kill()


def test_one_connection_without_a_server(hub_name):
    ours, theirs = socket.socketpair()
    backdoor.backdoor((GreenSocket(fileno=ours.detach()), ("", 0)), {"n": 3})
    client = Client.__new__(Client)
    client.sock = GreenSocket(fileno=theirs.detach())
    client.read()
    assert client("n") == "3\n"
    client.close()
    until(lambda: not _streams._consoles)


def test_bad_arguments():
    with pytest.raises(TypeError, match="locals is a dict"):
        backdoor.backdoor_server(None, [1])
    with pytest.raises(TypeError, match="locals is a dict"):
        backdoor.backdoor((None, None), "x")
    for wrong in (None, "x", 5):
        with pytest.raises(TypeError, match="takes a listening socket"):
            backdoor.backdoor_server(wrong)
        with pytest.raises(TypeError, match=r"takes what sock.accept\(\) returns"):
            backdoor.backdoor(wrong)
    with pytest.raises(TypeError, match="a socket and an address, not"):
        backdoor.backdoor((None, None))


def test_in_a_patched_program(loop):
    run(
        """
        import greenio; greenio.monkey_patch()
        import socket, threading
        from greenio import backdoor
        listener = socket.create_server(("127.0.0.1", 0))
        server = greenio.spawn(backdoor.backdoor_server, listener, {"n": 7})
        client = socket.create_connection(listener.getsockname())
        reader = client.makefile("rb")
        client.sendall(b"import asyncio\\nawait asyncio.sleep(0, n)\\nexit()\\n")
        assert b"\\n>>> >>> 7\\n" in reader.read()
        reader.close()
        client.close()
        server.kill()
        """,
        hub=loop,
    )


def test_the_file_of_a_console():
    file = io.StringIO("one\r\ntwo\nthree")
    assert list(backdoor.FileProxy(file)) == ["one\n", "two\n", "three"]
    written = io.StringIO()
    console = backdoor.FileProxy(written)
    console.writelines(["four\n", "five"])
    assert console.getvalue() == "four\nfive"
    assert console.isatty()
