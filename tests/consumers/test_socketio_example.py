"""The example of a chat, started by the commands of the how-to page."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

pytest.importorskip("flask_socketio")

from _socketio import PATIENCE, Client, environment, free_port

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "flask_socketio"
PAGE = ROOT / "docs" / "howto" / "flask-socketio.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not EXAMPLE.exists() or not PAGE.exists(), reason="not here"),
]


def blocks():
    """The commands of the page: a list for each of its blocks."""
    found = re.findall(
        r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return [block.splitlines() for block in found if not block.startswith("pip ")]


@contextlib.contextmanager
def started(command, folder, **environ):
    """Run a command of the page, on a port of our own; yields the service."""
    *settings, words = re.fullmatch(r"((?:[A-Z_]+=\S+ )*)(.*)", command).groups()
    given = dict(word.split("=", 1) for word in settings[0].split())
    if "QUEUE" in given:
        given["QUEUE"] = environ["QUEUE"]
    port = free_port()
    given["PORT"] = str(port)
    words = shlex.split(words.replace("127.0.0.1:5000", f"127.0.0.1:{port}"))
    directory = str(Path(sys.executable).parent)
    path = os.pathsep.join([directory, os.environ["PATH"]])
    log = folder / f"log-{port}"
    with log.open("wb") as file:
        process = subprocess.Popen(
            words,
            cwd=EXAMPLE,
            env=environment(PATH=path, HOME=str(folder), **given),
            stdout=file,
            stderr=file,
        )
    try:
        yield SimpleNamespace(
            process=process, port=port, url=f"http://127.0.0.1:{port}", log=log
        )
    finally:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()


def wait_for_page(service):
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/")
            response = connection.getresponse()
            assert "<title>Chat</title>" in response.read().decode()
            return
        log = service.log.read_text(errors="replace")
        assert service.process.poll() is None, log
        assert time.monotonic() < deadline, log
        time.sleep(0.05)


def chatting(service):
    client = Client(service)
    client.namespaces = ["/"]
    return client


def test_the_page_has_the_commands():
    assert [len(lines) for lines in blocks()] == [1, 1, 1, 2, 1]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_way_to_serve(number, tmp_path):
    (command,) = blocks()[number]

    async def talk(service):
        async with chatting(service) as first, chatting(service) as second:
            assert await first.call("join", "lobby") == "lobby"
            assert await second.call("join", "lobby") == "lobby"
            await first.emit("say", "lobby", "hello")
            while not (said := await second.hear("said")).endswith(": hello"):
                assert said.endswith(" has come")

    with started(command, tmp_path) as service:
        wait_for_page(service)
        asyncio.run(talk(service))


def test_several_processes(redis, tmp_path):
    """What is said in one is heard in the other; so is what a third process says."""
    first, second = blocks()[3]
    (command,) = blocks()[4]
    said = shlex.split(command)[-1]

    def say():
        words = [sys.executable, *shlex.split(command)[2:]]
        return subprocess.Popen(words, cwd=EXAMPLE, env=environment(QUEUE=redis))

    async def talk(*services):
        async with chatting(services[0]) as one, chatting(services[1]) as two:
            for client in (one, two):
                await client.call("join", "lobby")
            # They answer before they listen to the queue.
            missing = {one, two}
            deadline = time.monotonic() + PATIENCE
            while missing:
                assert time.monotonic() < deadline
                assert await asyncio.to_thread(say().wait) == 0
                for client in list(missing):
                    with contextlib.suppress(asyncio.TimeoutError):
                        if (await asyncio.wait_for(client.told.get(), 1))[1] == said:
                            missing.discard(client)
            await one.emit("say", "lobby", "over there")
            while not (await two.hear("said")).endswith(": over there"):
                pass

    with (
        started(first, tmp_path, QUEUE=redis) as one,
        started(second, tmp_path, QUEUE=redis) as two,
    ):
        wait_for_page(one)
        wait_for_page(two)
        asyncio.run(talk(one, two))
