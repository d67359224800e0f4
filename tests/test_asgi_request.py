"""`WSGIMiddleware`: the environment and the body of a request."""

from __future__ import annotations

import asyncio
import contextvars
import io
import sys
import wsgiref.util
import wsgiref.validate

import pytest

import greenio
from _asgi import Exchange, check_ended, exchange, hello, waiting_request
from _support import until_async
from greenio._asgi.request import Request
from greenio._greenthread import going_on
from greenio.asgi import WSGIMiddleware

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


# -- the environment ----------------------------------------------------------------------


def environ_of(run_async, *args, **kwargs):
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        return hello(environ, start_response)

    async def main():
        assert (await exchange(app, *args, **kwargs)).status == 200

    run_async(main)
    return seen


def test_environ(run_async):
    environ = environ_of(
        run_async,
        "PUT",
        "/a",
        query_string=b"x=%20&y",
        http_version="2",
        scheme="https",
        headers=[
            (b"content-type", b"a/b"),
            (b"Content-Length", b"0"),
            (b"x-y", b"\xe9"),
        ],
    )
    stream = environ.pop("wsgi.input")
    assert isinstance(stream, io.BufferedIOBase)
    assert environ.pop("wsgi.errors") is sys.stderr
    assert environ.pop("asgi.scope")["type"] == "http"
    assert environ == {
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a",
        "QUERY_STRING": "x=%20&y",
        "SERVER_NAME": "192.0.2.2",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/2",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "5000",
        "CONTENT_TYPE": "a/b",
        "CONTENT_LENGTH": "0",
        "HTTP_HOST": "example.org",
        "HTTP_X_Y": "\xe9",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    assert wsgiref.util.request_uri(environ) == "https://example.org/a?x=%20&y"


@pytest.mark.parametrize(
    ("root_path", "path", "script_name", "path_info"),
    [
        ("", "/", "", "/"),
        ("", "", "", ""),
        ("/app", "/app/x", "/app", "/x"),
        ("/app", "/app", "/app", ""),
        ("/app", "/app/", "/app", "/"),
        ("/app/", "/app/x", "/app", "/x"),
        ("/app", "/x", "/app", "/x"),
        ("/app", "/apple", "/app", "/apple"),
        ("/\u00e4", "/\u00e4/\u20ac", "/\xc3\xa4", "/\xe2\x82\xac"),
        ("/app", "/app/app/x", "/app", "/app/x"),
    ],
)
def test_paths(run_async, root_path, path, script_name, path_info):
    environ = environ_of(run_async, path=path, root_path=root_path)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)


def test_path_that_is_no_text(run_async):
    environ = environ_of(
        run_async, path="/app/\ufffd/a b", raw_path=b"/app/%ff/a%20b", root_path="/app"
    )
    assert environ["PATH_INFO"] == "/\xff/a b"
    # Rewritten on the way: the raw path is another one.
    environ = environ_of(run_async, path="/\ufffd", raw_path=b"/old/%ff")
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/\ufffd"


def test_headers_that_mean_another_one_are_dropped(run_async):
    environ = environ_of(
        run_async,
        headers=[
            (b"x_user", b"forged"),
            (b"x-user", b"real"),
            (b"content_length", b"5"),
            (b"x_admin", b"forged"),
        ],
    )
    assert environ["HTTP_X_USER"] == "real"
    assert not {"CONTENT_LENGTH", "HTTP_X_ADMIN", "HTTP_CONTENT_LENGTH"} & set(environ)


def test_repeated_headers_are_joined(run_async):
    environ = environ_of(
        run_async,
        headers=[
            (b"accept", b"a/b"),
            (b"accept", b"c/d"),
            (b"cookie", b"a=1"),
            (b"cookie", b"b=2"),
            (b"content-length", b"0"),
            (b"content-length", b"0"),
        ],
    )
    assert environ["HTTP_ACCEPT"] == "a/b,c/d"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["CONTENT_LENGTH"] == "0"


def test_lengths_that_differ(run_async):
    async def main():
        called = []
        headers = [(b"content-length", b"1"), (b"content-length", b"2")]
        done = await exchange(called.append, "POST", headers=headers, body=b"a")
        assert (done.status, done.complete, called) == (400, True, [])

    run_async(main)


@pytest.mark.parametrize("server", [None, ("/run/app.sock", None)])
def test_no_address(run_async, server):
    environ = environ_of(run_async, server=server, client=None, scheme="https")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "443")
    assert "REMOTE_ADDR" not in environ


def test_only_what_the_specification_requires(run_async):
    async def main():
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        running = Exchange(WSGIMiddleware(hello)).body(b"")
        running.scope = scope
        await running.start().task
        assert running.content == b"hello"

    run_async(main)


