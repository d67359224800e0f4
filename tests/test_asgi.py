"""`WSGIMiddleware`, called as a server would call it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import logging
import re
import sys
import wsgiref.util
import wsgiref.validate

import greenlet
import pytest

import greenio
from _support import until_async
from greenio.asgi import IncompleteResponseError, WSGIMiddleware

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


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


# -- the response -----------------------------------------------------------------------


def test_simple_response(run_async):
    async def main():
        done = await exchange(hello)
        assert done.status == 200
        assert done.headers == [
            (b"content-type", b"text/plain"),
            (b"content-length", b"5"),
        ]
        assert done.content == b"hello"
        assert done.complete

    run_async(main)


def test_validated(run_async):
    """What wsgiref's validator finds wrong raises AssertionError."""

    @wsgiref.validate.validator
    def app(environ, start_response):
        environ["wsgi.errors"].write("")
        environ["wsgi.errors"].flush()
        stream = environ["wsgi.input"]
        seen = [stream.read(3), stream.readline(), stream.readline(2)]
        seen += stream.readlines(1)
        seen += list(stream)
        write = start_response(
            "201 Created", [("Content-Type", "text/plain"), ("Set-Cookie", "a=b")]
        )
        write(b"written ")
        return iter([b"|".join(seen)])

    async def main():
        done = await exchange(
            app,
            "POST",
            "/a/b",
            headers=[
                (b"content-type", b"text/plain"),
                (b"content-length", b"20"),
                (b"x-one", b"1"),
            ],
            root_path="/a",
            body=[b"abc", b"de\nf", b"ghi\nj", b"kl\nmn\no", b"p"],
        )
        assert done.status == 201
        assert done.content == b"written abc|de\n|fg|hi\n|jkl\n|mn\n|op"

    run_async(main)


def test_chunks_are_sent_as_they_come(run_async):
    async def main():
        gates = [greenio.Event() for _ in range(2)]

        def app(environ, start_response):
            start_response("200 OK", [])
            for gate in gates:
                gate.wait()
                yield b"chunk"

        running = Exchange(WSGIMiddleware(app)).body(b"").start()
        for number, gate in enumerate(gates):
            await asyncio.sleep(0.001)
            assert len(running.chunks) == number
            gate.send()
            await until_async(lambda n=number: len(running.chunks) == n + 1)
        await running.task
        assert running.complete
        assert b"content-length" not in dict(running.headers)

    run_async(main)


def test_slow_client_slows_the_application_down(run_async):
    async def main():
        made = []

        def app(environ, start_response):
            start_response("200 OK", [])
            for number in range(5):
                made.append(number)
                yield b"chunk"

        running = Exchange(WSGIMiddleware(app)).body(b"")
        running.may_send.clear()
        running.start()
        await until_async(lambda: made)
        for _ in range(20):
            await asyncio.sleep(0)
        assert made == [0]
        running.may_send.set()
        await running.task
        assert made == [0, 1, 2, 3, 4]
        assert len(running.chunks) == 5

    run_async(main)


def test_write_sends_at_once(run_async):
    async def main():
        gate = greenio.Event()

        def app(environ, start_response):
            write = start_response("200 OK", [])
            write(b"first ")
            gate.wait()
            write(b"second ")
            return [b"third"]

        running = Exchange(WSGIMiddleware(app)).body(b"").start()
        await until_async(lambda: running.content == b"first ")
        gate.send()
        await running.task
        assert running.content == b"first second third"
        assert b"content-length" not in dict(running.headers)

    run_async(main)


def test_write_after_the_end(run_async):
    writes = []

    def app(environ, start_response):
        writes.append(start_response("200 OK", []))
        return []

    async def main():
        done = await exchange(app)
        assert done.complete
        with pytest.raises(RuntimeError, match="after the end"):
            writes[0](b"more")

    run_async(main)


@pytest.mark.parametrize(
    ("result", "length"),
    [
        ([], b"0"),
        ([b""], b"0"),
        ([b"abc"], b"3"),
        ((b"abc",), b"3"),
        ([b"a"] * 3, None),
    ],
    ids=["nothing", "empty", "one", "tuple", "several"],
)
def test_length_is_given_if_it_is_known(run_async, result, length):
    def app(environ, start_response):
        start_response("200 OK", [])
        return result

    async def main():
        done = await exchange(app)
        assert dict(done.headers).get(b"content-length") == length
        assert done.content == b"".join(result)
        assert done.complete
        if length is not None:
            assert len(done.sent) == 2

    run_async(main)


