"""Flask-SocketIO with ``async_mode="eventlet"``: clients of python-socketio's.

Each test runs with eventlet itself, if it is installed, and with greenio as eventlet on each
kind of loop, both by ``socketio.run(app)`` and in gunicorn's workers.
"""

from __future__ import annotations

import asyncio
import collections
import subprocess

import pytest
import trustme

pytest.importorskip("flask_socketio")

import aiohttp
import socketio

from _socketio import KINDS, LOOPS, PROGRAMS, Client, Service, environment, python_for

pytestmark = pytest.mark.slow

WAYS = [*(f"run-{kind}" for kind in KINDS), *(f"gunicorn-{loop}" for loop in LOOPS)]
TRANSPORTS = {"polling": "polling", "websocket": "websocket", "upgrade": None}


@pytest.fixture(scope="session")
def services(tmp_path_factory):
    """One service of each kind for all tests that leave it as it was."""
    running = {}

    def service(way):
        if way not in running:
            how, _, kind = way.partition("-")
            folder = tmp_path_factory.mktemp(way)
            running[way] = Service(folder, kind, gunicorn=how == "gunicorn")
        return running[way]

    yield service
    for each in running.values():
        each.kill()


@pytest.fixture(params=WAYS)
def service(request, services):
    return services(request.param)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_it_is_what_it_says_it_is(services):
    for way in WAYS:
        module = services(way).ask().split()[1]
        assert module.startswith("eventlet" if "eventlet" in way else "greenio"), way


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_events(service, transport):
    async def talk():
        async with Client(service, TRANSPORTS[transport], name="Ada") as client:
            assert (await client.hear("welcome"))["name"] == "Ada"
            expected = "polling" if transport == "polling" else "websocket"
            assert await client.call("who") == ["Ada", expected]
            data = {"text": "é\u2028☃", "list": [1, 2.5, None, True], "empty": {}}
            assert await client.call("echo", data) == data
            assert await client.call("fail") == "ValueError: on purpose"
            long = "x" * 150_000
            assert await client.call("echo", long) == long
            # Ones that wait do not hold up others.
            slow = [asyncio.ensure_future(client.call("slow", 0.3)) for _ in range(10)]
            assert await client.call("echo", "quick") == "quick"
            assert await asyncio.gather(*slow) == [0.3] * 10
            # From a background task; and one that asks the client.
            assert await client.call("count", 20) == 20
            assert [await client.hear("number") for _ in range(20)] == list(range(20))
            await client.emit("ask me")
            assert await client.hear("answered") == len("how much?")

    asyncio.run(talk())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_binary_data_in_a_namespace(service, transport):
    async def talk():
        async with Client(service, TRANSPORTS[transport]) as client:
            blob = bytes(range(256)) * 200
            answer = await client.call("reverse", blob, "more", namespace="/blobs")
            assert answer == {"blob": blob[::-1], "more": ["more", b"end"]}
            assert await client.call("many", 50, 1000, namespace="/blobs") == 50
            for number in range(50):
                assert await client.hear("blob") == bytes([number]) * 1000

    asyncio.run(talk())


def test_rooms(service):
    async def talk():
        async with (
            Client(service, "websocket", name="a") as a,
            Client(service, "polling", name="b") as b,
            Client(service, name="c") as c,
        ):
            for client in (a, b, c):
                await client.call("join", "room")
            await a.emit("say", "room", "hello")
            assert await b.hear("said") == ("a", "hello")
            assert await c.hear("said") == ("a", "hello")
            await b.call("leave", "room")
            await c.emit("say", "room", "again")
            assert await a.hear("said") == ("c", "again")
            # From a view of Flask's.
            async with aiohttp.ClientSession() as session:
                url = f"{service.url}/tell/room/news"
                async with session.get(url) as answer:
                    assert await answer.text() == "told"
            for client in (a, c):
                assert (await client.hear("told"))["text"] == "news"
            # Nothing of it has come to who has left: this comes after it.
            await b.call("count", 1)
            assert await b.hear("number") == 0
            assert b.told.empty()

    asyncio.run(talk())