def test_context_is_the_request_s(run_async):
    def app(environ, start_response):
        start_response("200 OK", [])
        before = variable.get()
        greenio.sleep(0.001)
        variable.set(f"{before} and after")
        return [before.encode()]

    async def main():
        async def one(name):
            variable.set(name)
            request = Exchange(WSGIMiddleware(app)).body(b"")
            await request.app(request.scope, request.receive, request.send)
            return request.content.decode(), variable.get()

        names = [f"request {number}" for number in range(5)]
        assert await asyncio.gather(*map(one, names)) == [
            (name, f"{name} and after") for name in names
        ]

    run_async(main)


# -- the request's body -------------------------------------------------------------------


def reading(run_async, read, body):
    """Return what ``read(stream)`` returns."""
    results = []

    def app(environ, start_response):
        results.append(read(environ["wsgi.input"]))
        return hello(environ, start_response)

    async def main():
        assert (await exchange(app, "POST", body=body)).status == 200

    run_async(main)
    return results[0]


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda stream: stream.read(), b"one\ntwo\n\nthree"),
        (lambda stream: stream.read(None), b"one\ntwo\n\nthree"),
        (lambda stream: [stream.read(5), stream.read(0)], [b"one\nt", b""]),
        (lambda stream: [stream.read(99), stream.read(9)], [b"one\ntwo\n\nthree", b""]),
        (lambda stream: stream.readline(), b"one\n"),
        (lambda stream: [stream.readline(2), stream.readline()], [b"on", b"e\n"]),
        (lambda stream: stream.readlines(), [b"one\n", b"two\n", b"\n", b"three"]),
        (lambda stream: stream.readlines(5), [b"one\n", b"two\n"]),
        (lambda stream: list(stream), [b"one\n", b"two\n", b"\n", b"three"]),
        (lambda stream: [stream.readline(), stream.read(4)], [b"one\n", b"two\n"]),
        (lambda stream: [stream.read(2), stream.readline()], [b"on", b"e\n"]),
        (lambda stream: (stream.read(), stream.readline())[1], b""),
        (lambda stream: (stream.read(), stream.read1(), list(stream))[1:], (b"", [])),
        (
            lambda stream: io.TextIOWrapper(stream, "ascii").read(),
            "one\ntwo\n\nthree",
        ),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        [b"one\ntwo\n\nthree"],
        [b"o", b"ne\nt", b"", b"wo\n", b"\n", b"three", b""],
        [bytes([byte]) for byte in b"one\ntwo\n\nthree"],
    ],
    ids=["whole", "pieces", "bytes"],
)
def test_reading(run_async, read, expected, body):
    assert reading(run_async, read, body) == expected


def test_read1_takes_what_is_there(run_async):
    def read(stream):
        return [stream.read1(2), stream.read1(), stream.read1(0), stream.read1(99)]

    assert reading(run_async, read, [b"abcde", b"fg"]) == [b"ab", b"cde", b"", b"fg"]


