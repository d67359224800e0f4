"""Every example, run as its readers run it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from _fresh import PATIENCE, Interrupted, environment, python, until_it_waits

EXAMPLES = Path(__file__).parent.parent / "examples"
STYLE = EXAMPLES / "eventlet_style"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAMPLES.exists(), reason="no examples here"),
]


def example(path, *arguments, hub):
    done = python(str(path), *arguments, hub=hub)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def under_greenio(path, *arguments, hub):
    # eventlet's users leave it to the collector to close their sockets.
    done = python(
        *("-W", "ignore::ResourceWarning", "-m", "greenio", "--hub", hub),
        *(str(path), *arguments),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_all_are_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "crawler.py",
        "echo_server.py",
        "mixed.py",
        "pile.py",
        # By test_browser.
        "webapp.py",
    }
    assert {path.name for path in STYLE.glob("*.py")} == {
        "crawler.py",
        "echo_server.py",
        "pile.py",
        # By test_examples_servers.
        "chat_server.py",
        "websocket_chat.py",
        "wsgi.py",
    }
    for path in STYLE.glob("*.py"):
        assert re.search(r"^import eventlet$", path.read_text(), re.MULTILINE)
        assert "import greenio" not in path.read_text()


def test_crawler(hub_name):
    out = example(EXAMPLES / "crawler.py", "--pages", "100", hub=hub_name)
    *pages, summary = out.splitlines()
    assert len(pages) == 100
    assert all(re.fullmatch(r" +\d+  http://127.0.0.1:\d+/\d+", line) for line in pages)
    wall, total = map(float, re.findall(r"([\d.]+) s\b", summary))
    # A hundred pages of 0.2 to 0.5 seconds, all of them at once.
    assert 30 < total < 40
    assert wall < total / 5, summary


def test_the_crawler_shows_a_bar_on_a_terminal(hub_name):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-W", "error", str(EXAMPLES / "crawler.py")]
    with subprocess.Popen(
        [*command, "--pages", "5"], stdout=theirs, env=environment(hub_name)
    ) as process:
        os.close(theirs)
        shown = b""
        # At the end Linux says EIO.
        with contextlib.suppress(OSError):
            while more := os.read(ours, 4096):
                shown += more
    os.close(ours)
    assert process.returncode == 0
    assert f"[{'#' * 16}{'.' * 24}] 2 of 5\r\x1b[K".encode() in shown
    assert shown.decode().splitlines()[-1].startswith("\x1b[K5 pages in ")


def test_the_command_of_the_readme(hub_name):
    """The example itself under the runner: everything else is patched then."""
    done = python(
        *("-m", "greenio", "--hub", hub_name),
        *(str(EXAMPLES / "crawler.py"), "--pages", "40"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("40 pages in ")


def test_crawler_of_given_addresses(hub_name):
    pages = [f"http://127.0.0.1:{port}/" for port in closed_ports(3)]
    out = example(EXAMPLES / "crawler.py", *pages, hub=hub_name)
    *lines, summary = out.splitlines()
    assert len(lines) == 3
    assert all("failed" in line and "refused" in line for line in lines)
    assert summary.startswith("3 pages in ")


def test_pile(hub_name):
    lines = example(EXAMPLES / "pile.py", hub=hub_name).splitlines()
    assert len(lines) == 5
    failed = [line for line in lines if "failed" in line]
    assert len(failed) == 1
    assert "refused" in failed[0]
    assert lines.index(failed[0]) == 2
    assert all(line.endswith(": 200, 20 bytes") for line in lines if line != failed[0])


def test_mixed():
    out = example(EXAMPLES / "mixed.py", "0.1", hub=None)
    assert "20 readings in all" not in out.splitlines()[0]
    assert out.splitlines()[-1] == "20 readings in all"
    assert ("uvloop.Loop" in out) == ("uvloop is not installed" not in out)
    green, coroutine = (
        int(re.search(rf"the {who} took (\d+) readings", out)[1])
        for who in ("green thread", "coroutine")
    )
    assert green + coroutine == 20


def test_mixed_without_uvloop(tmp_path):
    (tmp_path / "uvloop.py").write_text("raise ImportError('not installed')\n")
    paths = f"{tmp_path}:{environment()['PYTHONPATH']}"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "mixed.py"), "0.1"],
        env={**environment(), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout.startswith(
        "uvloop is not installed; running on the standard loop"
    )
    assert done.stdout.endswith("20 readings in all\n")
    assert done.stderr == ""


def test_eventlet_crawler(hub_name):
    out = under_greenio(STYLE / "crawler.py", hub=hub_name)
    *pages, summary = out.splitlines()
    assert len(pages) == 200
    assert all(line.startswith("got ") for line in pages)
    # Two hundred pages of 0.2 to 0.5 seconds.
    assert float(re.search(r"200 pages in ([\d.]+) seconds", summary)[1]) < 15


def test_eventlet_pile(hub_name):
    lines = under_greenio(STYLE / "pile.py", hub=hub_name).splitlines()
    assert len(lines) == 4
    assert "failed: [Errno" in lines[1]
    assert [line.endswith(" 6 bytes") for line in lines] == [True, False, True, True]


def closed_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def talk_to(port):
    """Three clients at once, each with its own lines."""
    clients = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(3)]
    try:
        for line in ("hello from {}\n", "and bye\n"):
            for number, client in enumerate(clients):
                client.sendall(line.format(number).encode())
            for number, client in enumerate(clients):
                with client.makefile() as stream:
                    assert stream.readline() == line.format(number)
    finally:
        for client in clients:
            client.close()


class Server:
    """A running server, its port, and how it ends when it is interrupted."""

    def __init__(self, *arguments, hub):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", *arguments],
            env=environment(hub),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        match = re.search(r"(\d+)$", line)
        assert match, line + self.process.stderr.read()
        self.port = int(match[1])

    def read_until(self, text, times):
        """Read lines until that many of them have a text in them."""
        seen = ""
        while seen.count(text) < times:
            line = self.process.stdout.readline()
            assert line, f"it ended too early: {seen}"
            seen += line
        until_it_waits(self.process)
        return seen

    def interrupt(self):
        self.process.send_signal(2)
        self.stdout, self.stderr = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def server():
    servers = []

    def start(*arguments, hub):
        servers.append(Server(*arguments, hub=hub))
        return servers[-1]

    yield start
    for running in servers:
        running.kill()


def test_echo_server(server, hub_name):
    running = server(str(EXAMPLES / "echo_server.py"), "127.0.0.1", "0", hub=hub_name)
    talk_to(running.port)
    # An interrupt may hit anything, even a connection that is just being closed.
    seen = running.read_until("has left", 3)
    assert running.interrupt() == 130
    assert running.stderr == ""
    running.stdout = seen + running.stdout
    assert running.stdout.count("is here") == 3
    assert "bye\n" in running.stdout


def test_eventlet_echo_server(server, hub_name):
    running = server(
        *("-W", "ignore::ResourceWarning", "-m", "greenio"),
        *("--hub", hub_name, str(STYLE / "echo_server.py"), "0"),
        hub=None,
    )
    talk_to(running.port)
    # It does not catch the interrupt, so it ends as any script does.
    assert running.interrupt() == -2
    assert running.stdout.count("client connected") == 3
    # Since Python 3.13 a file may complain after it that its last bytes are lost.
    assert "KeyboardInterrupt" in running.stderr.splitlines()
    # Where the main program waits; since Python 3.14 also what was interrupted.
    assert re.search(r'echo_server\.py", line \d+, in <module>', running.stderr)


@pytest.mark.parametrize(
    ("name", "arguments", "until"),
    [
        ("crawler.py", ["--pages", "250"], "http://"),
        ("mixed.py", ["60"], "one loop"),
    ],
)
def test_interrupted(name, arguments, until, hub_name):
    # It may come while a green thread closes a socket, which the collector then does.
    quiet = ("-W", "ignore::ResourceWarning")
    path = str(EXAMPLES / name)
    done = Interrupted(*quiet, path, *arguments, until=until, hub=hub_name)
    assert done.status == 130
    assert done.stderr == ""


def test_pile_interrupted(hub_name):
    # A host that accepts, and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = closed_ports(1)[0]
        hosts = [f"127.0.0.1:{port}", f"127.0.0.1:{silent.getsockname()[1]}"]
        done = Interrupted(
            str(EXAMPLES / "pile.py"), *hosts, until="failed", hub=hub_name
        )
    assert (done.status, done.stderr) == (130, "")


@pytest.mark.parametrize("name", ["crawler.py", "pile.py"])
def test_eventlet_style_interrupted(name, hub_name):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = closed_ports(1)[0]
        urls = [f"http://127.0.0.1:{silent.getsockname()[1]}/"]
        if name == "pile.py":
            urls.insert(0, f"http://127.0.0.1:{port}/")
            until = "failed"
        else:
            # Served first, so that there is something to see.
            until = "got"
        done = interrupt_style(name, urls, until, hub_name)
    assert done.status == -2
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
    frames = re.findall(r'File "([^"]+)"', done.stderr)
    # What was running may be one of greenio's functions that the program had called.
    while frames and "greenio/_" in frames[-1]:
        del frames[-1]
    assert frames
    assert not [name for name in frames if "greenio/_" in name], done.stderr


def interrupt_style(name, urls, until, hub_name):
    options = ("-W", "ignore::ResourceWarning", "-m", "greenio", "--hub", hub_name)
    arguments = urls if name == "pile.py" else []
    return Interrupted(*options, str(STYLE / name), *arguments, until=until)
