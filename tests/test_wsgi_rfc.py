"""What RFC 9110 and 9112 ask of a server beyond refusing, as raw bytes on each path."""

from __future__ import annotations

import contextlib
import ssl

import pytest

import greenio
from _http import PATHS, Answers, echo, hello, read_all, serving
from greenio._http.answer import AnswerHead

LAST = b"Connection: close\r\n\r\n"
HOSTS = [
    *("a", "a.b:8000", "my_app:80", "127.0.0.1:1", "[::1]", "[fe80::1%25eth0]:80"),
    *("a:", "", "xn--bcher-kva.example", "a%20b", "sub-domain.example.", "a,b"),
]


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


def environ_of(raw, path):
    """The environment of a request, which is answered with 200, and its body."""
    seen = {}

    def app(environ, start_response):
        seen.update(environ, body=environ["wsgi.input"].read())
        return hello(environ, start_response)

    with serving(app, **path) as site:
        assert site.ask(raw).statuses == [200]
    return seen


def test_hosts_that_there_can_be(path, hub_name):
    for host in HOSTS:
        raw = b"GET / HTTP/1.1\r\nHost: %b\r\n" % host.encode() + LAST
        assert environ_of(raw, path)["HTTP_HOST"] == host


def test_white_space_around_a_value_is_not_of_it(path, hub_name):
    head = b"POST / HTTP/1.1\r\nHost: \t a \t\r\nX-A:b\t \r\nX-B: \r\nX-C: c  d \r\n"
    seen = environ_of(head + b"Content-Length: 5 \t\r\n" + LAST + b"hello", path)
    assert seen["body"] == b"hello"
    names = ("HTTP_HOST", "HTTP_X_A", "HTTP_X_B", "HTTP_X_C", "CONTENT_LENGTH")
    assert [seen[name] for name in names] == ["a", "b", "", "c  d", "5"]
    assert ("X-A", "b") in [
        (name, value.strip()) for name, value in seen["headers_raw"]
    ]
    body = b"Transfer-Encoding: \tchunked \r\n" + LAST + b"5\r\nhello\r\n0\r\n\r\n"
    assert environ_of(head + body, path)["body"] == b"hello"


def test_fields_that_are_repeated_are_joined_in_order(path, hub_name):
    seen = environ_of(
        b"GET / HTTP/1.1\r\nhOST: a\r\nX-A: 1\r\nCookie: a=1\r\nx-a: 2\r\n"
        b"COOKIE: b=2\r\nX-B: \xff\r\n" + LAST,
        path,
    )
    names = ("HTTP_HOST", "HTTP_X_A", "HTTP_COOKIE", "HTTP_X_B")
    assert [seen[name] for name in names] == ["a", "1,2", "a=1; b=2", "\xff"]


def test_trailers_do_not_pass_for_headers(path, hub_name):
    seen = environ_of(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n"
        + LAST
        + b"1\r\nx\r\n0\r\nX-A: 2\r\nHost: b\r\nX-New: 3\r\n\r\n",
        path,
    )
    assert seen["body"] == b"x"
    assert (seen["HTTP_HOST"], seen["HTTP_X_A"]) == ("a", "1")
    assert "HTTP_X_NEW" not in seen


def test_a_client_of_1_0_gets_no_100_continue(path, hub_name):
    head = b"POST / HTTP/1.%d\r\nHost: a\r\nContent-Length: 1\r\n"
    for minor in (0, 1):
        raw = head % minor + b"Expect: 100-continue\r\n" + LAST + b"x"
        with serving(echo, **path) as site:
            answers = site.ask(raw)
        assert answers.statuses == ([200] if minor == 0 else [100, 200])


def test_nothing_follows_a_request_that_says_close(path, hub_name):
    with serving(hello, **path) as site:
        answers = site.ask(
            b"GET /1 HTTP/1.1\r\nHost: a\r\n"
            + LAST
            + b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
        )
    assert site.seen == ["GET /1"]
    assert answers.statuses == [200]
    assert answers.headers["connection"] == "close"


