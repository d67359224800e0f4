"""What the tests of `WSGIMiddleware` share: a server's side of a request."""

from __future__ import annotations

import asyncio

import greenlet

import greenio
from _support import until_async
from greenio.asgi import WSGIMiddleware


class Exchange:
    """The server's side of one request."""

    def __init__(self, app, method="GET", path="/", headers=(), **scope):
        self.app = app
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"example.org"), *headers],
            "client": ("192.0.2.1", 5000),
            "server": ("192.0.2.2", 8000),
            **scope,
        }
        self.messages = asyncio.Queue()
        # How often the application has asked, and what it has sent.
        self.received = 0
        self.sent = []
        # Cleared, it holds up whoever sends.
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.task = None

    def start(self):
        self.task = asyncio.create_task(self.app(self.scope, self.receive, self.send))
        return self

    async def receive(self):
        self.received += 1
        return await self.messages.get()

    async def send(self, message):
        assert "more_body" in message or message["type"] == "http.response.start"
        await self.may_send.wait()
        self.sent.append(message)

    def body(self, *chunks, more=False):
        for number, chunk in enumerate(chunks, 1):
            last = number == len(chunks) and not more
            self.messages.put_nowait(
                {"type": "http.request", "body": chunk, "more_body": not last}
            )
        return self

    def disconnect(self):
        self.messages.put_nowait({"type": "http.disconnect"})
        return self

    @property
    def complete(self):
        return bool(self.sent) and not self.sent[-1].get("more_body", True)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return self.sent[0]["headers"]

    @property
    def chunks(self):
        return [message["body"] for message in self.sent[1:] if message["body"]]

    @property
    def content(self):
        return b"".join(self.chunks)


async def exchange(wsgi_app, *args, body=b"", **kwargs):
    """Make a whole request; return it when it is over."""
    chunks = body if isinstance(body, list) else [body]
    done = Exchange(WSGIMiddleware(wsgi_app), *args, **kwargs).body(*chunks).start()
    await done.task
    return done


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


class Closing:
    """An iterable with a `close` that counts."""

    def __init__(self, iterable):
        self.iterable = iterable
        self.closed = 0

    def __iter__(self):
        return iter(self.iterable)

    def close(self):
        self.closed += 1
        close = getattr(self.iterable, "close", None)
        if close is not None:
            close()


class Waiting:
    """An application that waits somewhere, and notes how it ends."""

    def __init__(self, where):
        self.where = where
        self.steps = []
        self.result = Closing(self.items())

    def __call__(self, environ, start_response):
        if self.where == "application":
            self.wait(lambda: greenio.sleep(1000))
        if self.where == "reading":
            self.wait(environ["wsgi.input"].read)
        start_response("200 OK", [])
        return self.result

    def items(self):
        if self.where in ("item", "sending"):
            yield b"body"
        if self.where == "sending":
            try:
                self.steps.append("waits")
                yield b"held up"
            finally:
                self.steps.append("finally")
        self.wait(lambda: greenio.sleep(1000))

    def wait(self, call):
        try:
            self.steps.append("waits")
            call()
        except BaseException as error:
            self.steps.append(type(error))
            raise
        finally:
            greenio.sleep(0.001)
            self.steps.append("finally")


async def waiting_request(where):
    app = Waiting(where)
    running = Exchange(WSGIMiddleware(app), "POST")
    running.body(b"begin", more=True)
    if where in ("iteration", "application"):
        # With all of the body there, unread.
        running.body(b"end")
    running.start()
    if where == "sending":
        await until_async(lambda: running.content)
        running.may_send.clear()
    await until_async(lambda: app.steps)
    for _ in range(20):
        await asyncio.sleep(0)
    return app, running


def check_ended(app):
    if app.where == "sending":
        # Held up between two items: only `close` reaches into the generator.
        assert app.steps == ["waits", "finally"]
    else:
        assert app.steps == ["waits", greenlet.GreenletExit, "finally"]
    begun = app.where not in ("application", "reading")
    assert app.result.closed == begun
