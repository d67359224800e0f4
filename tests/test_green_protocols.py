"""Green protocol modules, with their servers in green threads of the same OS thread.

Were anything to block there, the server would never answer.
"""

from __future__ import annotations

import gc
import importlib
import pkgutil
import pstats
import smtplib as plain_smtplib
import sys
import warnings
import weakref

import pytest

import greenio
from greenio import patcher
from greenio.green import os, profile, socket

pytestmark = pytest.mark.usefixtures("hub_name")

HAS_ASYNCORE = sys.version_info < (3, 12)


@pytest.fixture
def serve():
    """Start a server of one connection that speaks in lines; return its port."""
    threads = []

    def start(greeting, answer):
        """``answer(line)`` returns the lines to send, or None to end."""
        server = socket.create_server(("127.0.0.1", 0))

        def run():
            with server:
                connection, _ = server.accept()
            with connection, connection.makefile("rwb") as file:
                lines = [greeting]
                while lines is not None:
                    file.write("".join(f"{line}\r\n" for line in lines).encode())
                    file.flush()
                    line = file.readline()
                    if not line:
                        return
                    greenio.sleep(0.001)
                    lines = answer(line.decode().rstrip())

        threads.append(greenio.spawn(run))
        return server.getsockname()[1]

    yield start
    for thread in threads:
        thread.wait()


def test_smtplib(serve):
    from greenio.green import smtplib

    received = []

    def answer(line):
        received.append(line)
        word = line.partition(" ")[0].upper()
        if word == "DATA":
            return ["354 go on"]
        if word == "EHLO":
            return ["250-here", "250 SIZE 1000"]
        if word == "QUIT":
            return ["221 bye"]
        if word in ("MAIL", "RCPT", ".") or word.startswith("RSET"):
            return ["250 well"] if "refused" not in line else ["550 no"]
        return []

    port = serve("220 ready", answer)
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        assert type(client.sock) is socket.GreenSocket
        client.sendmail("a@test", ["b@test"], "Subject: x\r\n\r\nhello\r\n")
        # One class of exceptions for both modules.
        with pytest.raises(plain_smtplib.SMTPRecipientsRefused):
            client.sendmail("a@test", ["refused@test"], "")
    assert "hello" in received
    assert received[-1].upper() == "QUIT"


def test_poplib(serve):
    from greenio.green import poplib

    answers = {
        "USER me": ["+OK"],
        "PASS secret": ["+OK"],
        "STAT": ["+OK 2 320"],
        "RETR 1": ["+OK", "Subject: x", "", "..hello", "."],
        "QUIT": ["+OK"],
    }
    port = serve("+OK ready", answers.get)
    client = poplib.POP3("127.0.0.1", port, timeout=20)
    assert type(client.sock) is socket.GreenSocket
    client.user("me")
    client.pass_("secret")
    assert client.stat() == (2, 320)
    assert client.retr(1)[1] == [b"Subject: x", b"", b".hello"]
    client.quit()


def test_imaplib(serve):
    from greenio.green import imaplib

    def answer(line):
        tag, command, *_ = line.split()
        extra = {"CAPABILITY": ["* CAPABILITY IMAP4rev1"], "LOGOUT": ["* BYE"]}
        extra["SELECT"] = ["* 3 EXISTS"]
        return [*extra.get(command.upper(), []), f"{tag} OK well"]

    port = serve("* OK ready", answer)
    with imaplib.IMAP4("127.0.0.1", port, timeout=20) as client:
        assert type(client.socket()) is socket.GreenSocket
        assert client.login("me", "secret")[0] == "OK"
        assert client.select() == ("OK", [b"3"])


