"""`WSGIMiddleware`: failures, and the end of the client, the task and the server."""

from __future__ import annotations

import asyncio
import re

import greenlet
import pytest

import greenio
from _asgi import (
    Closing,
    Exchange,
    Waiting,
    check_ended,
    exchange,
    hello,
    waiting_request,
)
from _support import settle, until_async
from greenio.asgi import IncompleteResponseError, WSGIMiddleware

# -- close and failures -------------------------------------------------------------------


def test_close_comes_after_the_response(run_async):
    async def main():
        sent_when_closed = []

        class Result:
            def __iter__(self):
                return iter([b"a", b"b"])

            def close(self):
                greenio.sleep(0.001)
                sent_when_closed.append(list(running.sent))

        def app(environ, start_response):
            start_response("200 OK", [])
            return Result()

        running = Exchange(WSGIMiddleware(app)).body(b"").start()
        await running.task
        assert len(sent_when_closed) == 1
        assert sent_when_closed[0][-1]["more_body"] is False

    run_async(main)


def test_going_away_does_not_disturb_what_follows_the_response(run_async):
    async def main():
        steps = []
        running = Exchange(None).body(b"")

        class Result:
            def __iter__(self):
                return iter([b"body"])

            def close(self):
                assert running.complete
                running.disconnect()
                settle()
                steps.append("closed")

        def app(environ, start_response):
            start_response("200 OK", [])
            return Result()

        running.app = WSGIMiddleware(app)
        await running.start().task
        assert steps == ["closed"]

    run_async(main)


@pytest.mark.parametrize("kind", [KeyError, greenio.Timeout, asyncio.CancelledError])
def test_failure_before_the_response(run_async, caplog, kind):
    def app(environ, start_response):
        start_response("200 OK", [("X-Secret", "1")])
        error = kind()
        error.args = ("the secret",)
        raise error

    async def main():
        done = await exchange(app)
        assert done.status == 500
        assert done.complete
        assert done.content == b"Internal Server Error"
        assert b"x-secret" not in dict(done.headers)
        head = await exchange(app, "HEAD")
        assert (head.status, head.content, head.complete) == (500, b"", True)

    run_async(main)
    assert "GET '/' failed" in caplog.text
    assert "Traceback" in caplog.text


def test_failure_before_the_first_item(run_async, caplog):
    closed = []

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            raise KeyError("early")
            yield b""
        finally:
            closed.append(True)

    async def main():
        assert (await exchange(app)).status == 500

    run_async(main)
    assert closed
    assert "early" in caplog.text


def test_failure_after_the_beginning(run_async, caplog):
    def items():
        yield b"body"
        raise KeyError("late")

    result = Closing(items())

    def app(environ, start_response):
        start_response("200 OK", [])
        return result

    async def main():
        running = Exchange(WSGIMiddleware(app)).body(b"").start()
        with pytest.raises(IncompleteResponseError, match="GET '/'") as caught:
            await running.task
        assert caught.value.__cause__ is None
        assert running.content == b"body"
        assert not running.complete

    run_async(main)
    assert result.closed == 1
    assert "KeyError: 'late'" in caplog.text


def test_failure_of_close(run_async, caplog):
    class Result:
        def __iter__(self):
            return iter([b"body"])

        def close(self):
            raise KeyError("in close")

    def app(environ, start_response):
        start_response("200 OK", [])
        return Result()

    async def main():
        done = await exchange(app)
        assert (done.status, done.content, done.complete) == (200, b"body", True)

    run_async(main)
    assert "in close" in caplog.text


def test_failure_leaves_the_others_alone(run_async, caplog):
    def app(environ, start_response):
        greenio.sleep(0.001)
        if environ["PATH_INFO"] == "/bad":
            raise KeyError("bad")
        return hello(environ, start_response)

    async def main():
        paths = ["/bad", "/good"] * 10
        done = await asyncio.gather(*(exchange(app, path=path) for path in paths))
        assert [each.status for each in done] == [500, 200] * 10

    run_async(main)


# -- the end of the client, the task and the server ---------------------------------------


WHERE = ["application", "reading", "iteration", "item", "sending"]


@pytest.mark.parametrize("where", WHERE)
def test_client_goes_away(run_async, caplog, where):
    async def main():
        app, running = await waiting_request(where)
        running.disconnect()
        await running.task
        check_ended(app)
        if where in ("item", "sending"):
            assert running.content == b"body"
            assert not running.complete
        else:
            # For middleware that counts on a response.
            assert (running.status, running.complete) == (499, True)

    run_async(main)
    assert not caplog.records


@pytest.mark.parametrize("where", WHERE)
def test_task_is_cancelled(run_async, caplog, where):
    async def main():
        app, running = await waiting_request(where)
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.task
        check_ended(app)
        assert not running.complete

    run_async(main)
    assert not caplog.records


@pytest.mark.parametrize("turns", range(5))
def test_cancelled_soon(run_async, turns):
    async def main():
        app = Waiting("application")
        running = Exchange(WSGIMiddleware(app)).body(b"").start()
        for _ in range(turns):
            await asyncio.sleep(0)
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.task
        if app.steps:
            check_ended(app)
        assert bool(app.steps) == (turns > 0)
        assert running.sent == []

    run_async(main)


def test_cancelled_twice_still_waits_for_the_end(run_async):
    async def main():
        app, running = await waiting_request("application")
        for _ in range(3):
            running.task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await running.task
        check_ended(app)

    run_async(main)