def test_length_of_the_application_is_kept(run_async):
    async def main():
        ended = []

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "6")])
            yield b"abc"
            yield b"def"
            ended.append("the code after the last item")

        done = await exchange(app)
        assert done.headers == [(b"content-length", b"6")]
        assert done.chunks == [b"abc", b"def"]
        assert done.complete
        assert ended

    run_async(main)


def test_more_than_the_length_is_dropped(run_async, caplog):
    result = Closing([b"abc", b"def", b"ghi"])

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "5")])
        return result

    async def main():
        done = await exchange(app)
        assert done.content == b"abcde"
        assert done.complete
        assert sum(not message.get("more_body", True) for message in done.sent) == 1

    run_async(main)
    assert "longer than the 5 bytes" in caplog.text
    assert result.closed == 1


def test_writing_more_than_the_length(run_async):
    failures = []

    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Length", "2")])
        write(b"ab")
        try:
            write(b"c")
        except ValueError as error:
            failures.append(str(error))
        return []

    async def main():
        done = await exchange(app)
        assert done.content == b"ab"
        assert done.complete

    run_async(main)
    assert "more than the 2 bytes" in failures[0]


@pytest.mark.parametrize("chunks", [[b"abc"], []], ids=["some", "none"])
def test_less_than_the_length(run_async, caplog, chunks):
    result = Closing(chunks)

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "5")])
        return result

    async def main():
        running = Exchange(WSGIMiddleware(app)).body(b"").start()
        if chunks:
            with pytest.raises(IncompleteResponseError):
                await running.task
            assert not running.complete
        else:
            await running.task
            assert running.status == 500
            assert running.complete

    run_async(main)
    assert "Content-Length" in caplog.text
    assert result.closed == 1


@pytest.mark.parametrize("length", [None, "1000"])
def test_head_sends_no_body_and_ends(run_async, length):
    def forever():
        while True:
            yield b"chunk"

    result = Closing(forever())

    def app(environ, start_response):
        headers = [] if length is None else [("Content-Length", length)]
        write = start_response("200 OK", headers)
        write(b"written")
        return result

    async def main():
        done = await exchange(app, "HEAD")
        assert done.headers == (
            [] if length is None else [(b"content-length", b"1000")]
        )
        assert done.content == b""
        assert done.complete
        assert len(done.sent) == 2

    run_async(main)
    assert result.closed == 1


def test_head_does_not_invent_a_length(run_async):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [b""]

    async def main():
        done = await exchange(app, "HEAD")
        assert done.headers == []
        assert done.complete

    run_async(main)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_responses_without_body(run_async, status):
    def app(environ, start_response):
        headers = [("Content-Length", "7")] if status.startswith("304") else []
        start_response(status, headers)
        return [b"dropped"]

    async def main():
        done = await exchange(app)
        assert done.status == int(status[:3])
        assert (b"content-length" in dict(done.headers)) == (done.status == 304)
        assert done.content == b""
        assert done.complete

    run_async(main)


# -- start_response ---------------------------------------------------------------------


def test_start_response_called_late(run_async):
    def app(environ, start_response):
        yield b""
        greenio.sleep(0)
        start_response("202 Accepted", [])
        yield b""
        yield b"body"

    async def main():
        done = await exchange(app)
        assert (done.status, done.content) == (202, b"body")

    run_async(main)


def test_start_response_never_called(run_async, caplog):
    result = Closing([b"body"])

    async def main():
        done = await exchange(lambda environ, start_response: result)
        assert (done.status, done.complete) == (500, True)

    run_async(main)
    assert "did not call start_response()" in caplog.text
    assert result.closed == 1


def test_start_response_twice(run_async, caplog):
    def app(environ, start_response):
        start_response("200 OK", [])
        start_response("404 Not Found", [])
        return [b"body"]

    async def main():
        assert (await exchange(app)).status == 500

    run_async(main)
    assert "pass exc_info" in caplog.text


def test_exc_info_replaces_what_was_not_sent(run_async):
    def app(environ, start_response):
        start_response("200 OK", [("X-First", "1")])
        try:
            raise KeyError("failed")
        except KeyError:
            start_response("503 Later", [("X-Second", "2")], sys.exc_info())
        return [b"sorry"]

    async def main():
        done = await exchange(app)
        assert done.status == 503
        assert dict(done.headers)[b"x-second"] == b"2"
        assert b"x-first" not in dict(done.headers)
        assert done.content == b"sorry"

    run_async(main)


