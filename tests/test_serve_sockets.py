"""The listening sockets of ``python -m greenio serve``: whose they are, and whose not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

from _fresh import PATIENCE, environment

SITE = """\
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
"""


@pytest.fixture
def workers(tmp_path):
    """Two workers that have begun, each on a socket of its own."""
    (tmp_path / "site_of_sockets.py").write_text(SITE)
    log = tmp_path / "log"
    words = ["--bind", "127.0.0.1:0", "--workers", "2", "--reuse-port"]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "greenio", "serve", "site_of_sockets:app", *words],
            cwd=tmp_path,
            stderr=stderr,
            env=environment(PYTHONPATH=str(tmp_path)),
        )
    try:
        wait_for(lambda: log.read_text().count("wsgi starting up") == 2)
        yield psutil.Process(process.pid).children()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def listening(pid):
    return [
        connection
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]


@pytest.mark.slow
def test_a_worker_has_no_sockets_of_the_others(workers):
    """Nobody would accept there, once the other has closed it."""
    assert [len(listening(worker.pid)) for worker in workers] == [1, 1]