def test_going_away_while_another_green_thread_reads(run_async):
    async def main():
        failures = []

        def read(stream):
            try:
                stream.read()
            except OSError as error:
                failures.append(error)

        def app(environ, start_response):
            reader = greenio.spawn(read, environ["wsgi.input"])
            try:
                greenio.sleep(1000)
            finally:
                reader.wait()

        running = Exchange(WSGIMiddleware(app), "POST").body(b"a", more=True).start()
        await until_async(lambda: running.received == 2)
        running.disconnect()
        await running.task
        assert isinstance(failures[0], ConnectionResetError)

    run_async(main)


def test_send_that_says_the_client_has_gone(run_async, caplog):
    async def main():
        ended = []
        running = Exchange(WSGIMiddleware(hello)).body(b"")

        async def send(message):
            if message["type"] == "http.response.body":
                raise OSError("gone")

        running.send = send

        def app(environ, start_response):
            write = start_response("200 OK", [])
            try:
                write(b"a")
            except Exception:
                ended.append("swallowed")
            except BaseException as error:
                ended.append(type(error))
                raise

        running.app = WSGIMiddleware(app)
        await running.start().task
        assert ended == [greenlet.GreenletExit]

    run_async(main)
    assert not caplog.records


def test_application_that_will_not_end(run_async):
    """It swallows the kill, and gets it again with whatever it sends."""

    async def main():
        steps = []

        def app(environ, start_response):
            write = start_response("200 OK", [])
            try:
                greenio.sleep(1000)
            except BaseException:
                steps.append("swallowed")
            try:
                write(b"a")
            except BaseException as error:
                steps.append(type(error))
            return [b"b"]

        running = Exchange(WSGIMiddleware(app)).body(b"").start()
        await until_async(lambda: running.received == 2)
        running.disconnect()
        await running.task
        assert steps == ["swallowed", greenlet.GreenletExit]
        assert running.status == 499

    run_async(main)


class Lifespan:
    """The server's side of a "lifespan" scope."""

    def __init__(self, app):
        self.messages = asyncio.Queue()
        self.sent = []

        async def send(message):
            self.sent.append(message["type"])

        self.task = asyncio.create_task(
            app({"type": "lifespan"}, self.messages.get, send)
        )

    async def say(self, what):
        await self.messages.put({"type": f"lifespan.{what}"})
        await until_async(lambda: f"lifespan.{what}.complete" in self.sent)


def test_lifespan(run_async):
    async def main():
        server = Lifespan(WSGIMiddleware(hello))
        await server.say("startup")
        await server.say("shutdown")
        await server.task
        assert server.sent == [
            "lifespan.startup.complete",
            "lifespan.shutdown.complete",
        ]

    run_async(main)


def test_shutdown_waits_for_requests(run_async):
    async def main():
        gate = greenio.Event()

        def app(environ, start_response):
            gate.wait()
            return hello(environ, start_response)

        middleware = WSGIMiddleware(app, shutdown_timeout=1000)
        server = Lifespan(middleware)
        await server.say("startup")
        running = [Exchange(middleware).body(b"").start() for _ in range(3)]
        await until_async(lambda: all(each.received == 2 for each in running))
        server.messages.put_nowait({"type": "lifespan.shutdown"})
        for _ in range(20):
            await asyncio.sleep(0)
        assert not server.task.done()
        gate.send()
        await server.task
        await asyncio.gather(*(each.task for each in running))
        assert [each.content for each in running] == [b"hello"] * 3

    run_async(main)


def test_shutdown_kills_what_takes_too_long(run_async):
    async def main():
        early, late = Waiting("application"), Waiting("item")
        middleware = WSGIMiddleware(
            lambda environ, start: (late if environ["PATH_INFO"] == "/late" else early)(
                environ, start
            ),
            shutdown_timeout=0.01,
        )
        first = Exchange(middleware).body(b"").start()
        second = Exchange(middleware, path="/late").body(b"").start()
        await until_async(lambda: early.steps and late.steps)
        await middleware.shutdown()
        await first.task
        assert (first.status, first.complete) == (503, True)
        with pytest.raises(IncompleteResponseError):
            await second.task
        check_ended(early)
        check_ended(late)

    run_async(main)


def test_shutdown_does_not_wait_for_ever(run_async, caplog, monkeypatch):
    monkeypatch.setattr("greenio._kernel.shutdown._timeout", 0.01)

    async def main():
        gate = greenio.Event()

        def app(environ, start_response):
            try:
                greenio.sleep(1000)
            finally:
                gate.wait()

        middleware = WSGIMiddleware(app, shutdown_timeout=0)
        running = Exchange(middleware).body(b"").start()
        await until_async(lambda: running.received == 2)
        await middleware.shutdown()
        assert not running.task.done()
        assert "1 requests" in repr(middleware)
        gate.send()
        await running.task

    run_async(main)
    assert re.search(r"Request GET '/'.* still runs", caplog.text)


def test_websockets_are_refused(run_async):
    async def main():
        sent = []

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message["type"])

        called = []
        await WSGIMiddleware(called.append)({"type": "websocket"}, receive, send)
        assert (sent, called) == (["websocket.close"], [])

    run_async(main)


def test_bad_use(run_async):
    with pytest.raises(TypeError, match="a WSGI application"):
        WSGIMiddleware(None)

    async def main():
        with pytest.raises(ValueError, match="'mail'"):
            await WSGIMiddleware(hello)({"type": "mail"}, None, None)

    run_async(main)