def test_xmlrpc():
    from greenio.green.xmlrpc.client import Fault, ServerProxy
    from greenio.green.xmlrpc.server import SimpleXMLRPCServer

    calls = []

    def double(number):
        calls.append(number)
        # All of them are in the middle of a call at some time.
        while len(calls) < 3:
            greenio.sleep(0.001)
        return number * 2

    servers, serving = [], []
    for _ in range(3):
        server = SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False)
        server.register_function(double)
        servers.append(server)
        serving.append(greenio.spawn(server.serve_forever, 0.01))

    def call(number):
        port = servers[number].server_address[1]
        with ServerProxy(f"http://127.0.0.1:{port}") as proxy:
            result = proxy.double(number)
            with pytest.raises(Fault, match="not supported"):
                proxy.unknown()
            return result

    pile = greenio.GreenPile()
    for number in range(3):
        pile.spawn(call, number)
    assert sorted(pile) == [0, 2, 4]
    for server, thread in zip(servers, serving, strict=True):
        server.shutdown()
        thread.wait()
        server.server_close()


@pytest.mark.skipif(not HAS_ASYNCORE, reason="Python has it until 3.11")
def test_asyncore_and_asynchat():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from greenio.green import asynchat, asyncore

    class Session(asynchat.async_chat):
        def __init__(self, sock):
            super().__init__(sock)
            self.set_terminator(b"\n")
            self.line = b""

        def collect_incoming_data(self, data):
            self.line += data

        def found_terminator(self):
            self.push(self.line.upper() + b"\n")
            self.line = b""

    class Server(asyncore.dispatcher):
        def __init__(self):
            super().__init__()
            self.create_socket()
            self.bind(("127.0.0.1", 0))
            self.listen(5)

        def handle_accepted(self, sock, address):
            Session(sock)

    server = Server()
    assert type(server.socket) is socket.GreenSocket
    assert issubclass(asynchat.async_chat, asyncore.dispatcher)
    looping = greenio.spawn(asyncore.loop, 20)
    with socket.create_connection(server.socket.getsockname(), 20) as client:
        for word in (b"one\n", b"two\n"):
            client.sendall(word)
            assert client.recv(100) == word.upper()
    asyncore.close_all()
    looping.kill()


@pytest.mark.skipif(HAS_ASYNCORE, reason="Python has it until 3.11")
@pytest.mark.parametrize("name", ["asyncore", "asynchat"])
def test_not_there_any_more(name):
    with pytest.raises(ModuleNotFoundError, match=f"No module named '{name}'"):
        importlib.import_module(f"greenio.green.{name}")


# -- import_patched ---------------------------------------------------------------------


STANDARD = [
    *("ftplib", "http.client", "http.server", "imaplib", "os", "poplib", "profile"),
    *("queue", "select", "selectors", "smtplib", "socket", "socketserver", "ssl"),
    *("subprocess", "threading", "time", "urllib.request", "xmlrpc.client"),
    *("xmlrpc.server", "wsgiref.simple_server", "urllib.robotparser", "sched"),
    *("logging.handlers", "http.cookiejar", "email.message"),
]


@pytest.mark.parametrize("name", STANDARD)
def test_import_patched(name):
    module = patcher.import_patched(name)
    assert module is patcher.import_patched(name)
    assert module is not sys.modules.get(name)
    for used in ("socket", "ssl", "select", "threading"):
        value = getattr(module, used, None)
        if type(value) is type(sys):
            assert value.__name__ == f"greenio.green.{used}"


@pytest.mark.parametrize("name", ["http", "urllib", "xmlrpc"])
def test_packages_are_complete(name):
    package = importlib.import_module(name)
    for _, child, _ in pkgutil.iter_modules(package.__path__):
        green = importlib.import_module(f"greenio.green.{name}.{child}")
        assert patcher.import_patched(f"{name}.{child}") is green