def test_205_has_no_content_and_says_so(path, hub_name):
    body = b""

    def app(environ, start_response):
        start_response("205 Reset Content", [("Content-Length", f"{len(body)}")])
        return [body]

    raw = b"GET / HTTP/1.1\r\nHost: a\r\n"
    with serving(app, **path) as site:
        answers = site.ask(raw + b"\r\n" + raw + LAST)
        assert answers.statuses == [205, 205]
        assert answers.raw.count(b"\r\nContent-Length: 0\r\n") == 2
        body = b"body"
        answers = site.ask(raw + b"\r\n" + raw + LAST)
        assert answers.statuses == [205, 205]
        assert answers.raw.count(b"\r\nContent-Length: 0\r\n") == 2
        assert b"body" not in answers.raw
    assert "a body where there is none" in site.log.text


@pytest.mark.parametrize(
    "status", ["100 Continue", "102 Processing", "103 Early Hints"]
)
def test_an_answer_has_a_final_status(status, path, hub_name):
    raised = []

    def app(environ, start_response):
        try:
            start_response(status, [])
        except ValueError as exc:
            raised.append(str(exc))
            raise
        return []

    with serving(app, **path) as site:
        assert site.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + LAST).statuses == [500]
    assert len(raised) == 1
    assert "final" in raised[0]


ENDS = {
    "answered": b"GET / HTTP/1.1\r\nHost: a\r\n" + LAST,
    "1.0": b"GET /stream HTTP/1.0\r\n\r\n",
    "refused": b"nonsense\r\n\r\n",
    "idle": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "failed": b"GET /fail HTTP/1.1\r\nHost: a\r\n\r\n",
    "failed 1.0": b"GET /fail HTTP/1.0\r\n\r\n",
}


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_connection_by_tls_is_said(end, path, certificates, hub_name):
    """So that nobody can cut an answer short (RFC 9112, 9.8)."""

    def app(environ, start_response):
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/fail":
            return iter([b"x" * 5000, None])
        return iter([b"hello"])

    listener = certificates.server_context().wrap_socket(
        greenio.listen(("127.0.0.1", 0)), server_side=True
    )
    with serving(app, listener, idle_timeout=0.1, **path) as site:
        client = certificates.client_context().wrap_socket(
            greenio.connect(site.address),
            server_hostname="server.test",
            # Then it raises where the end was not said.
            suppress_ragged_eofs=False,
        )
        with client:
            client.settimeout(20)
            client.sendall(ENDS[end])
            if end.startswith("failed"):
                # Nor is one that broke off to pass for a whole one.
                with pytest.raises(ssl.SSLEOFError):
                    read_all(client)
                return
            answers = Answers(read_all(client))
    if end in ("answered", "1.0", "idle"):
        assert answers.body.count(b"hello") == 1


def test_hints_that_come_before_an_answer_have_heads_too():
    head = AnswerHead("103 Early Hints", [("Link", "</a.css>")], capitalize=False)
    assert head.lines == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>"


@pytest.mark.parametrize(
    ("begin", "status"),
    [
        (b"GET /" + b"a" * 9000, 414),
        (b"PURGE /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 12000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 9000 + b"\r\n", None),
    ],
    ids=["line", "line of another method", "headers", "header"],
)
def test_a_head_without_end_is_refused_before_its_end(begin, status, path, hub_name):
    with serving(hello, **path) as site, site.connect() as sock:
        for start in range(0, len(begin), 1000):
            try:
                sock.sendall(begin[start : start + 1000])
            except ConnectionError:
                break
            greenio.sleep(0)
        if status is None:
            sock.sendall(LAST)
            status = 431
        data = b""
        with contextlib.suppress(ConnectionError):
            data = sock.recv(1000)
        assert data.startswith(b"HTTP/1.1 %d " % status)
    assert site.seen == []
