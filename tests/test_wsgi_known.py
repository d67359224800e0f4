"""Heads of which the halves are known mean what they mean to the parser."""

from __future__ import annotations

import itertools

import pytest

from _http import LAST, PATHS, hello, serving
from greenio import wsgi
from greenio._http.errors import RequestError
from greenio._http.head import HeadParser
from greenio._http.known import _MOST, Heads

LINES = [
    b"GET /",
    b"GET /a?b=c?d",
    b"HEAD /%41%2f",
    b"POST /a",
    b"SWIFT /a",
    b"CONNECT a:1",
    b"OPTIONS *",
    b"GET http://other/x",
    b"GET /a b",
    b"GET /\xff",
    b"GET  /",
    b"G=T /",
    b"",
    b"GET /a\nX: y",
]
RESTS = [
    b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b" HTTP/1.0\r\n\r\n",
    b" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b" HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
    b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    b" HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\nCookie: a\r\nCookie: b\r\n\r\n",
    b" HTTP/1.1\r\n\r\n",
    b" HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b" HTTP/1.2\r\nHost: a\r\n\r\n",
    b" HTTP/1.1\nHost: a\r\n\r\n",
    b"\r\nHost: a\r\n\r\n",
]
ONE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BASE = {"wsgi.version": (1, 0)}


def by_heads(heads, head):
    try:
        environ, facts = heads.read(head, 8192)
    except RequestError as error:
        return str(error)
    for key in ("wsgi.input", "eventlet.input", "eventlet.posthooks"):
        assert environ.pop(key) is None
    return environ, facts.http11, facts.keep_alive, facts.length, facts.expects


def by_parser(head):
    parser = HeadParser()
    environ = dict(BASE)
    try:
        parser.parse(head, environ, 8192)
    except RequestError as error:
        return str(error)
    environ.setdefault("CONTENT_TYPE", "text/plain")
    return environ, parser.http11, parser.keep_alive, parser.length, parser.expects


@pytest.fixture
def heads():
    return Heads(HeadParser(), dict(BASE), {}, True, True)


def test_every_pair_of_halves_means_what_the_parser_says(heads):
    pairs = list(itertools.product(LINES, RESTS))
    served = 0
    # The third time all halves that can be known are.
    for line, rest in pairs + pairs[::-1] + pairs:
        expected = by_parser(line + rest)
        assert by_heads(heads, line + rest) == expected, line + rest
        served += type(expected) is tuple
    assert served > 3 * 5 * 6


def test_a_known_head_is_not_parsed_and_its_environment_is_the_requests_own(heads):
    head = LINES[1] + RESTS[0]
    heads.read(head, 8192)
    first, _ = heads.read(head, 8192)
    assert heads._targets
    assert heads._rests
    first["PATH_INFO"] = first["mine"] = "changed"
    parsed = []
    parser = heads._parser
    parse = parser.parse
    parser.parse = lambda *args: parsed.append(args) or parse(*args)
    second, _ = heads.read(head, 8192)
    assert not parsed
    assert second["PATH_INFO"] == "/a"
    assert "mine" not in second
    heads.read(LINES[0] + RESTS[0], 8192)
    assert len(parsed) == 1


def test_a_limit_on_the_request_line_holds_for_known_ones(heads):
    head = LINES[1] + RESTS[0]
    for _ in range(3):
        heads.read(head, 8192)
    with pytest.raises(RequestError, match="414"):
        heads.read(head, 10)


def test_what_is_kept_is_bounded(heads):
    for number in range(6 * _MOST):
        heads.read(b"GET /%d" % (number // 2) + RESTS[0], 8192)
        heads.read(b"GET / HTTP/1.1\r\nHost: a%d\r\n\r\n" % (number // 2), 8192)
    for _ in range(3):
        heads.read(b"GET /" + b"x" * 5000 + RESTS[0], 8192)
        long = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 5000 + b"\r\n\r\n"
        heads.read(long, 8192)
    for known in (heads._targets, heads._rests):
        assert 0 < len(known) <= _MOST
        assert max(map(len, known)) < 2100


@pytest.mark.parametrize("path", [PATHS["loop"], PATHS["green"]], ids=["loop", "green"])
def test_a_server_that_makes_its_environments_makes_each(path, hub_name, monkeypatch):
    count = itertools.count()

    def get_environ(self):
        return {"wsgi.url_scheme": "http", "test.number": next(count)}

    seen = []

    def app(environ, start_response):
        seen.append(environ["test.number"])
        return hello(environ, start_response)

    class Server(wsgi.Server):
        pass

    Server.get_environ = get_environ
    monkeypatch.setattr("greenio._http.serve.Server", Server)
    with serving(app, **path) as site:
        for _ in range(3):
            assert site.ask(ONE + LAST).statuses == [200] * 2
    assert len(set(seen)) == 6


def test_answers_that_are_equal_but_not_the_same_text_are_told_apart(hub_name):
    values = iter([1, True, 1.0, "1", 1])

    def app(environ, start_response):
        start_response("200 OK", [("X-Value", next(values))])
        return [b"hello"]

    with serving(app) as site:
        answer = site.ask(ONE * 4 + LAST)
    lines = [line for line in answer.raw.split(b"\r\n") if line.startswith(b"X-Value")]
    assert [line[9:] for line in lines] == [b"1", b"True", b"1.0", b"1", b"1"]