def test_exc_info_is_raised_when_the_response_has_begun(run_async, caplog):
    raised = []

    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"body"
        try:
            raise KeyError("failed")
        except KeyError:
            try:
                start_response("503 Later", [], sys.exc_info())
            except KeyError as error:
                raised.append(error)
                raise

    async def main():
        running = Exchange(WSGIMiddleware(app)).body(b"").start()
        with pytest.raises(IncompleteResponseError):
            await running.task
        assert running.status == 200
        assert running.content == b"body"
        assert not running.complete

    run_async(main)
    assert len(raised) == 1
    assert "KeyError: 'failed'" in caplog.text


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (200, [], "a status such as"),
        ("OK", [], "three digits"),
        ("100 Continue", [], "final status"),
        ("200 OK\r\nX-Evil: 1", [], "three digits"),
        ("200 OK", (("A", "b"),), "a list"),
        ("200 OK", [("A",)], "a pair of strings"),
        ("200 OK", [("A", 1)], "a pair of strings"),
        ("200 OK", [("A B", "c")], "the name of a header"),
        ("200 OK", [("A\n", "c")], "the name of a header"),
        ("200 OK", [("", "c")], "the name of a header"),
        ("200 OK", [("A", "b\r\nX-Evil: 1")], "control characters"),
        ("200 OK", [("A", "b\0")], "control characters"),
        ("200 OK", [("A", "\u20ac")], "no byte stands for"),
        ("200 OK", [("Connection", "close")], "PEP 3333"),
        ("200 OK", [("transfer-encoding", "chunked")], "PEP 3333"),
        ("200 OK", [("Content-Length", "-1")], "a number of bytes"),
        ("200 OK", [("Content-Length", "1_0")], "a number of bytes"),
        ("200 OK", [("Content-Length", "1"), ("Content-Length", "2")], "two lengths"),
    ],
)
def test_what_start_response_refuses(run_async, caplog, status, headers, message):
    refused = []

    def app(environ, start_response):
        try:
            start_response(status, headers)
        except (TypeError, ValueError) as error:
            refused.append(str(error))
            raise
        return [b"body"]

    async def main():
        done = await exchange(app)
        assert (done.status, done.complete) == (500, True)

    run_async(main)
    assert message in refused[0]


def test_headers_are_bytes_in_lower_case(run_async):
    def app(environ, start_response):
        start_response(
            "200 OK",
            [("X-Name", "caf\xe9"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
        )
        return [b"a", b"b"]

    async def main():
        assert (await exchange(app)).headers == [
            (b"x-name", b"caf\xe9"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
        ]

    run_async(main)


@pytest.mark.parametrize(
    ("result", "hint"),
    [(["text"], "encode text"), (b"text", "a list with one"), ([None], "not None")],
)
def test_what_an_application_cannot_return(run_async, caplog, result, hint):
    def app(environ, start_response):
        start_response("200 OK", [])
        return result

    async def main():
        assert (await exchange(app)).status == 500

    run_async(main)
    assert hint in caplog.text


# -- close and failures -----------------------------------------------------------------


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
                greenio.sleep(0.005)
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


# -- the environment --------------------------------------------------------------------


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


# -- the request's body -----------------------------------------------------------------


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


# -- the end of the client, the task and the server -------------------------------------


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


WHERE = ["application", "reading", "iteration", "item", "sending"]


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
    monkeypatch.setattr("greenio._asgi.middleware.SHUTDOWN_TIMEOUT", 0.01)

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


# -- many at once -----------------------------------------------------------------------


def test_a_thousand_wait_at_once(run_async):
    async def main():
        inside = 0
        all_there = greenio.Event()

        def app(environ, start_response):
            nonlocal inside
            inside += 1
            if inside == 1000:
                all_there.send()
            all_there.wait()
            return hello(environ, start_response)

        middleware = WSGIMiddleware(app)
        running = [Exchange(middleware).body(b"").start() for _ in range(1000)]
        await asyncio.gather(*(each.task for each in running))
        assert all(each.content == b"hello" for each in running)

    run_async(main)


def test_requests_leave_nothing_behind(run_async, caplog):
    async def main():
        def app(environ, start_response):
            if environ["PATH_INFO"] == "/fail":
                raise KeyError("failed")
            if environ["PATH_INFO"] == "/wait":
                greenio.sleep(1000)
            return hello(environ, start_response)

        async def round_of_all():
            await exchange(app)
            await exchange(app, path="/fail")
            gone = Exchange(WSGIMiddleware(app), path="/wait").body(b"").start()
            await until_async(lambda: gone.received == 2)
            await gone.disconnect().task

        def count():
            kinds = ("Request", "Body", "BodyFile", "GreenThread")
            return sum(type(each).__name__ in kinds for each in gc.get_objects())

        caplog.set_level(logging.CRITICAL)
        await round_of_all()
        gc.collect()
        gc.disable()
        try:
            before = count()
            for _ in range(10):
                await round_of_all()
            assert count() - before < 5
        finally:
            gc.enable()

    run_async(main)
