"""gunicorn's own worker for eventlet, up to gunicorn 25, runs on greenio by the alias."""

from __future__ import annotations

import importlib.util
import signal
import socket
import ssl
import urllib.request

import pytest
import trustme

from _gunicorn import SCRIPT, Gunicorn
from _pages import Pasted, the_page_has

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
    old = server.until(lambda: len(now := server.workers()) == 2 and now)
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


@pytest.mark.parametrize(
    ("page", "command"),
    [
        ("howto/from-eventlet.md", "python -m greenio gunicorn -k eventlet app:app"),
        (
            "howto/gunicorn.md",
            "python -m greenio gunicorn -k eventlet package.module:app",
        ),
        (
            "reference/command-line.md",
            "python -m greenio --monitor=0.5 --debug gunicorn -k eventlet app:app",
        ),
    ],
)
def test_the_commands_of_the_pages(page, command, tmp_path):
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text(APP)
    own = {"GUNICORN_CMD_ARGS": "--bind 127.0.0.1:0"}
    with Pasted(the_page_has(page, command), tmp_path, **own) as server:
        url = server.hear(r"Listening at: (http://\S+)")[1]
        with urllib.request.urlopen(f"{url}/module", timeout=60) as answer:
            assert answer.read().startswith(b"greenio")
        assert server.end() == 0, server.log()