def test_a_package_that_imports_them(tmp_path, monkeypatch):
    (tmp_path / "mailer.py").write_text(
        "import smtplib, poplib, imaplib, xmlrpc.client, http.cookiejar\n"
        "from xmlrpc import server\n"
        "def late():\n"
        "    from xmlrpc.client import ServerProxy\n"
        "    return ServerProxy\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    mailer = patcher.import_patched("mailer")
    for name in ("smtplib", "poplib", "imaplib", "server"):
        module = getattr(mailer, name)
        assert module.__name__.startswith("greenio.green.")
    assert mailer.xmlrpc.client.__name__ == "greenio.green.xmlrpc.client"
    assert mailer.late() is mailer.xmlrpc.client.ServerProxy
    # It never waits, so there is one for all.
    assert mailer.http.cookiejar.CookieJar is sys.modules["http.cookiejar"].CookieJar


# -- profile ----------------------------------------------------------------------------


def leaf():
    return sum(range(10))


def work(rounds):
    for _ in range(rounds):
        leaf()
        greenio.sleep(0)


def nest(depth):
    greenio.sleep(0)
    if depth:
        nest(depth - 1)
    leaf()


def main():
    threads = [greenio.spawn(work, rounds) for rounds in (1, 2, 3)]
    threads.append(greenio.spawn(nest, 4))
    for thread in threads:
        thread.wait()


class Seconds:
    """A clock that counts how often it is looked at."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1
        return self.now


def counts(profiler):
    """By a function's name: its calls that are not recursive, and all of them."""
    profiler.create_stats()
    return {name: entry[:2] for (_, _, name), entry in profiler.stats.items()}


def check(counted, extra=0):
    assert counted["leaf"] == (11 + extra, 11 + extra)
    assert counted["work"] == (3, 3)
    assert counted["nest"] == (1, 5)
    assert counted["main"] == (1, 1)


def test_profile():
    profiler = profile.Profile()
    profiler.runcall(main)
    check(counts(profiler))


def test_profile_in_a_green_thread():
    profiler = profile.Profile()
    assert greenio.spawn(profiler.runcall, work, 2).wait() is None
    counted = counts(profiler)
    assert counted["work"] == (1, 1)
    assert counted["leaf"] == (2, 2)


def test_profile_from_the_middle():
    """Calls that began before are not counted; what they call from then on is."""
    gate = greenio.event.Event()

    def waits():
        leaf()
        gate.wait()
        leaf()

    waiting = greenio.spawn(waits)
    never = greenio.spawn(greenio.sleep, 1000)
    greenio.sleep(0)
    profiler = profile.Profile()
    profiler.start()
    gate.send()
    waiting.wait()
    main()
    never_too = greenio.spawn(work, 1000)
    greenio.sleep(0)
    profiler.stop()
    never.kill()
    never_too.kill()
    counted = counts(profiler)
    assert "waits" not in counted
    # Of the one that waits until the end, as much as there was.
    assert counted.pop("work") == (4, 4)
    check({**counted, "work": (3, 3)}, extra=2)


def test_profile_charges_nobody_for_the_time_of_others():
    profiler = profile.Profile(Seconds(), bias=0)
    waiting = greenio.event.Event()

    def busy():
        for _ in range(1000):
            leaf()
        waiting.send()

    def idle():
        greenio.spawn(busy)
        waiting.wait()

    profiler.runcall(idle)
    profiler.create_stats()
    total = {name: entry[3] for (_, _, name), entry in profiler.stats.items()}
    assert total["busy"] >= 1000
    assert total["idle"] < total["busy"] / 2


class Node:
    def __init__(self):
        self.itself = self


def test_profile_with_garbage_to_collect():
    """Its finalizers run at moments when the profiler does not expect a call."""
    finalized = []

    def outer():
        for _ in range(3000):
            weakref.finalize(Node(), finalized.append, None)
            nest(0)

    thresholds = gc.get_threshold()
    gc.set_threshold(7)
    profiler = profile.Profile()
    try:
        greenio.spawn(profiler.runcall, outer).wait()
    finally:
        gc.set_threshold(*thresholds)
    assert finalized
    counted = counts(profiler)
    assert counted["outer"] == (1, 1)
    assert counted["nest"] == counted["leaf"] == (3000, 3000)


def test_profile_run(capsys, tmp_path):
    file = tmp_path / "stats"
    profile.runctx("main()", globals(), {}, str(file))
    stats = pstats.Stats(str(file)).stats
    check({name: entry[:2] for (_, _, name), entry in stats.items()})
    profile.run("1 + 1")
    assert "function calls" in capsys.readouterr().out
    assert os.path.exists(file)
