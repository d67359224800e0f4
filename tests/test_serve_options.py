"""``python -m greenio serve``: a socket that is inherited, and the formats of its log."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SITE = """\
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
"""
REQUEST = (
    b"GET /a?b HTTP/1.1\r\nHost: a\r\nReferer: http://r/\r\n"
    b'User-Agent: an "agent"\r\nConnection: close\r\n\r\n'
)


@contextlib.contextmanager
def serving(site, *words):
    """The command, on a socket that it gets; yields the process and the address."""
    (site / "site_under_test.py").write_text(SITE)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        bind = f"fd:{sock.fileno()}"
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "greenio", "serve", "site_under_test:app"),
                *("--bind", bind, *words),
            ],
            cwd=site,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[sock.fileno()],
        )
        try:
            yield process, sock.getsockname()
        finally:
            process.kill()
            process.communicate()


def ask(address):
    with socket.create_connection(address, 30) as sock:
        sock.sendall(REQUEST)
        return b"".join(iter(lambda: sock.recv(1000), b""))


COMMON = (
    r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
    r'"GET /a\?b HTTP/1\.1" 200 5'
)


EVENTLET = (
    r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4} \d\d:\d\d:\d\d\] "
    r'"GET /a\?b HTTP/1\.1" 200 5 \d+\.\d{6}'
)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], COMMON),
        (["--log-format", "common"], COMMON),
        (["--log-format", "combined"], COMMON + r' "http://r/" "an \\"agent\\""'),
        (["--log-format", "eventlet"], EVENTLET),
        (["--log-format", "%(status_code)s of %(client_ip)s"], r"200 of 127\.0\.0\.1"),
    ],
    ids=["default", "common", "combined", "eventlet", "own"],
)
def test_the_access_log(words, line, tmp_path):
    with serving(tmp_path, *words) as (process, address):
        assert ask(address).endswith(b"\r\n\r\nhello")
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert re.search(f"^{line}$", log, re.MULTILINE), log


def test_an_inherited_socket_serves_several_workers(tmp_path):
    with serving(tmp_path, "--workers", "2", "--no-access-log") as (process, address):
        log = ""
        while log.count("starting up") < 2:
            log += process.stderr.readline()
        for _ in range(5):
            assert ask(address).endswith(b"\r\n\r\nhello")
        process.send_signal(signal.SIGTERM)
        log += process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert log.count("wsgi exited") == 2
    assert "GET" not in log