def test_who_is_not_let_in_and_who_is_thrown_out(service):
    async def talk():
        stranger = Client(service, token="wrong", reconnection=False)
        stranger.namespaces = ["/"]
        with pytest.raises(
            socketio.exceptions.ConnectionError, match="failed to connect"
        ):
            await stranger.__aenter__()
        await stranger.__aexit__()
        async with (
            Client(service, name="watcher") as watcher,
            Client(service, name="guest", reconnection=False) as guest,
        ):
            await watcher.call("join", "watchers")
            await guest.emit("throw me out")
            await guest.hear("gone")
            left = await watcher.hear("left")
            while left["name"] != "guest":
                left = await watcher.hear("left")
            assert left["reason"] == "server disconnect"

    asyncio.run(talk())


def test_a_message_that_is_too_large(service):
    async def talk():
        async with (
            Client(service, "websocket") as other,
            Client(service, "websocket", reconnection=False) as client,
        ):
            await client.emit("echo", "x" * 300_000)
            await client.hear("gone")
            assert await other.call("echo", "fine") == "fine"

    asyncio.run(talk())


def test_two_hundred_clients(service):
    """Half of them upgrade; all are in one room, and ten say something."""
    count, speakers = 200, 10

    async def talk():
        clients = [
            Client(service, None if n % 2 else "websocket", name=str(n))
            for n in range(count)
        ]
        try:
            await asyncio.gather(*(client.__aenter__() for client in clients))
            whose = await asyncio.gather(*(client.call("who") for client in clients))
            assert [name for name, _ in whose] == [str(n) for n in range(count)]
            await asyncio.gather(*(client.call("join", "all") for client in clients))
            said = await asyncio.gather(
                *(clients[n].call("say", "all", f"hello {n}") for n in range(speakers))
            )
            assert said == [None] * speakers
            everything = {(str(n), f"hello {n}") for n in range(speakers)}
            for n, client in enumerate(clients):
                mine = {(str(n), f"hello {n}")}
                heard = collections.Counter(
                    [await client.hear("said") for _ in range(len(everything - mine))]
                )
                assert heard == collections.Counter(everything - mine)
        finally:
            await asyncio.gather(*(client.__aexit__() for client in clients))

    asyncio.run(talk())


def test_a_client_that_falls_silent_is_given_up(kind, tmp_path):
    async def talk(service):
        async with Client(service, name="watcher") as watcher:
            await watcher.call("join", "watchers")
            async with aiohttp.ClientSession() as session:
                url = f"{service.url}/socket.io/?EIO=4&transport=polling"
                async with session.get(url) as answer:
                    opened = await answer.text()
                assert opened.startswith("0{")
                sid = opened.partition('"sid":"')[2].partition('"')[0]
                silent = '40{"name":"silent"}'
                async with session.post(f"{url}&sid={sid}", data=silent) as answer:
                    assert await answer.text() == "OK"
                # Now it neither polls nor answers to pings.
                left = await watcher.hear("left")
                assert left == {"name": "silent", "reason": "ping timeout"}

    pings = {"TEST_PING_INTERVAL": "0.5", "TEST_PING_TIMEOUT": "3"}
    with Service(tmp_path, kind, **pings) as service:
        asyncio.run(talk(service))


def test_clients_come_back_to_a_service_that_was_killed(kind, tmp_path):
    async def talk():
        first = Service(tmp_path, kind)
        try:
            async with Client(first, name="Bob") as client:
                pid = (await client.hear("welcome"))["pid"]
                first.kill()
                await client.hear("gone")
                with Service(tmp_path, kind, port=first.port):
                    again = await client.hear("welcome")
                    assert again["name"] == "Bob"
                    assert again["pid"] != pid
                    await client.is_in()
                    assert await client.call("echo", "here") == "here"
        finally:
            first.kill()

    asyncio.run(talk())


def test_with_tls(kind, tmp_path):
    authority = trustme.CA()
    mine = authority.issue_cert("127.0.0.1")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")

    async def talk(service, transport):
        async with Client(service, transport, ssl_verify=False) as client:
            blob = bytes(range(256)) * 300
            answer = await client.call("reverse", blob, 1, namespace="/blobs")
            assert answer["blob"] == blob[::-1]

    words = (str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    with Service(tmp_path, kind, *words, scheme="https") as service:
        for transport in TRANSPORTS.values():
            asyncio.run(talk(service, transport))


def test_clients_that_are_green_threads(kind, services):
    """python-socketio's blocking client, many of them in one patched program."""
    done = subprocess.run(
        [
            *python_for(kind),
            str(PROGRAMS / "socketio_client.py"),
            services(WAYS[0]).url,
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "30 of 30\n", done.stderr
    assert done.returncode == 0