def test_reading_waits_and_slows_the_client_down(run_async):
    async def main():
        gate = greenio.Event()
        read = []

        def app(environ, start_response):
            gate.wait()
            for _ in range(8):
                read.append(environ["wsgi.input"].read(size))
            return hello(environ, start_response)

        size = 40_000
        chunks = [b"%d" % number * size for number in range(8)]
        running = Exchange(WSGIMiddleware(app), "POST")
        running.body(*chunks[:7], more=True).start()
        await until_async(lambda: running.received == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        # So much waits for its reader, the rest waits at the client's.
        assert (running.received, read) == (2, [])
        gate.send()
        await until_async(lambda: len(read) == 7)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not running.sent
        running.body(chunks[7])
        await running.task
        assert read == chunks

    run_async(main)


def test_streaming_both_ways(run_async):
    async def main():
        def app(environ, start_response):
            start_response("200 OK", [])
            while chunk := environ["wsgi.input"].read1():
                yield chunk.upper()

        running = Exchange(WSGIMiddleware(app), "POST").start()
        for number, chunk in enumerate([b"one", b"two", b"three"], 1):
            running.body(chunk, more=True)
            await until_async(lambda n=number: len(running.chunks) == n)
        running.body(b"")
        await running.task
        assert running.chunks == [b"ONE", b"TWO", b"THREE"]
        assert running.complete

    run_async(main)


@pytest.mark.parametrize("reads", [True, False])
def test_nothing_is_received_before_a_client_that_expects_is_told(run_async, reads):
    async def main():
        gate = greenio.Event()

        def app(environ, start_response):
            gate.wait()
            assert environ["wsgi.input"].read() == b"body" if reads else True
            return hello(environ, start_response)

        running = Exchange(
            WSGIMiddleware(app), "POST", headers=[(b"expect", b"100-Continue")]
        )
        running.body(b"bo", b"dy").start()
        for _ in range(20):
            await asyncio.sleep(0)
        assert running.received == 0
        gate.send()
        await running.task
        assert running.content == b"hello"
        assert bool(running.received) == reads

    run_async(main)


def test_time_limit_on_reading_loses_nothing(run_async):
    async def main():
        timed_out = []

        def app(environ, start_response):
            stream = environ["wsgi.input"]
            try:
                with greenio.Timeout(0.005):
                    stream.read(10)
            except greenio.Timeout:
                timed_out.append(True)
            start_response("200 OK", [])
            return [stream.read()]

        running = Exchange(WSGIMiddleware(app), "POST")
        running.body(b"one", b"two", more=True).start()
        await until_async(lambda: timed_out)
        running.body(b"three")
        await running.task
        assert running.content == b"onetwothree"

    run_async(main)


def test_reading_in_an_os_thread(run_async):
    """The body can be handed to a real thread, such as one that computes with it."""

    async def main():
        failures = []

        def app(environ, start_response):
            write = start_response("200 OK", [])
            data = greenio.tpool.execute(environ["wsgi.input"].read)
            try:
                greenio.tpool.execute(write, data)
            except RuntimeError as error:
                failures.append(str(error))
            return [data]

        chunks = [bytes([number]) * 30_000 for number in range(10)]
        try:
            running = Exchange(WSGIMiddleware(app), "POST").body(*chunks[:5], more=True)
            running.start()
            await until_async(lambda: running.received == 6)
            running.body(*chunks[5:])
            await running.task
        finally:
            await greenio.run_green(greenio.tpool.killall)
        assert running.content == b"".join(chunks)
        assert "another OS thread" in failures[0]

    run_async(main)


def eager_task_factory(loop, coro, **kwargs):
    # As asyncio's own; uvloop passes more arguments than that one takes.
    return asyncio.Task(coro, loop=loop, **{**kwargs, "eager_start": True})


FACTORIES = [greenio.portal_task_factory]
if sys.version_info >= (3, 12):
    FACTORIES.append(eager_task_factory)


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda each: each.__name__)
def test_other_kinds_of_tasks(run_async, factory):
    async def main():
        asyncio.get_running_loop().set_task_factory(factory)

        def app(environ, start_response):
            body = environ["wsgi.input"].read()
            greenio.sleep(0.001)
            start_response("200 OK", [])
            return iter([body, variable.get().encode()])

        variable.set(" in context")
        request = Exchange(WSGIMiddleware(app), "POST").body(b"the ", b"body")
        await request.start().task
        assert request.content == b"the body in context"
        waiting, gone = await waiting_request("application")
        gone.disconnect()
        await gone.task
        check_ended(waiting)

    run_async(main)


def test_failing_receive_is_the_readers(run_async, caplog):
    async def main():
        failures = []

        def app(environ, start_response):
            for _ in range(2):
                try:
                    environ["wsgi.input"].read()
                except KeyError as error:
                    failures.append(error)
            return hello(environ, start_response)

        running = Exchange(WSGIMiddleware(app), "POST")

        async def receive():
            raise KeyError("receive")

        running.receive = receive
        await running.start().task
        assert running.content == b"hello"
        assert len(failures) == 2

    run_async(main)
    assert "receiving failed" in caplog.text


# -- green threads that are used again -----------------------------------------------------


async def ten_at_once(app):
    """Make ten requests in one turn, each with a value of its own of `variable`."""

    def start(number):
        variable.set(str(number))
        return Exchange(WSGIMiddleware(app)).body(b"").start()

    running = [contextvars.copy_context().run(start, number) for number in range(10)]
    for one in running:
        await one.task
        assert one.content == b"hello"


def test_requests_of_one_turn_share_a_green_thread(run_async, monkeypatch):
    seen = []
    went_on = []

    def spy():
        went_on.append(going_on.go_on())
        return went_on[-1]

    monkeypatch.setattr(greenio._greenthread.thread, "go_on", spy)

    def app(environ, start_response):
        seen.append(variable.get())
        return hello(environ, start_response)

    run_async(lambda: ten_at_once(app))
    assert seen == [str(number) for number in range(10)]
    assert went_on.count(True) == 9


@pytest.mark.parametrize("way", ["kept", "waits"])
def test_requests_that_can_tell_have_green_threads_of_their_own(run_async, way):
    seen = []

    def app(environ, start_response):
        if way == "waits":
            greenio.sleep(0)
        seen.append((greenio.getcurrent(), variable.get()))
        return hello(environ, start_response)

    run_async(lambda: ten_at_once(app))
    assert len({id(thread) for thread, _ in seen}) == 10
    assert sorted(number for _, number in seen) == [str(n) for n in range(10)]


def test_one_that_is_killed_before_it_begins_never_does(run_async):
    async def main():
        seen = []
        exchange = Exchange(seen.append)
        request = Request(seen.append, exchange.scope, exchange.receive, exchange.send)
        request.start()
        request.kill()
        await request.wait_end()
        for _ in range(8):
            await asyncio.sleep(0)
        assert seen == []

    run_async(main)
