"""The servers among the examples in eventlet's words."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from _fresh import PATIENCE, environment
from _websockets import PATIENT

STYLE = Path(__file__).parent.parent / "examples" / "eventlet_style"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STYLE.exists(), reason="no examples here"),
]


@contextlib.contextmanager
def running(name, hub):
    """A server under ``python -m greenio``, and its port."""
    process = subprocess.Popen(
        # eventlet's users leave it to the collector to close their sockets.
        [
            *(sys.executable, "-W", "ignore::ResourceWarning", "-m", "greenio"),
            *("--hub", hub, str(STYLE / name), "0"),
        ],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"(\d+)/?$", line.strip())
        assert found, (line, process.stderr.read())
        yield int(found[1]), process
    finally:
        process.kill()
        process.communicate()


def test_wsgi(loop):
    pytest.importorskip("httptools")
    with running("wsgi.py", loop) as (port, process):
        url = f"http://127.0.0.1:{port}/"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert answer.read() == b"Hello, World!\r\n"
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            urllib.request.urlopen(f"{url}other", timeout=PATIENCE)
        refused.value.close()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert '"GET / HTTP/1.1" 200' in errors
        assert '"GET /other HTTP/1.1" 404' in errors


def test_chat_server(loop):
    with running("chat_server.py", loop) as (port, process):
        clients = []
        for _ in range(3):
            sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            clients.append((sock, sock.makefile("r")))
            assert process.stdout.readline() == "Participant joined chat.\n"
        clients[0][0].sendall(b"hello\n")
        for _, reader in clients[1:]:
            assert reader.readline() == "hello\n"
        assert process.stdout.readline() == "Chat: hello\n"
        clients[1][0].sendall(b"hi\n")
        # Not its own word, but the others'.
        assert clients[0][1].readline() == "hi\n"
        assert clients[2][1].readline() == "hi\n"
        assert process.stdout.readline() == "Chat: hi\n"
        for sock, reader in clients:
            reader.close()
            sock.close()
            assert process.stdout.readline() == "Participant left chat.\n"


def test_websocket_chat(loop):
    pytest.importorskip("httptools")
    client = pytest.importorskip("websockets.sync.client")
    with running("websocket_chat.py", loop) as (port, process):
        url = f"http://127.0.0.1:{port}/"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert b"new WebSocket" in answer.read()
        address = f"ws://127.0.0.1:{port}/chat"
        with (
            client.connect(address, **PATIENT) as one,
            client.connect(address, **PATIENT) as two,
        ):
            one.send("hello")
            assert one.recv(timeout=PATIENCE) == "hello"
            assert two.recv(timeout=PATIENCE) == "hello"
            two.close()
            one.send("still here?")
            assert one.recv(timeout=PATIENCE) == "still here?"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert "Error" not in errors.replace("KeyboardInterrupt", "")
