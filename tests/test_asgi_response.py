"""`WSGIMiddleware`: the response that a client gets."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import wsgiref.util
import wsgiref.validate

import pytest

import greenio
from _asgi import Closing, Exchange, exchange, hello
from _support import settle_async, until_async
from greenio.asgi import IncompleteResponseError, WSGIMiddleware


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
            await settle_async()
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


# -- start_response -----------------------------------------------------------------------


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


# -- the request's body -------------------------------------------------------------------


# -- many at once -------------------------------------------------------------------------


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


# -- in one turn -------------------------------------------------------------------------


def test_who_answers_at_once_without_reading_receives_nothing(run_async):
    async def main():
        request = Exchange(WSGIMiddleware(hello)).start()
        await request.task
        assert request.sent[-1] == {
            "type": "http.response.body",
            "body": b"hello",
            "more_body": False,
        }
        assert request.received == 0

    run_async(main)


def test_close_comes_after_what_was_sent_last(run_async):
    sent_before_close = []

    class Answer(list):
        def close(self):
            sent_before_close.append(list(request.sent))

    def app(environ, start_response):
        start_response("200 OK", [])
        return Answer([b"hello"])

    request = Exchange(WSGIMiddleware(app))

    async def main():
        await request.start().task
        (before,) = sent_before_close
        assert before == request.sent
        assert before[-1]["body"] == b"hello"

    run_async(main)


def test_what_send_raises_for_the_last_part_is_logged(run_async, caplog):
    async def main():
        request = Exchange(WSGIMiddleware(hello))

        async def send(message):
            raise KeyError("no room")

        await request.app(request.scope, request.receive, send)

    run_async(main)
    (record,) = caplog.records
    assert record.exc_info[0] is KeyError
