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

from _pages import Pasted, the_page_has
from _runtimes import PATIENCE, PROGRAMS, Running, run
from _websockets import PATIENT

pytestmark = pytest.mark.slow


@pytest.fixture
def free_address():
    """Where nobody listens yet."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def services(runtime, rabbitmq, free_address, tmp_path):
    """The services, and the port of their HTTP server."""
    port = int(free_address.partition(":")[2])
    settings = {"AMQP_URI": rabbitmq, "WEB_SERVER_ADDRESS": free_address}
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
    with connect(f"ws://127.0.0.1:{port}/ws", **PATIENT) as ws:
        ws.send(json.dumps({"method": "subscribe", "data": {}}))
        kinds = {}
        while len(kinds) < 3:
            message = json.loads(ws.recv(timeout=PATIENCE))
            kinds[message.get("event") or message["type"]] = message["data"]
    assert kinds["result"] == "subscribed"
    assert kinds["news"] == {"from": "outer"}
    running.process.send_signal(signal.SIGTERM)
    assert running.ended() == 0, running.text()


COMMAND = "python -m greenio nameko run --config settings.yaml package.services"


def test_the_command_of_the_page(rabbitmq, free_address, tmp_path):
    settings = {"AMQP_URI": rabbitmq, "WEB_SERVER_ADDRESS": free_address}
    (tmp_path / "settings.yaml").write_text(json.dumps(settings))
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "services.py").write_text("from nameko_services import *\n")
    text = the_page_has("howto/openstack.md", COMMAND)
    with Pasted(text, tmp_path, PYTHONPATH=str(PROGRAMS)) as services:
        services.hear(r"tick greenio\.greenthread")
        assert ask(int(free_address.partition(":")[2]), "/double/21") == (200, "42")
        assert services.end() == 0, services.log()
