"""The programs of the tutorial, as its pages have readers run them."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import _pages
from _fresh import PATIENCE, environment, python
from _pages import Pasted, port_of_the_page

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "examples" / "tutorial"
PAGES = ROOT / "docs" / "tutorial"
TRANSLATED = ROOT / "docs" / "zh"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAMS.exists(), reason="no examples here"),
]


class Program:
    """One that serves: it says on which ports when it does."""

    def __init__(self, name: str, *arguments: str, hub: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(PROGRAMS / name), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(hub),
        )
        self.ports = [int(port) for port in re.findall(r"port (\d+)", self.read())]

    def read(self) -> str:
        return self.process.stdout.readline()

    def connect(self, number: int = 0) -> socket.socket:
        address = ("127.0.0.1", self.ports[number])
        return socket.create_connection(address, timeout=PATIENCE)

    def end(self, number: int) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@pytest.fixture
def start(hub_name):
    started = []

    def start_it(name: str, *arguments: str) -> Program:
        started.append(Program(name, *arguments, hub=hub_name))
        return started[-1]

    yield start_it
    for program in started:
        if program.process.poll() is None:
            program.process.kill()
            program.process.communicate()


def said(page: str, program: str) -> str:
    """What the page says that the program prints: the block of text behind it."""
    text = (PAGES / page).read_text(encoding="utf-8")
    text = text.partition(f"```sh\npython examples/tutorial/{program}\n```")[2]
    return re.match(r"\n\n```text\n(.*?)```", text, re.DOTALL)[1]


@pytest.mark.parametrize("name", ["in_turn", "spawn", "pool", "patched"])
def test_the_crawlers(start, hub_name, name):
    site = start("site.py", "0")
    url = f"http://127.0.0.1:{site.ports[0]}"
    done = python("-W", "error", str(PROGRAMS / f"crawl_{name}.py"), url, hub=hub_name)
    assert (done.returncode, done.stderr) == (0, "")
    expected = said("crawler.md", f"crawl_{name}.py")
    # How long it takes is this machine's affair.
    seconds = r"\d\.\d s"
    assert re.sub(seconds, "", done.stdout) == re.sub(seconds, "", expected)
    assert site.end(signal.SIGINT)[0] == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_echo_server(start, number):
    server = start("echo_server.py", "0")
    with server.connect() as first, server.connect() as second:
        for client in (first, second):
            client.sendall(b"hello")
            assert client.recv(10) == b"hello"
        server.process.send_signal(number)
        assert server.read() == "stopping with 2 clients\n"
        # Those who are here are served until they go.
        first.sendall(b"still here")
        assert first.recv(10) == b"still here"
    out, err = server.process.communicate(timeout=PATIENCE)
    assert (server.process.returncode, out, err) == (0, "", "")


def test_the_service(start):
    service = start("service.py", "0", "0")
    with service.connect() as client, service.connect(1) as status:
        client.sendall(b"hello")
        assert client.recv(10) == b"HELLO"
        assert "127.0.0.1" in service.read()
        assert status.makefile().read() == "1 clients\n"
        # Before 3.11 asyncio is interrupted wherever it is; by the next answer it has
        # done with the connection that it has closed.
        client.sendall(b"again")
        assert client.recv(10) == b"AGAIN"
        assert service.end(signal.SIGINT) == (130, "", "")


EMPHASIZED = re.compile(r"examples/tutorial/(\w+\.py)\n.*\n:emphasize-lines: (.*)")


@pytest.mark.parametrize("folder", [PAGES, TRANSLATED], ids=["english", "chinese"])
def test_emphasized_lines_say_something(folder):
    found = [
        match
        for page in sorted(folder.glob("*.md"))
        for match in EMPHASIZED.findall(page.read_text(encoding="utf-8"))
    ]
    assert len(found) >= 4
    for program, numbers in found:
        lines = (PROGRAMS / program).read_text(encoding="utf-8").splitlines()
        for number in map(int, numbers.split(",")):
            assert lines[number - 1].strip(), (program, number)


# -- their commands, on the ports that the pages name -------------------------------------

SITE = "python examples/tutorial/site.py\n"
CRAWLERS = [
    *(
        f"python examples/tutorial/crawl_{name}.py\n"
        for name in ("in_turn", "spawn", "pool", "patched")
    ),
    "python -m greenio --hub uvloop examples/tutorial/crawl_patched.py\n",
]
SERVER = "python examples/tutorial/echo_server.py\n"
SERVICE = "python examples/tutorial/service.py\n"


def test_the_commands_of_the_crawler():
    page = "tutorial/crawler.md"
    assert sorted(_pages.blocks(page)) == sorted([SITE, *CRAWLERS])
    with port_of_the_page(8000), Pasted(SITE, ROOT) as site:
        site.hear("serving on port 8000")
        for command in CRAWLERS:
            if "uvloop" in command:
                pytest.importorskip("uvloop")
            out = _pages.run(command, ROOT)
            assert re.search(r"\d\.\d s|page \d: 2200 bytes", out), command


def test_the_commands_of_the_echo_server():
    served, asked = _pages.blocks("tutorial/echo-server.md")
    assert served == SERVER
    with port_of_the_page(6000), Pasted(SERVER, ROOT) as server:
        server.hear("listening on port 6000")
        assert _pages.run(asked, ROOT) == "b'anybody there?'\n"
        assert server.end(signal.SIGTERM) == 0, server.log()


def test_the_command_of_the_service():
    (command,) = _pages.blocks("tutorial/asyncio-app.md")
    assert command == SERVICE
    with port_of_the_page(6000), port_of_the_page(6001), Pasted(SERVICE, ROOT) as one:
        one.hear("echo on port 6000, status on port 6001")
        with socket.create_connection(("127.0.0.1", 6000), PATIENCE) as client:
            client.sendall(b"hello")
            assert client.recv(10) == b"HELLO"
        assert one.end(signal.SIGINT) == 130, one.log()


# -- the translation ---------------------------------------------------------------------


def blocks(page: Path) -> list[str]:
    """The code of a page, and what is drawn and included."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```(.*?)^```", text, re.DOTALL | re.MULTILINE)
    # Boxes and the captions of drawings are prose.
    return [
        re.sub(r"\{timeline\}.*", "{timeline}", block)
        for block in found
        if not re.match(r"\{(admonition|important|warning)\}", block)
    ]


@pytest.mark.parametrize(
    "page",
    [path for path in sorted(TRANSLATED.glob("*.md")) if path.stem != "index"],
    ids=lambda path: path.stem,
)
def test_a_translation_has_the_same_code(page):
    (original,) = [
        path
        for folder in ("intro", "tutorial")
        for path in (ROOT / "docs" / folder).glob(page.name)
    ]
    assert len(blocks(page)) > 2
    assert blocks(page) == blocks(original)
