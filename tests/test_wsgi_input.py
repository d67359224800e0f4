"""What an application of `greenio.wsgi` reads, and says of it: `wsgi.Input`."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from _http import PATHS, hello, serving
from greenio import wsgi

LINES = (
    b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 18\r\n\r\n"
    b"one\ntwo\nthree\nfour"
)


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


def seen_by(read, raw, path):
    """What a function makes of the input of a request, and the answers."""
    seen = []

    def app(environ, start_response):
        try:
            seen.append(read(environ["wsgi.input"]))
        except Exception as error:
            seen.append(error)
        return hello(environ, start_response)

    with serving(app, **path) as site:
        answers = site.ask(raw)
    (result,) = seen
    return result, answers.statuses


def test_as_many_lines_as_make_up_a_hint(path, hub_name):
    result, statuses = seen_by(lambda i: (i.readlines(5), i.readlines()), LINES, path)
    assert result == ([b"one\n", b"two\n"], [b"three\n", b"four"])
    assert statuses == [200]


def test_the_rest_may_be_discarded(path, hub_name):
    def read(body):
        first = body.read(3)
        body.discard()
        return first, body.read(), body.finished()

    assert seen_by(read, LINES, path) == ((b"one", b"", True), [200])


def test_a_client_that_waits_is_not_told_to_send_what_is_discarded(path, hub_name):
    head = LINES.partition(b"\r\n\r\n")[0] + b"\r\nExpect: 100-continue\r\n\r\n"
    assert seen_by(lambda body: body.discard(), head, path) == (None, [200])


def test_100_continue_is_for_those_who_have_asked(path, hub_name):
    error, statuses = seen_by(
        lambda body: body.send_hundred_continue_response(), LINES, path
    )
    assert isinstance(error, RuntimeError)
    assert "should_send_hundred_continue tells" in str(error)
    assert statuses == [200]


@pytest.mark.parametrize("error", [True, False], ids=["exc_info", "without"])
def test_an_answer_that_has_begun_is_not_begun_again(error, path, hub_name):
    seen = []

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "2")])(b"ok")
        try:
            try:
                raise LookupError("too late")
            except LookupError:
                details = (sys.exc_info(),) if error else ()
                start_response("500 Broken", [], *details)
        except (LookupError, AssertionError) as exc:
            seen.append(type(exc))
        return []

    raw = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with serving(app, **path) as site:
        answers = site.ask(raw)
    assert (answers.statuses, answers.body) == ([200], b"ok")
    assert seen == [LookupError if error else AssertionError]


@pytest.mark.parametrize("flushes", [True, False])
def test_a_log_is_flushed_if_it_can_be(flushes):
    done = []
    log = SimpleNamespace(write=done.append)
    if flushes:
        log.flush = lambda: done.append("flushed")
    logger = wsgi.LoggerFileWrapper(log, False)
    logger.info("%s lines", 2)
    logger.debug("not wanted")
    logger.flush()
    assert done == ["2 lines\n", *(["flushed"] if flushes else [])]


# -- chunks that are none ---------------------------------------------------------------


def test_an_application_is_told_of_a_wrong_chunk_by_a_name_of_eventlets(path, hub_name):
    caught = []

    def app(environ, start_response):
        body = environ["wsgi.input"]
        first = body.read(3)
        try:
            body.read()
        except wsgi.ChunkReadError as error:
            caught.append((first, isinstance(error, ValueError)))
        start_response("400 Bad Request", [])
        return [b"I saw it"]

    raw = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(app, **path) as site:
        answers = site.ask(raw + b"3\r\nabc\r\nno number\r\n")
    assert answers.statuses == [400]
    assert b"I saw it" in answers.raw
    assert caught == [(b"abc", True)]


# -- answers that are seldom given ------------------------------------------------------


def answered(result, path, *, status="200 OK", headers=(), method=b"GET", first=None):
    """What a client gets if an application returns this, having written `first`."""

    def app(environ, start_response):
        write = start_response(status, list(headers))
        if first is not None:
            write(first)
        return result(environ)

    raw = method + b" / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with serving(app, **path) as site:
        return site.ask(raw)


def test_an_answer_that_changes_the_protocol(path, hub_name):
    headers = [("Connection", "upgrade"), ("Upgrade", "x")]
    answers = answered(
        lambda _: [], path, status="101 Switching Protocols", headers=headers
    )
    assert answers.statuses == [101]
    assert answers.headers["connection"] == "upgrade"
    assert "content-length" not in answers.headers


def test_an_answer_without_a_body_may_say_how_long_it_would_be(path, hub_name):
    headers = [("Content-Length", "5")]
    answers = answered(lambda _: [], path, status="304 Not Modified", headers=headers)
    assert (answers.statuses, answers.body) == ([304], b"")
    assert answers.headers["content-length"] == "5"


@pytest.mark.parametrize("result", [lambda _: [], lambda _: iter([]), lambda _: [b"x"]])
def test_head_of_what_has_no_length(path, hub_name, result):
    answers = answered(result, path, method=b"HEAD")
    assert (answers.statuses, answers.body) == ([200], b"")


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("first", [None, b"first "])
def test_a_file(path, hub_name, tmp_path, method, first):
    file = tmp_path / "file"
    file.write_bytes(b"of a file")

    def result(environ):
        return environ["wsgi.file_wrapper"](file.open("rb"))

    answers = answered(result, path, method=method, first=first)
    assert answers.statuses == [200]
    body = answers.body
    if method == b"HEAD":
        assert body == b""
    elif first is None:
        assert body == b"of a file"
    else:
        assert b"first " in body
        assert b"of a file" in body


def test_pieces_that_are_less_than_was_said(path, hub_name):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "5")])
        return iter([b"ab", b"", b"c"])

    with serving(app, **path) as site:
        answers = site.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answers.body == b"abc"
    assert "2 bytes less than its Content-Length" in site.log.text


def test_what_is_written_has_to_be_bytes(path, hub_name):
    seen = []

    def app(environ, start_response):
        write = start_response("200 OK", [])
        try:
            write("text")
        except TypeError as error:
            seen.append(error)
        write(bytearray(b"octets"))
        return []

    with serving(app, **path) as site:
        answers = site.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"octets" in answers.body
    assert len(seen) == 1
