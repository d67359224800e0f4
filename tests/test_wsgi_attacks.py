"""What a server must refuse, as raw bytes, on each path that reads requests.

Each attack is followed by a second request in the same bytes: the application must not
see it, and the connection must end.
"""

from __future__ import annotations

import pytest

import greenio
from _http import PATHS, RestingPath, echo, read_all, serving
from greenio import wsgi

HOST = b"Host: a\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def get(*headers: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return line + b"\r\n" + HOST + b"".join(h + b"\r\n" for h in headers) + b"\r\n"


def post(*headers: bytes, line: bytes = b"POST / HTTP/1.1") -> bytes:
    return get(*headers, line=line)


CHUNKED = b"Transfer-Encoding: chunked"

# Refused before the application is called: the name, the bytes, the status.
HEADS = {
    "length-and-chunked": (post(b"Content-Length: 5", CHUNKED) + b"0\r\n\r\n", 400),
    "chunked-and-length": (post(CHUNKED, b"Content-Length: 5") + b"0\r\n\r\n", 400),
    "lengths-differ": (
        post(b"Content-Length: 5", b"Content-Length: 6") + b"hello",
        400,
    ),
    "lengths-repeated": (
        post(b"Content-Length: 5", b"Content-Length: 5") + b"hello",
        400,
    ),
    "length-list": (post(b"Content-Length: 5, 5") + b"hello", 400),
    "length-plus": (post(b"Content-Length: +4") + b"hell", 400),
    "length-minus": (post(b"Content-Length: -4") + b"hell", 400),
    "length-underscore": (post(b"Content-Length: 0_4") + b"hell", 400),
    "length-hex": (post(b"Content-Length: 0x4") + b"hell", 400),
    "length-empty": (post(b"Content-Length: "), 400),
    "length-huge": (post(b"Content-Length: 99999999999999999999999"), 400),
    "length-unicode": (post("Content-Length: ٤".encode()) + b"hell", 400),
    "coding-x": (post(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n", 501),
    "coding-gzip": (post(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 501),
    "coding-identity": (post(b"Transfer-Encoding: identity"), 501),
    "coding-twice": (post(CHUNKED, CHUNKED) + b"0\r\n\r\n", 501),
    "coding-tab": (post(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n", 400),
    "coding-quoted": (post(b'Transfer-Encoding: "chunked"') + b"0\r\n\r\n", 501),
    "coding-empty": (post(b"Transfer-Encoding:") + b"0\r\n\r\n", 501),
    "coding-list": (post(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n", 501),
    "coding-parameter": (post(b"Transfer-Encoding: chunked;a=b"), 501),
    "coding-comma": (post(b"Transfer-Encoding: chunked,"), 501),
    "coding-identity-and-chunked": (
        post(b"Transfer-Encoding: identity", CHUNKED) + b"0\r\n\r\n",
        501,
    ),
    "coding-x-and-length": (
        post(b"Transfer-Encoding: xchunked", b"Content-Length: 5") + b"0\r\n\r\n",
        400,
    ),
    "coding-twice-and-length": (
        post(CHUNKED, CHUNKED, b"Content-Length: 5") + b"0\r\n\r\n",
        400,
    ),
    "coding-x-in-1.0": (
        post(b"Transfer-Encoding: xchunked", line=b"POST / HTTP/1.0"),
        400,
    ),
    "coding-space": (post(b"Transfer-Encoding : chunked") + b"0\r\n\r\n", 400),
    "coding-folded": (post(b"Transfer-Encoding:", b" chunked") + b"0\r\n\r\n", 400),
    "coding-in-1.0": (
        post(CHUNKED, line=b"POST / HTTP/1.0") + b"0\r\n\r\n",
        400,
    ),
    "space-before-colon": (post(b"Content-Length : 5") + b"hello", 400),
    "tab-before-colon": (post(b"Content-Length\t: 5") + b"hello", 400),
    "folded": (get(b"X: a", b" b"), 400),
    "folded-first": (b"GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", 400),
    "no-colon": (get(b"nonsense"), 400),
    "no-name": (get(b": value"), 400),
    "name-with-space": (get(b"X Y: value"), 400),
    "name-with-nul": (get(b"X\0: value"), 400),
    "name-with-cr": (get(b"X\rY: a"), 400),
    "name-with-lf": (get(b"X\nY: a"), 400),
    "value-with-nul": (get(b"X: a\0b"), 400),
    "value-with-cr": (get(b"X: a\rb"), 400),
    "value-with-cr-at-end": (get(b"X: a\r"), 400),
    "value-with-control": (get(b"X: a\x01b"), 400),
    "bare-cr": (b"GET / HTTP/1.1\rHost: a\r\r", 400),
    "bare-lf": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare-lf-in-header": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "bare-lf-at-end": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    "no-host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two-hosts": (get(b"Host: b"), 400),
    "two-equal-hosts": (get(b"Host: a"), 400),
    "two-hosts-1.0": (get(b"Host: b", line=b"GET / HTTP/1.0"), 400),
    "host-with-space": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "host-with-path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "host-with-user": (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    "host-with-query": (b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", 400),
    "host-with-bracket": (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    "host-with-markup": (b"GET / HTTP/1.1\r\nHost: <a>\r\n\r\n", 400),
    "host-above-ascii": (b"GET / HTTP/1.1\r\nHost: \xe4\r\n\r\n", 400),
    "host-with-word-as-port": (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    "host-with-two-ports": (b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400),
    "host-in-1.0": (b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400),
    "host-in-target": (get(line=b"GET http://a<b/ HTTP/1.1"), 400),
    "target-without-slash": (get(line=b"GET a HTTP/1.1"), 400),
    "version-0.9": (b"GET /\r\n\r\n", 400),
    "version-1.2": (get(line=b"GET / HTTP/1.2"), 505),
    "version-2.0": (get(line=b"GET / HTTP/2.0"), 505),
    "version-11": (get(line=b"GET / HTTP/11"), 400),
    "version-lower": (get(line=b"GET / http/1.1"), 400),
    "http-2-preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "two-spaces": (get(line=b"GET  / HTTP/1.1"), 400),
    "tab-in-line": (get(line=b"GET\t/ HTTP/1.1"), 400),
    "space-in-target": (get(line=b"GET /a b HTTP/1.1"), 400),
    "space-after-version": (get(line=b"GET / HTTP/1.1 "), 400),
    "nul-in-target": (get(line=b"GET /\0 HTTP/1.1"), 400),
    "cr-in-target": (get(line=b"GET /\rx HTTP/1.1"), 400),
    "lf-in-target": (get(line=b"GET /\nx HTTP/1.1"), 400),
    "nul-in-method": (get(line=b"G\0T / HTTP/1.1"), 400),
    "cr-in-method": (get(line=b"G\rT / HTTP/1.1"), 400),
    "nul-after-version": (get(line=b"GET / HTTP/1.1\0"), 400),
    "cr-after-version": (get(line=b"GET / HTTP/1.1\r"), 400),
    "control-in-target": (get(line=b"GET /\x01 HTTP/1.1"), 400),
    "no-method": (get(line=b" / HTTP/1.1"), 400),
    "method-no-token": (get(line=b"G(T / HTTP/1.1"), 400),
    "two-empty-lines": (b"\r\n\r\n" + get(), 400),
    "long-line": (get(line=b"GET /" + b"a" * 9000 + b" HTTP/1.1"), 414),
    "long-header": (get(b"X: " + b"a" * 9000), 431),
    "large-head": (get(*[b"X: " + b"a" * 5000] * 20), 431),
    "many-headers": (get(*[b"X: a"] * 200), 431),
    "expectation": (post(b"Expect: nothing", b"Content-Length: 1") + b"x", 417),
}

# Seen by the application, whose read of the body raises.
BODIES = {
    "size-prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size-minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "size-plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "size-underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "size-space": b" 5\r\nhello\r\n0\r\n\r\n",
    "size-trailing-space": b"5 \r\nhello\r\n0\r\n\r\n",
    "size-17-digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    "size-huge": b"ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "size-empty": b"\r\nhello\r\n0\r\n\r\n",
    "size-none": b";a=b\r\nhello\r\n0\r\n\r\n",
    "size-words": b"five\r\nhello\r\n0\r\n\r\n",
    "size-bare-lf": b"5\nhello\r\n0\r\n\r\n",
    "size-bare-cr": b"5\rhello\r\n0\r\n\r\n",
    "extension-lf": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "extension-nul": b"5;a\0b\r\nhello\r\n0\r\n\r\n",
    "extension-long": b"5;" + b"a" * 200_000 + b"\r\nhello\r\n0\r\n\r\n",
    "end-junk": b"5\r\nhelloXX0\r\n\r\n",
    "end-lf": b"5\r\nhello\n0\r\n\r\n",
    "end-missing": b"5\r\nhello0\r\n\r\n",
    "trailers-large": b"0\r\n" + b"X: " + b"a" * 300_000 + b"\r\n\r\n",
    "trailers-many": b"0\r\n" + b"X: a\r\n" * 5000 + b"\r\n",
    "trailer-folded": b"0\r\nX: a\r\n b\r\n\r\n",
    "trailer-bare-lf": b"0\r\nX: a\n\r\n",
    "trailer-no-colon": b"0\r\nnonsense\r\n\r\n",
    "last-chunk-lf": b"0\n\r\n",
}


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_refused_and_nothing_after_it_is_seen(name, path, hub_name):
    raw, status = HEADS[name]
    with serving(echo, **path) as site:
        answers = site.ask(raw + SMUGGLED)
    assert site.seen == []
    assert answers.statuses == [status]
    assert answers.headers["connection"] == "close"


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_refused_and_nothing_after_it_is_seen(name, path, hub_name):
    with serving(echo, **path) as site:
        answers = site.ask(post(CHUNKED) + BODIES[name] + SMUGGLED)
    assert site.seen == ["POST /"]
    assert answers.statuses == [400]
    assert answers.headers["connection"] == "close"


@pytest.mark.parametrize("name", BODIES)
def test_an_application_that_does_not_look_is_no_way_in(name, path, hub_name):
    def blind(environ, start_response):
        start_response("200 OK", [])
        return [b"done"]

    with serving(blind, **path) as site:
        answers = site.ask(post(CHUNKED) + BODIES[name] + SMUGGLED)
    assert site.seen == ["POST /"]
    assert answers.statuses == [200]


def test_what_is_right_is_served(path, hub_name):
    """The table proves nothing if everything is refused."""
    with serving(echo, **path) as site:
        answers = site.ask(
            b"\r\n"
            + post(b"Content-Length: 5")
            + b"hello"
            + post(CHUNKED)
            + b'5;name="a value"\r\nhello\r\n00\r\nX-Trailer: a\r\n\r\n'
            + post(b"Transfer-Encoding: Chunked")
            + b"0\r\n\r\n"
            + get(b"Connection: close", line=b"GET /last HTTP/1.1")
        )
    assert site.seen == ["POST /", "POST /", "POST /", "GET /last"]
    assert answers.statuses == [200] * 4


def test_a_head_in_pieces_is_refused_as_early_as_whole(path, hub_name):
    with serving(echo, **path) as site, site.connect() as sock:
        for piece in (b"GET / HTTP/1.1\r\nHo", b"st: a\r\nX", b" : b\r\n"):
            sock.sendall(piece)
            greenio.sleep(0)
        if issubclass(path.get("protocol", object), RestingPath):
            sock.sendall(b"\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 400 ")
    assert site.seen == []


def test_a_target_that_names_no_host_is_refused(path, hub_name):
    for target in (b"http:///x", b"http://", b"http://u@/x", b"http://:80/x"):
        with serving(echo, **path) as site:
            line = b"GET " + target + b" HTTP/1.1"
            assert site.ask(get(line=line) + SMUGGLED).statuses == [400]
            assert site.seen == []


def test_an_unread_body_that_waits_for_100_continue_ends_the_connection(path, hub_name):
    def blind(environ, start_response):
        start_response("200 OK", [])
        return [b"done"]

    with serving(blind, **path) as site:
        answers = site.ask(
            post(b"Expect: 100-continue", b"Content-Length: 99") + SMUGGLED
        )
    assert site.seen == ["POST /"]
    assert answers.statuses == [200]
    assert answers.headers["connection"] == "close"


def recording():
    """An application, and the environments that it is called with."""
    environs = []

    def app(environ, start_response):
        environs.append(environ)
        start_response("200 OK", [])
        return [b""]

    return app, environs


def test_a_header_with_an_underscore_does_not_pass_for_another(path, hub_name):
    app, environs = recording()
    with serving(app, **path) as site:
        site.ask(
            get(
                b"X-Real: proxy", b"X_Real: forged", b"X_Other: b", b"Connection: close"
            )
        )
        site.ask(post(b"Content_Length: 5", b"Connection: close"))
    assert environs[0]["HTTP_X_REAL"] == "proxy"
    assert "HTTP_X_OTHER" not in environs[0]
    assert ("X_Real", "forged") in environs[0]["headers_raw"]
    assert "CONTENT_LENGTH" not in environs[1]


@pytest.mark.parametrize(
    "value", ["a\r\nX: b", "a\nb", "a\rb", "a\0b", "\r\n\r\nHTTP/1.1 200 OK"]
)
@pytest.mark.parametrize("where", ["status", "name", "value", "type"])
def test_an_application_cannot_be_made_to_inject_headers(where, value, path, hub_name):
    raised = []

    def app(environ, start_response):
        status, headers = "200 OK", [("Content-Type", "text/plain")]
        if where == "status":
            status = f"200 {value}"
        elif where == "name":
            headers = [(f"X{value}", "b")]
        elif where == "value":
            headers = [("Location", f"/{value}")]
        else:
            headers = [("Connection", f"upgrade{value}")]
        try:
            start_response(status, headers)
        except ValueError as exc:
            raised.append(exc)
            raise
        return [b""]

    with serving(app, **path) as site:
        answers = site.ask(get() + SMUGGLED)
    assert len(raised) == 1
    assert site.seen == ["GET /"]
    assert answers.statuses == [500]
    assert answers.headers["connection"] == "close"
    assert b"X: b" not in answers.raw


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\rb", "a\0b"])
def test_nor_before_a_body_that_is_waited_for(value, path, hub_name):
    """By the headers of `100 Continue`."""

    def app(environ, start_response):
        body = environ["wsgi.input"]
        body.set_hundred_continue_response_headers([("X-A", value)])
        return echo(environ, start_response)

    with serving(app, **path) as site:
        answers = site.ask(
            post(b"Expect: 100-continue", b"Content-Length: 5") + b"hello" + SMUGGLED
        )
    assert site.seen == ["POST /"]
    assert answers.statuses == [500]
    assert b"X: b" not in answers.raw
    assert "ValueError" in site.log.text


def test_a_header_makes_nobody_another_client(path, hub_name):
    app, environs = recording()
    forged = (b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: https")
    more = (b"Forwarded: for=1.2.3.4;proto=https", b"X-Real-Ip: 1.2.3.4")
    with serving(app, **path) as site:
        site.ask(get(*forged, *more, b"Remote-Addr: 1.2.3.4", b"Connection: close"))
    assert environs[0]["REMOTE_ADDR"] == "127.0.0.1"
    assert environs[0]["wsgi.url_scheme"] == "http"
    assert environs[0]["HTTP_X_FORWARDED_FOR"] == "1.2.3.4"


def test_tracebacks_are_sent_only_if_asked_for(path, hub_name):
    def app(environ, start_response):
        raise ValueError("the secret")

    with serving(app, **path) as site:
        answers = site.ask(get() + SMUGGLED)
    assert site.seen == ["GET /"]
    assert answers.statuses == [500]
    assert answers.headers["connection"] == "close"
    assert b"secret" not in answers.raw
    assert "the secret" in site.log.text
    with serving(app, debug=True, **path) as site:
        assert b"the secret" in site.ask(get()).raw


def test_a_subclass_may_loosen_the_rules(hub_name):
    class Loose(wsgi.HttpProtocol):
        reject_bad_requests = False

    with serving(echo, protocol=Loose) as site:
        answers = site.ask(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert answers.statuses == [200]
        # What decides where a request ends it may not.
        assert site.ask(post(b"Content-Length: 5", CHUNKED) + SMUGGLED).statuses == [
            400
        ]
    assert site.seen == ["GET /"]


def test_an_answer_is_never_longer_than_it_says(path, hub_name):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "5")])
        return iter([b"hello", b"HTTP/1.1 200 OK\r\n\r\n"])

    with serving(app, **path) as site:
        answers = site.ask(get())
    assert answers.body == b"hello"
    assert "more than its Content-Length" in site.log.text


def test_an_applications_own_framing_is_dropped(path, hub_name):
    def app(environ, start_response):
        start_response(
            "200 OK", [("Transfer-Encoding", "chunked"), ("Keep-Alive", "x")]
        )
        return [b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"]

    with serving(app, **path) as site:
        answers = site.ask(get(b"Connection: close"))
    assert "transfer-encoding" not in answers.headers
    assert answers.headers["content-length"] == "24"
