"""The services that the clients talk to, and the kinds of loop.

A service is found at the URL in an environment variable, by default on this machine. If
nothing answers there, the tests that need it are skipped; with ``CI`` set, they fail.
"""

from __future__ import annotations

import importlib.util
import os
import socket
from urllib.parse import urlsplit

import pytest

# With the name of the fixture and, in capitals after GREENIO_TEST_, of the variable.
DEFAULTS = {
    "postgresql": "postgresql://postgres@127.0.0.1:5432/test",
    "mariadb": "mysql://root@127.0.0.1:3306/test",
    "redis": "redis://127.0.0.1:6379/0",
    "rabbitmq": "amqp://guest:guest@127.0.0.1:5672/%2F",
    "mqtt": "mqtt://127.0.0.1:1883",
    "nats": "nats://127.0.0.1:4222",
    "memcached": "memcached://127.0.0.1:11211",
}
# Nobody is expected to have these.
OPTIONAL = {"memcached"}


def _answers(url: str) -> str | None:
    """Why it does not answer."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    except OSError as error:
        return str(error)
    return None


def _make_fixture(name: str):
    @pytest.fixture(scope="session", name=name)
    def service() -> str:
        url = os.environ.get(f"GREENIO_TEST_{name.upper()}") or DEFAULTS[name]
        problem = _answers(url)
        if problem is not None:
            message = f"{name} does not answer at {url}: {problem}"
            if os.environ.get("CI") and name not in OPTIONAL:
                pytest.fail(message)
            pytest.skip(message)
        return url

    return service


for _name in DEFAULTS:
    globals()[_name] = _make_fixture(_name)


@pytest.fixture(scope="session", params=["asyncio", "uvloop"])
def hub(request) -> str:
    """The kind of loop that the program runs on."""
    if request.param == "uvloop" and importlib.util.find_spec("uvloop") is None:
        if os.environ.get("CI"):
            pytest.fail("uvloop is not installed")
        pytest.skip("uvloop is not installed")
    return request.param


@pytest.fixture(params=[False, True], ids=["patched first", "imported first"])
def late(request) -> bool:
    """Whether the client is imported before `monkey_patch()`."""
    return request.param
