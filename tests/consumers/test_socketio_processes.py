"""Several processes of Flask-SocketIO: a message queue, and workers of gunicorn's."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import uuid

import pytest

pytest.importorskip("flask_socketio")

import socketio

from _socketio import KINDS, LOOPS, PATIENCE, Client, Service

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_with_a_message_queue(kind, broker, tmp_path):
    """What one emits reaches the other's clients; so does what a third process emits."""
    channel = f"greenio-{uuid.uuid4().hex[:12]}"
    queue = {"TEST_QUEUE": broker, "TEST_CHANNEL": channel}

    async def talk(first, second):
        async with Client(first, name="a") as a, Client(second, name="b") as b:
            pids = {(await client.hear("welcome"))["pid"] for client in (a, b)}
            assert len(pids) == 2
            for client in (a, b):
                await client.call("join", "room")
            # They answer before they listen to the queue.
            for speaker, listener in ((a, b), (b, a)):
                await reached(speaker, listener)
            await a.emit("say", "room", "one")
            await b.emit("say", "room", "two")
            assert await heard(b) == ("a", "one")
            assert await heard(a) == ("b", "two")
            # In order, whoever says it.
            for number in range(50):
                await a.call("say", "room", number)
            assert [await heard(b) for _ in range(50)] == [("a", n) for n in range(50)]
            await asyncio.to_thread(outside.emit, "told", "news", to="room")
            for client in (a, b):
                assert await client.hear("told") == "news"

    async def reached(speaker, listener):
        for _ in range(PATIENCE * 5):
            await speaker.emit("say", "room", "first")
            try:
                await asyncio.wait_for(listener.told.get(), 0.2)
            except asyncio.TimeoutError:
                continue
            return
        raise AssertionError("nothing comes by the queue")

    async def heard(client):
        while (said := await client.hear("said"))[1] == "first":
            pass
        return said

    manager = socketio.RedisManager
    if broker.startswith("amqp"):
        manager = socketio.KombuManager
    outside = manager(broker, channel=channel, write_only=True)
    with (
        Service(tmp_path, kind, **queue) as first,
        Service(tmp_path, kind, **queue) as second,
    ):
        asyncio.run(talk(first, second))


@pytest.fixture(params=LOOPS)
def gunicorn(request, tmp_path):
    # So that nothing ends because of it.
    with Service(
        *(tmp_path, request.param, "--graceful-timeout", "900"), gunicorn=True
    ) as service:
        yield service


def test_clients_move_to_the_new_worker_of_a_restart(gunicorn):
    async def talk():
        clients = [Client(gunicorn, name=str(n)) for n in range(20)]
        try:
            await asyncio.gather(*(client.__aenter__() for client in clients))
            old = {(await client.hear("welcome"))["pid"] for client in clients}
            gunicorn.process.send_signal(signal.SIGHUP)
            new = {(await client.hear("welcome"))["pid"] for client in clients}
            assert len(old) == len(new) == 1
            assert old != new
            for client in clients:
                await client.is_in()
                assert await client.call("echo", 1) == 1
        finally:
            await asyncio.gather(*(client.__aexit__() for client in clients))

    asyncio.run(talk())


def test_a_worker_that_stops_is_not_held_by_its_clients(gunicorn):
    async def talk():
        async with Client(gunicorn, "websocket", reconnection=False) as client:
            await client.call("echo", 1)
            gunicorn.process.send_signal(signal.SIGTERM)
            await client.hear("gone")

    asyncio.run(talk())
    gunicorn.process.wait(PATIENCE)
    assert gunicorn.process.returncode == 0
    assert "Traceback" not in gunicorn.log


@pytest.mark.parametrize("kind", LOOPS)
def test_the_end_by_control_c(kind, tmp_path):
    """eventlet's server waits for its clients then, for ever."""

    async def talk(service):
        async with Client(service, "websocket", reconnection=False) as client:
            await client.call("echo", 1)
            service.process.send_signal(signal.SIGINT)
            await client.hear("gone")

    with Service(tmp_path, kind) as service:
        asyncio.run(talk(service))
        # engineio swallows one that comes while it runs: whoever presses it does so again.
        for _ in range(PATIENCE):
            try:
                service.process.wait(1)
                break
            except subprocess.TimeoutExpired:
                service.process.send_signal(signal.SIGINT)
        assert service.process.returncode in (0, -signal.SIGINT)
        assert "GreenletExit" not in service.log
