"""Coroutines, green threads, thread pools and two drivers in one running service."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from _fresh import PATIENCE, environment

pytestmark = [pytest.mark.slow, pytest.mark.service]

PATHS = ("async", "sync", "green", "portal", "order")
# What the server sleeps for each request but the orders.
SECONDS = 0.5


@pytest.fixture
def service(postgresql):
    """A running service; it must end quietly when it is told to."""
    program = Path(__file__).with_name("_service.py")
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(program), postgresql, str(SECONDS)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            port = process.stdout.readline().strip()
            assert port, process.stderr.read()
            yield f"http://127.0.0.1:{port}"
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=PATIENCE)
            assert (rest, errors, process.returncode) == ("", "", 0)
        finally:
            process.kill()


async def ask(base: str) -> dict[str, object]:
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        base, timeout=timeout, connector=connector
    ) as session:

        async def get(path: str) -> dict[str, object]:
            async with session.get(path) as response:
                assert response.status == 200, (path, await response.text())
                return await response.json()

        # What is imported with the first request of a kind is nobody's blocking.
        for path in PATHS[:-1]:
            await get(f"/{path}/0")
        await get("/reset")
        paths = [f"/{PATHS[n % len(PATHS)]}/{n}" for n in range(200)]
        answers = await asyncio.gather(*map(get, paths))
        assert [answer["number"] for answer in answers] == list(range(200))
        while True:
            figures = await get("/figures")
            if len(figures["handled"]) == 200 // len(PATHS):
                return figures
            await asyncio.sleep(0.01)


def test_two_hundred_requests_at_once(service, record_property):
    figures = asyncio.run(ask(service))
    handled = [n for n in range(200) if PATHS[n % len(PATHS)] == "order"]
    assert figures["handled"] == handled
    assert "uvloop" in figures["loop"]
    for name in ("longest block", "shortest blocking call"):
        record_property(name, figures[name])
        print(f"{name}: {figures[name] * 1000:.1f} ms")
    # Had a blocking call stopped the loop, it would have been as long.
    assert figures["longest block"] < figures["shortest blocking call"]
