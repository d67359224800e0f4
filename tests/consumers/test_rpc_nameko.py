"""nameko: services run by ``nameko run`` on RabbitMQ, with RPC, timer, HTTP and WebSocket."""

from __future__ import annotations

import json
import signal
import socket
import urllib.error
import urllib.request

import pytest

pytest.importorskip("nameko")

from websockets.sync.client import connect

from _runtimes import PATIENCE, PROGRAMS, Running, run

pytestmark = pytest.mark.slow


@pytest.fixture
def services(runtime, rabbitmq, tmp_path):
    """The services, and the port of their HTTP server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"AMQP_URI": rabbitmq, "WEB_SERVER_ADDRESS": f"127.0.0.1:{port}"}
    (tmp_path / "settings.yaml").write_text(json.dumps(settings))
    command = ("nameko", "run", "--config", "settings.yaml", "nameko_services")
    with Running(
        runtime, *command, folder=tmp_path, PYTHONPATH=str(PROGRAMS)
    ) as services:
        services.hear("tick")
        yield services, port


def ask(port, path, data=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_calls_timer_http_and_the_end(services, runtime, rabbitmq, tmp_path):
    running, port = services
    said = run(runtime, "nameko_client", rabbitmq, folder=tmp_path)
    assert said.splitlines()[-1] == "done"
    module = "eventlet" if runtime == "eventlet" else "greenio"
    assert {*running.hear("tick", 5)} == {f"{module}.greenthread"}
    assert ask(port, "/double/21") == (200, "42")
    assert running.hear("event") == ["21"]
    assert ask(port, "/echo", b"as it is" * 1000) == (201, "as it is" * 1000)
    status, body = ask(port, "/fail")
    assert (status, "LookupError" in body) == (500, True)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as slow:
        slow.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        running.hear("slow")
        running.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: slow.recv(4096), b""))
    assert answer.endswith(b"slow")
    assert running.ended() == 0, running.text()


def test_websocket(services):
    running, port = services
    with connect(f"ws://127.0.0.1:{port}/ws") as ws:
        ws.send(json.dumps({"method": "subscribe", "data": {}}))
        kinds = {}
        while len(kinds) < 3:
            message = json.loads(ws.recv(timeout=PATIENCE))
            kinds[message.get("event") or message["type"]] = message["data"]
    assert kinds["result"] == "subscribed"
    assert kinds["news"] == {"from": "outer"}
    running.process.send_signal(signal.SIGTERM)
    assert running.ended() == 0, running.text()
