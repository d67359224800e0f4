"""What applications do in gunicorn's worker: wait, await, stream, take the socket."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
import trustme
from websockets.asyncio.client import connect

from _gunicorn import Gunicorn
from _websockets import PATIENT

pytestmark = pytest.mark.slow


@pytest.fixture
def gunicorn(tmp_path, loop):
    started = []

    def start(app, *words, **keywords):
        started.append(Gunicorn(tmp_path, loop, app, *words, **keywords))
        return started[-1].started()

    yield start
    for one in started:
        one.kill()


# Which loop and which OS thread a request's coroutine runs in.
WHERE = """
import asyncio, threading
import greenio
from greenio.hubs import get_hub

def native():
    return greenio.patcher.original("threading").get_ident()

MINE = []

async def where():
    await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()
    return f"{loop is get_hub().loop} {native() == MINE[0]} {type(loop).__module__}"
"""
MODULES = {"asyncio": "asyncio.unix_events", "uvloop": "uvloop"}


def concurrently(server, path, count):
    """Ask so often at once; return the bodies."""
    socks = [
        socket.create_connection(("127.0.0.1", server.port), timeout=60)
        for _ in range(count)
    ]
    for sock in socks:
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    bodies = []
    for sock in socks:
        with sock:
            answer = b"".join(iter(lambda: sock.recv(65536), b""))  # noqa: B023
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split()[1] == b"200", answer
        bodies.append(body.decode())
    return bodies


def test_await_runs_on_the_workers_loop(gunicorn, loop):
    server = gunicorn(
        WHERE
        + """
MINE.append(native())

def app(environ, start_response):
    body = greenio.await_(where())
    start_response("200 OK", [])
    return [body.encode()]
"""
    )
    expected = f"True True {MODULES[loop]}"
    bodies = concurrently(server, "/", 30)
    assert {body.partition(".__")[0].rstrip("0123456789") for body in bodies} == {
        expected
    }


@pytest.mark.smoke
def test_async_views_of_flask(gunicorn, loop):
    server = gunicorn(
        WHERE
        + """
from flask import Flask, request

MINE.append(native())
app = Flask(__name__)

@app.route("/")
async def view():
    return await where()

@app.route("/both/<name>")
async def both(name):
    together = await asyncio.gather(where(), where())
    return f"{name} {request.path} {len(together)}"
"""
    )
    assert server.ask() == f"True True {MODULES[loop]}"
    names = [f"name{number}" for number in range(20)]
    for name in names:
        assert server.ask(f"/both/{name}") == f"{name} /both/{name} 2"
    assert set(concurrently(server, "/", 30)) == {f"True True {MODULES[loop]}"}


def test_async_views_of_django(gunicorn, loop):
    server = gunicorn(
        WHERE
        + """
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="test", DEBUG=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db"}},
)
django.setup()
MINE.append(native())

async def view(request):
    return HttpResponse(await where())

def database(request):
    from django.db import connection
    with connection.cursor() as cursor:
        cursor.execute("select 6 * 7")
        return HttpResponse(str(cursor.fetchone()[0]))

async def mixed(request):
    from asgiref.sync import sync_to_async
    outer = await sync_to_async(threading.get_ident)()
    assert outer == request.ident
    response = await sync_to_async(database)(request)
    return HttpResponse(response.content + b" " + (await where()).encode())

class Middleware:
    def __init__(self, get_response):
        self.get_response = get_response
    def __call__(self, request):
        request.ident = threading.get_ident()
        return self.get_response(request)

settings.MIDDLEWARE = [f"{__name__}.Middleware"]
urlpatterns = [path("", view), path("database", database), path("mixed", mixed)]

from django.core.wsgi import get_wsgi_application
app = get_wsgi_application()
"""
    )
    assert server.ask() == f"True True {MODULES[loop]}"
    assert set(concurrently(server, "/", 30)) == {f"True True {MODULES[loop]}"}
    assert set(concurrently(server, "/database", 10)) == {"42"}
    expected = f"42 True True {MODULES[loop]}"
    assert set(concurrently(server, "/mixed", 10)) == {expected}


SOCKETS = """
from greenio.websocket import WebSocketWSGI

