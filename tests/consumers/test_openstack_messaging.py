"""oslo.messaging on RabbitMQ: a server with the executor eventlet, and its clients."""

from __future__ import annotations

import signal
import uuid

import pytest

pytest.importorskip("oslo_messaging")

from _runtimes import Running, run

pytestmark = pytest.mark.slow


@pytest.fixture
def where(rabbitmq):
    """The broker, in oslo.messaging's words, and a topic of the test's own."""
    return rabbitmq.replace("amqp://", "rabbit://"), f"greenio-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def server(runtime, where, tmp_path):
    with Running(runtime, "rpc_server", *where, folder=tmp_path) as server:
        server.hear("ready")
        yield server
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == 0, server.text()
        assert server.said("end")


def ask(runtime, where, scene, tmp_path):
    said = run(runtime, "rpc_client", *where, scene, folder=tmp_path)
    module = "eventlet" if runtime == "eventlet" else "greenio"
    assert said.splitlines()[-1] == f"done {module}.greenthread"


def test_500_calls_and_50_at_once(runtime, server, where, tmp_path):
    ask(runtime, where, "calls", tmp_path)


def test_remote_errors_and_time_outs(runtime, server, where, tmp_path):
    ask(runtime, where, "errors", tmp_path)
    assert {*server.hear("note", 2)} == {"cast", "fanout"}


def test_a_call_over_several_heartbeats(runtime, server, where, tmp_path):
    ask(runtime, where, "long", tmp_path)


def test_a_server_that_blocks(runtime, server, where, tmp_path):
    ask(runtime, where, "blocked", tmp_path)
    assert server.said("blocking")


def test_notifications(runtime, where, tmp_path):
    ask(runtime, where, "notifications", tmp_path)
