"""gunicorn's own worker for eventlet, up to gunicorn 25, runs on greenio by the alias."""

from __future__ import annotations

import importlib.util
import signal
import socket
import ssl

import pytest
import trustme

from _gunicorn import SCRIPT, Gunicorn

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("gunicorn.workers.geventlet") is None,
        reason="this gunicorn has no worker for eventlet any more",
    ),
]

APP = """
import os, time
import eventlet

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/sleep":
        time.sleep(0.3)
        eventlet.sleep(0.1)
    start_response("200 OK", [("X-Version", eventlet.__version__)])
    if path == "/file":
        return environ["wsgi.file_wrapper"](open("big", "rb"))
    if path == "/module":
        return [eventlet.sleep.__module__.encode()]
    return [str(os.getpid()).encode()]
"""


@pytest.fixture
def start(tmp_path, loop):
    started = []

    def start(*words, **keywords):
        command = ("-m", "greenio", "--hub", loop, str(SCRIPT))
        started.append(
            Gunicorn(tmp_path, "eventlet", APP, *words, python=command, **keywords)
        )
        return started[-1].started()

    yield start
    for one in started:
        one.kill()


def test_requests_at_once_and_restarts(start):
    server = start("-w", "2")
    assert server.ask("/module").startswith("greenio")
    socks = [
        socket.create_connection(("127.0.0.1", server.port), timeout=60)
        for _ in range(40)
    ]
    for sock in socks:
        sock.sendall(b"GET /sleep HTTP/1.0\r\n\r\n")
    old = server.workers()
    server.send_signal(signal.SIGHUP)
    for sock in socks:
        with sock:
            answer = b"".join(iter(lambda: sock.recv(65536), b""))  # noqa: B023
        assert answer.split()[1] == b"200"
    server.until(lambda: len(new := server.workers()) == 2 and not set(old) & set(new))
    assert int(server.ask()) in server.workers()
    log = server.end()
    assert server.process.returncode == 0
    assert "Traceback" not in log


def test_files_with_and_without_tls(start, tmp_path):
    data = bytes(range(256)) * 4000
    (tmp_path / "big").write_bytes(data)
    server = start()
    assert server.respond("/file")[1] == data
    server.end()
    authority = trustme.CA()
    mine = authority.issue_cert("127.0.0.1")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = start("--certfile", "cert.pem", "--keyfile", "key.pem", tls=context)
    assert server.respond("/file")[1] == data