@WebSocketWSGI
def echo(ws):
    while (message := ws.wait()) is not None:
        ws.send(message)

def app(environ, start_response):
    if environ["PATH_INFO"] == "/ws":
        return echo(environ, start_response)
    start_response("200 OK", [])
    return [b"plain"]
"""


@pytest.mark.smoke
@pytest.mark.parametrize(
    "words", [(), ("--strip-header-spaces",)], ids=["own", "gunicorn's"]
)
def test_websockets(gunicorn, words):
    server = gunicorn(SOCKETS, "--access-logfile", "-", *words)

    async def talk(number):
        async with connect(f"ws://127.0.0.1:{server.port}/ws", **PATIENT) as ws:
            for size in (0, 10, 70_000):
                message = f"{number}" * size
                await ws.send(message)
                assert await ws.recv() == message

    async def all_at_once():
        await asyncio.gather(*[talk(number) for number in range(20)])

    asyncio.run(all_at_once())
    assert server.ask() == "plain"
    assert "Traceback" not in server.end()


@pytest.mark.timeout(300)
def test_a_thousand_connections(gunicorn):
    server = gunicorn(
        """
        import threading
        waiting, all_there = 0, threading.Event()

        def app(environ, start_response):
            global waiting
            start_response("200 OK", [])
            if environ["PATH_INFO"] != "/wait":
                return [b"x"]
            waiting += 1
            if waiting == 1000:
                all_there.set()
            assert all_there.wait(60)
            return [b"all there"]
        """,
        *("--worker-connections", "1100", "--keep-alive", "60"),
    )
    bodies = concurrently(server, "/wait", 1000)
    assert bodies == ["all there"] * 1000


def test_early_hints(gunicorn):
    pytest.importorskip("gunicorn", minversion="25", reason="gunicorn has none")
    server = gunicorn(
        """
        def app(environ, start_response):
            hints = environ["wsgi.early_hints"]
            if environ["PATH_INFO"] == "/hints":
                hints([("Link", "</style.css>; rel=preload")])
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]
        """
    )
    answer = server.raw(b"GET /hints HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    hint, _, rest = answer.partition(b"\r\n\r\n")
    assert hint == b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload"
    assert rest.startswith(b"HTTP/1.1 200 OK")
    assert b"103" not in server.raw(b"GET /hints HTTP/1.0\r\n\r\n")


def test_http2(gunicorn, tmp_path):
    gunicorn_module = pytest.importorskip("gunicorn")
    if gunicorn_module.version_info[0] < 25:
        pytest.skip("gunicorn speaks HTTP/2 since 25")
    httpx = pytest.importorskip("httpx")
    authority = trustme.CA()
    mine = authority.issue_cert("127.0.0.1")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = gunicorn(
        """
        def app(environ, start_response):
            body = environ["wsgi.input"].read()
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [environ["SERVER_PROTOCOL"].encode(), b" %d" % len(body)]
        """,
        *("--certfile", "cert.pem", "--keyfile", "key.pem"),
        *("--http-protocols", "h2,h1"),
        tls=context,
    )
    h2 = ssl.create_default_context()
    authority.configure_trust(h2)
    with httpx.Client(http2=True, verify=h2) as client:
        for size in (1, 40_000):
            response = client.post(
                f"https://127.0.0.1:{server.port}/", content=b"x" * size
            )
            assert response.http_version == "HTTP/2"
            assert response.text == f"HTTP/2.0 {size}"
    # Others are served as ever.
    assert server.ask(method="POST", body=b"abc") == "HTTP/1.1 3"


def test_gunicorns_parser_in_green_threads(gunicorn):
    server = gunicorn(
        """
        import time
        def app(environ, start_response):
            time.sleep(0.2)
            start_response("200 OK", [])
            return [environ["HTTP_A"].encode()] if "HTTP_A" in environ else [b"-"]
        """,
        *("--strip-header-spaces", "-w", "1"),
    )
    assert concurrently(server, "/", 40) == ["-"] * 40
    assert b"\r\n\r\n" in server.raw(
        b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\nConnection: close\r\n\r\n"
    )
    assert server.process.poll() is None
    server.end()
    assert server.process.returncode == 0
