"""A Flask application, mounted and alone, for test_asgi_servers.py.

Imported by the server, on a loop that is running already.
"""

from __future__ import annotations

import greenio

greenio.monkey_patch()

import asyncio
import contextlib
import http.client
import threading
import time

import flask
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount

from greenio.asgi import WSGIMiddleware

legacy = flask.Flask(__name__)
legacy.secret_key = "a test's"
local = threading.local()
condition = threading.Condition()
inside = 0
notes: list[str] = []
gate = threading.Event()


@legacy.get("/hello/<name>")
def hello(name):
    count = flask.session["count"] = flask.session.get("count", 0) + 1
    return {
        "hello": name,
        "count": count,
        "url": flask.url_for("hello", name="x", _external=True),
        "loop": type(asyncio.get_running_loop()).__module__,
    }


@legacy.get("/together/<int:count>")
def together(count):
    """Answers when so many requests are inside."""
    global inside
    mine = local.value = object()
    with condition:
        inside += 1
        condition.notify_all()
        condition.wait_for(lambda: inside >= count)
    time.sleep(0.001)
    return "own" if local.value is mine else "somebody else's"


@legacy.post("/echo")
def echo():
    def chunks():
        stream = flask.request.stream
        while chunk := stream.read1():
            yield chunk.upper()

    return flask.Response(flask.stream_with_context(chunks()))


@legacy.post("/form")
def form():
    upload = flask.request.files["file"]
    return {"size": len(upload.read()), "field": flask.request.form["field"]}


@legacy.get("/upstream")
def upstream():
    """Asks the application that it is mounted in, which runs in the same loop."""
    host, port = flask.request.host.split(":")
    connection = http.client.HTTPConnection(host, int(port))
    try:
        connection.request("GET", "/async")
        return connection.getresponse().read()
    finally:
        connection.close()


@legacy.get("/stream")
def stream():
    def chunks():
        try:
            yield b"first "
            gate.wait()
            yield b"second"
        finally:
            notes.append("stream ended")

    return flask.Response(chunks())


@legacy.get("/slowly")
def slowly():
    def chunks():
        yield b"first "
        time.sleep(0.5)
        yield b"second"

    return flask.Response(chunks())


@legacy.get("/release")
def release():
    gate.set()
    return "released"


@legacy.get("/forever")
def forever():
    notes.append("waits")
    try:
        time.sleep(1000)
    finally:
        time.sleep(0.001)
        notes.append("ended")
        print("the view has ended", flush=True)


@legacy.get("/flood")
def flood():
    def chunks():
        try:
            for number in range(100_000):
                notes.append(f"chunk {number}")
                yield b"x" * 65536
        finally:
            notes.append("flood ended")

    return flask.Response(chunks())


@legacy.post("/reset")
def reset():
    """Makes it as it was at the start, for the next test."""
    global inside
    inside = 0
    notes.clear()
    gate.clear()
    return "reset"


@legacy.get("/notes")
def get_notes():
    return list(notes)


@legacy.get("/fail")
def fail():
    raise KeyError("the secret")


@legacy.get("/late")
def late_failure():
    def chunks():
        yield b"begun"
        raise KeyError("the secret")

    return flask.Response(chunks())


middleware = WSGIMiddleware(legacy, shutdown_timeout=5)


async def native(_request=None):
    await asyncio.sleep(0.01)
    return {"async": True}


@contextlib.asynccontextmanager
async def lifespan(_app):
    yield
    # Without this, uvicorn ends the process when it has cancelled its tasks.
    await middleware.shutdown()


flask_in_fastapi = FastAPI(lifespan=lifespan)
flask_in_fastapi.get("/async")(native)
flask_in_fastapi.mount("/legacy", middleware)


async def passing_on(request, call_next):
    return await call_next(request)


flask_in_starlette = Starlette(routes=[Mount("/legacy", middleware)], lifespan=lifespan)
flask_in_starlette.add_middleware(BaseHTTPMiddleware, dispatch=passing_on)

flask_alone = WSGIMiddleware(legacy, shutdown_timeout=5)
