"""What the consumers' tests need: brokers, databases, the kinds of loop, and eventlet beside them.

Each is found at the URL in an environment variable, by default on this machine. If nothing
answers there, the tests that need it are skipped by its name; with ``CI`` set, they fail.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import warnings
from urllib.parse import urlsplit

import pytest

DEFAULTS = {
    "redis": "redis://127.0.0.1:6379/12",
    "rabbitmq": "amqp://guest:guest@127.0.0.1:5672/%2F",
    "postgresql": "postgresql://postgres@127.0.0.1:5432/test",
    "mariadb": "mysql://root@127.0.0.1:3306/test",
}


def broker_url(name: str) -> str:
    """Return where a broker or a database is; without it the test is skipped."""
    url = os.environ.get(f"GREENIO_TEST_{name.upper()}") or DEFAULTS[name]
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    except OSError as error:
        message = f"{name} does not answer at {url}: {error}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return url


def _hubs() -> list[str]:
    return ["asyncio", "uvloop"] if importlib.util.find_spec("uvloop") else ["asyncio"]


@pytest.fixture(scope="session", params=_hubs())
def loop(request) -> str:
    """The kind of loop."""
    return request.param


@pytest.fixture(scope="session", params=[*_hubs(), "eventlet"])
def runtime(request) -> str:
    """greenio on each loop, and eventlet where it is installed."""
    if request.param == "eventlet" and importlib.util.find_spec("eventlet") is None:
        pytest.skip("eventlet is not installed")
    return request.param


@pytest.fixture(scope="session")
def redis() -> str:
    return broker_url("redis")


@pytest.fixture(scope="session")
def rabbitmq() -> str:
    return broker_url("rabbitmq")


@pytest.fixture(scope="session")
def postgresql() -> str:
    return broker_url("postgresql")


@pytest.fixture(scope="session", params=["postgresql", "mariadb"])
def database(request) -> str:
    """A database, for SQLAlchemy: each test runs with each of them."""
    driver = {"postgresql": "psycopg2", "mariadb": "pymysql"}[request.param]
    scheme, _, rest = broker_url(request.param).partition("://")
    return f"{scheme}+{driver}://{rest}"


@pytest.fixture(scope="session", params=["redis", "rabbitmq"])
def broker(request) -> str:
    """A broker: each test runs with each of them."""
    return request.getfixturevalue(request.param)


def pytest_configure(config):
    # Consumers' clients leave connections to the garbage collector, some until pytest ends.
    config.addinivalue_line("filterwarnings", "ignore::ResourceWarning")
    warnings.filterwarnings("ignore", category=ResourceWarning)
