"""What `greenio.wsgi` does for an application, on each path that reads requests."""

from __future__ import annotations

import io
import re

import pytest

import greenio
from _http import (
    GET,
    LAST,
    PATHS,
    echo,
    hello,
    read_all,
    read_answer,
    serving,
)
from greenio import wsgi
from greenio.green import socket


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


# -- the environment ---------------------------------------------------------------------


def test_the_environment_says_what_the_request_says(path, hub_name):
    environs = []

    def app(environ, start_response):
        environs.append(dict(environ))
        return hello(environ, start_response)

    with serving(app, environ={"my.key": 1, "HTTP_X_DEFAULT": "d"}, **path) as site:
        site.ask(
            b"GET /a%20b%2Fc/%C3%A4?x=1%20&y HTTP/1.1\r\nHost: a:1\r\n"
            b"X-Two: a\r\nX-Two: b\r\nCookie: a=1\r\nCookie: b=2\r\n"
            b"X-Latin: \xe4\r\nContent-Type: text/x\r\nConnection: close\r\n\r\n"
        )
        port = site.address[1]
    (environ,) = environs
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["PATH_INFO"] == "/a b/c/\xc3\xa4"
    assert environ["RAW_PATH_INFO"] == "/a%20b%2Fc/%C3%A4"
    assert environ["QUERY_STRING"] == "x=1%20&y"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", str(port))
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["REMOTE_PORT"].isdigit()
    assert environ["HTTP_HOST"] == "a:1"
    assert environ["HTTP_X_TWO"] == "a,b"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["HTTP_X_LATIN"] == "\xe4"
    assert environ["HTTP_X_DEFAULT"] == "d"
    assert environ["CONTENT_TYPE"] == "text/x"
    assert environ["my.key"] == 1
    assert environ["headers_raw"][1:3] == (("X-Two", "a"), ("X-Two", "b"))
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.input_terminated"] is True
    assert environ["wsgi.input"] is environ["eventlet.input"]
    assert isinstance(environ["wsgi.input"], wsgi.Input)
    assert environ["eventlet.posthooks"] == []


@pytest.mark.parametrize(
    ("method", "target", "info"),
    [("OPTIONS", "*", "*"), ("CONNECT", "a:80", "a:80"), ("REPLICATE", "/x", "/x")],
)
def test_other_methods_and_targets(method, target, info, path, hub_name):
    with serving(hello, **path) as site:
        raw = f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert site.ask(raw.encode()).statuses == [200]
    assert site.seen == [f"{method} {info}"]


def test_bytes_above_ascii_in_a_target(path, hub_name):
    """They mean what they mean when they are quoted; eventlet takes them, too."""
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        return hello(environ, start_response)

    head = LAST.replace(b"/ ", b"/%C3%BC\xc3\xbc?q=\xff&%20 ")
    with serving(app, **path) as site:
        assert site.ask(head).statuses == [200]
        with site.connect() as sock:
            for piece in (head[:9], head[9:30], head[30:]):
                sock.sendall(piece)
                greenio.sleep(0)
            assert read_answer(sock)[0] == 200
        for wrong in (b"G\xff", b"GET /\xff"):
            assert site.ask(LAST.replace(b"GET", wrong)).statuses == [400]
    names = ("PATH_INFO", "RAW_PATH_INFO", "QUERY_STRING")
    assert [seen[name].encode("latin-1") for name in names] == [
        "/üü".encode(),
        b"/%C3%BC\xc3\xbc",
        b"q=\xff&%20",
    ]


def test_the_absolute_form_of_a_target_names_the_host(path, hub_name):
    hosts = []

    def app(environ, start_response):
        hosts.append(
            (environ["HTTP_HOST"], environ["PATH_INFO"], environ["QUERY_STRING"])
        )
        return hello(environ, start_response)

    with serving(app, **path) as site:
        for target in (b"http://b:8/x?y", b"http://b:8", b"http://b:8?y"):
            site.ask(b"GET " + target + LAST[5:])
    assert hosts == [("b:8", "/x", "y"), ("b:8", "/", ""), ("b:8", "/", "y")]


# -- answers -----------------------------------------------------------------------------


def test_requests_follow_each_other_on_a_connection(path, hub_name):
    with serving(hello, **path) as site, site.connect() as sock:
        for _ in range(3):
            sock.sendall(GET)
            status, headers, body = read_answer(sock)
            assert (status, body) == (200, b"hello")
            assert "connection" not in headers
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", headers["date"])


def test_pipelined_requests_are_answered_in_order(path, hub_name):
    def app(environ, start_response):
        greenio.sleep(0)
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode() + environ["wsgi.input"].read()]

    raw = b"".join(
        b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%02d" % (n, n)
        for n in range(50)
    )
    with serving(app, **path) as site:
        answers = site.ask(raw + LAST)
    assert answers.statuses == [200] * 51
    assert re.findall(rb"\r\n\r\n/(\d+)", answers.raw) == [
        b"%d%02d" % (n, n) for n in range(50)
    ]


@pytest.mark.parametrize(
    ("line", "headers", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: x, Close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_whether_a_connection_is_kept(line, headers, kept, path, hub_name):
    raw = b"GET / HTTP/" + line + b"\r\nHost: a\r\n" + headers + b"\r\n"
    with serving(hello, **path) as site, site.connect() as sock:
        sock.sendall(raw)
        status, answered, _ = read_answer(sock)
        assert status == 200
        if kept:
            sock.sendall(LAST)
            assert read_answer(sock)[0] == 200
        else:
            assert answered["connection"] == "close"
        assert read_all(sock) == b""


@pytest.mark.parametrize("kind", ["iterator", "write", "list", "tuple", "generator"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_every_way_to_give_a_body(kind, method, version, path, hub_name):
    closed = []

    class Result:
        def __iter__(self):
            return iter([b"he", b"", b"llo"])

        def close(self):
            closed.append(True)

    def generator():
        yield b"hello"

    def app(environ, start_response):
        write = start_response("200 OK", [])
        if kind == "write":
            write(b"he")
            write(b"llo")
            return []
        return {
            "iterator": Result(),
            "list": [b"he", b"llo"],
            "tuple": (b"hello",),
            "generator": generator(),
        }[kind]

    with serving(app, **path) as site:
        answers = site.ask(
            method + b" / HTTP/" + version + b"\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
    body = answers.body
    if answers.headers.get("transfer-encoding") == "chunked":
        assert version == b"1.1"
        body = b"".join(re.findall(rb"[0-9a-f]+\r\n([^\r]+)\r\n", body))
        assert answers.raw.endswith(b"\r\n0\r\n\r\n")
    assert body == (b"" if method == b"HEAD" else b"hello")
    assert closed == ([True] if kind == "iterator" else [])


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_statuses_without_a_body(status, path, hub_name):
    def app(environ, start_response):
        start_response(status, [])
        return [b""]

    with serving(app, **path) as site:
        answers = site.ask(GET + LAST)
    assert answers.statuses == [int(status[:3])] * 2
    assert b"ontent-Length" not in answers.raw
    assert b"hunked" not in answers.raw


def test_what_is_iterated_is_collected(path, hub_name):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/small":
            environ["eventlet.minimum_write_chunk_size"] = 1
        start_response("200 OK", [])
        return iter([b"a" * 10] * 5)

    def chunks(target: bytes) -> int:
        return len(re.findall(rb"[0-9a-f]+\r\na+", site.ask(target + LAST[5:]).raw))

    with serving(app, minimum_chunk_size=20, **path) as site:
        assert chunks(b"GET /") == 3
        assert chunks(b"GET /small") == 5
    with serving(app, **path) as site:
        assert chunks(b"GET /") == 1


def test_start_response_may_be_called_again_with_an_error(path, hub_name):
    import sys

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            raise ValueError("x")
        except ValueError:
            start_response("500 Oh", [], sys.exc_info())
        return [b""]

    def twice(environ, start_response):
        start_response("200 OK", [])
        start_response("201 Created", [])
        return [b""]

    with serving(app, **path) as site:
        assert site.ask(LAST).statuses == [500]

    def late(environ, start_response):
        start_response("200 OK", [])(b"sent")
        start_response("201 Created", [])
        return [b""]

    with serving(twice, **path) as site:
        assert site.ask(LAST).statuses == [201]
    with serving(late, **path) as site:
        assert site.ask(LAST).statuses == [200]
        assert "start_response() was called before" in site.log.text


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, [], [b""]),
        ("OK", [], [b""]),
        ("200 OK", [("X", b"1")], [b""]),
        ("200 OK", [(b"X", "1")], [b""]),
        ("200 OK", [("X Y", "1")], [b""]),
        ("200 OK", [("X", "\u20ac")], [b""]),
        ("200 OK", [("Content-Length", "x")], [b""]),
        ("200 OK", ["X: 1"], [b""]),
        ("200 OK", None, [b""]),
        ("200 OK", [], ["t\u00e4xt"]),
        ("200 OK", [], [5]),
        ("200 OK", [], None),
        ("200 OK", [], b"bytes"),
    ],
)
def test_a_wrong_answer_is_an_error_of_the_application(
    status, headers, body, path, hub_name
):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/":
            start_response(status, headers)
            return body
        return hello(environ, start_response)

    with serving(app, **path) as site:
        assert site.ask(GET).statuses == [500]
        assert "Error: " in site.log.text
        assert site.ask(b"GET /fine" + LAST[5:]).statuses == [200]


@pytest.mark.parametrize(
    "make", [lambda: ["te", b"xt"], lambda: iter(["te", b"xt"]), lambda: "text"]
)
def test_what_eventlet_takes_for_an_answer_is_one(make, path, hub_name):
    def app(environ, start_response):
        start_response("200 OK", [("X-Number", 1), ("X-None", None), ("Age", 2.5)])
        return make()

    with serving(app, **path) as site:
        answer = site.ask(LAST)
    assert answer.statuses == [200]
    assert b"text" in answer.body
    assert answer.headers["x-number"] == "1"
    assert answer.headers["age"] == "2.5"


def test_max_http_version(path, hub_name):
    with serving(hello, max_http_version="HTTP/1.0", **path) as site:
        answer = site.ask(LAST)
        assert answer.raw.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"chunked" not in answer.raw
        assert answer.body == b"hello"


def test_no_100_continue_comes_within_an_answer(path, hub_name):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "4")])(b"no")
        body = environ["wsgi.input"]
        assert body.should_send_hundred_continue
        body.send_hundred_continue_response()
        return [body.read()]

    head = (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
        b"Expect: 100-continue\r\n\r\n"
    )
    with serving(app, **path) as site:
        answer = site.ask(head + b"pe")
    assert answer.statuses == [200]
    assert answer.body == b"nope"


def test_no_answer_is_an_error_too(path, hub_name):
    def app(environ, start_response):
        return [b"x"]

    with serving(app, **path) as site:
        assert site.ask(GET).statuses == [500]
        assert "without calling start_response()" in site.log.text


def test_an_error_in_the_middle_ends_the_connection_without_the_last_chunk(
    path, hub_name
):
    closed = []

    def parts():
        try:
            yield b"x" * 5000
            raise ValueError("in the middle")
        finally:
            closed.append(True)

    def app(environ, start_response):
        start_response("200 OK", [])
        return parts()

    with serving(app, **path) as site:
        answers = site.ask(GET)
    assert answers.statuses == [200]
    assert not answers.raw.endswith(b"0\r\n\r\n")
    assert closed == [True]
    assert "in the middle" in site.log.text


def test_less_than_announced_ends_the_connection(path, hub_name):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "10")])
        return [b"hello"]

    with serving(app, **path) as site:
        assert site.ask(GET).body == b"hello"
        assert "less than its Content-Length" in site.log.text


def test_hooks_are_called_after_the_answer(path, hub_name):
    calls = []

    def app(environ, start_response):
        environ["eventlet.posthooks"].append((hook, (1,), {"b": 2}))
        environ["eventlet.posthooks"].append((broken, (), {}))
        return hello(environ, start_response)

    def hook(environ, *args, **kwargs):
        calls.append((environ["PATH_INFO"], args, kwargs))

    def broken(environ):
        raise ValueError("a hook")

    with serving(app, **path) as site:
        assert site.ask(GET + LAST).statuses == [200, 200]
    assert calls == [("/", (1,), {"b": 2})] * 2
    assert "a hook" in site.log.text


def test_names_are_capitalized_unless_told_otherwise(path, hub_name):
    def app(environ, start_response):
        start_response("200 OK", [("x-fOO", "1")])
        return [b""]

    with serving(app, **path) as site:
        assert b"\r\nX-Foo: 1\r\n" in site.ask(LAST).raw
    with serving(app, capitalize_response_headers=False, **path) as site:
        assert b"\r\nx-fOO: 1\r\n" in site.ask(LAST).raw


@pytest.mark.parametrize("announced", [None, 3, 100])
def test_a_file_is_sent_by_the_system(announced, path, tmp_path, hub_name):
    file = tmp_path / "file"
    content = bytes(range(256)) * 4000
    file.write_bytes(content)
    opened = []

    def app(environ, start_response):
        headers = [] if announced is None else [("Content-Length", str(announced))]
        start_response("200 OK", headers)
        opened.append(file.open("rb"))
        opened[-1].seek(5)
        return environ["wsgi.file_wrapper"](opened[-1])

    with serving(app, **path) as site:
        answers = site.ask(LAST)
    assert answers.body == content[5:][:announced]
    assert answers.headers["content-length"] == str(len(answers.body))
    assert opened[0].closed


def test_what_is_no_file_goes_through_the_wrapper_too(path, hub_name):
    def app(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"hello"), 2)

    with serving(app, **path) as site:
        assert b"hello" in site.ask(LAST).raw


# -- bodies --------------------------------------------------------------------------------


def ways_to_read(body):
    return {
        "read": lambda file: file.read(),
        "read-some": lambda file: b"".join(iter(lambda: file.read(3), b"")),
        "readline": lambda file: b"".join(iter(file.readline, b"")),
        "readline-some": lambda file: b"".join(iter(lambda: file.readline(2), b"")),
        "readlines": lambda file: b"".join(file.readlines()),
        "iterate": lambda file: b"".join(file),
        "mixed": lambda file: file.readline() + file.read(4) + file.read(),
    }[body]


@pytest.mark.parametrize(
    "way",
    ["read", "read-some", "readline", "readline-some", "readlines", "iterate", "mixed"],
)
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_every_way_to_read_a_body(way, coding, path, hub_name):
    body = b"first line\nsecond\n\nlast without end"
    if coding == "length":
        raw = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    else:
        pieces = [body[:5], body[5:13], body[13:]]
        raw = b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(
            b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""]
        )

    def app(environ, start_response):
        data = ways_to_read(way)(environ["wsgi.input"])
        assert environ["wsgi.input"].read() == b""
        start_response("200 OK", [])
        return [data]

    with serving(app, **path) as site, site.connect() as sock:
        # Whole, and byte for byte.
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n" + raw)
        assert read_answer(sock)[2] == body
        for octet in b"POST / HTTP/1.1\r\nHost: a\r\n" + raw:
            sock.sendall(bytes([octet]))
            greenio.sleep(0)
        assert read_answer(sock)[2] == body


def test_a_large_body_both_ways(path, hub_name):
    body = bytes(range(256)) * 8192

    with serving(echo, **path) as site, site.connect() as sock:
        sender = greenio.spawn(
            sock.sendall,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body,
        )
        assert read_answer(sock)[2] == body
        sender.wait()


def test_a_body_that_is_not_read_is_read_over(path, hub_name):
    with serving(hello, **path) as site:
        raw = (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n"
            + b"x" * 70000
        )
        assert site.ask(raw + LAST).statuses == [200, 200]


def test_too_much_of_an_unread_body_ends_the_connection(path, hub_name, monkeypatch):
    monkeypatch.setattr(wsgi, "MAX_DISCARD", 1000)
    with serving(hello, **path) as site:
        raw = (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n"
            + b"x" * 70000
        )
        assert site.ask(raw + LAST).statuses == [200]


def test_a_body_that_ends_too_early_raises(path, hub_name):
    errors = []

    def app(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except ConnectionError as exc:
            errors.append(str(exc))
            raise
        raise AssertionError

    with serving(app, **path) as site:
        with site.connect() as sock:
            sock.sendall(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"
            )
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b""
    assert errors == ["the client ended after 5 of 10 bytes"]


def test_100_continue_is_sent_by_the_first_read(path, hub_name):
    def app(environ, start_response):
        body = environ["wsgi.input"]
        assert body.should_send_hundred_continue
        data = body.read(2)
        assert not body.should_send_hundred_continue
        start_response("200 OK", [])
        return [data + body.read()]

    with serving(app, **path) as site, site.connect() as sock:
        sock.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
            b"Expect: 100-Continue\r\n\r\n"
        )
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        assert read_answer(sock)[2] == b"hello"


def test_100_continue_may_carry_headers_and_be_sent_again(path, hub_name):
    def app(environ, start_response):
        body = environ["wsgi.input"]
        body.set_hundred_continue_response_headers([("x-phase", "1")])
        first = body.read()
        body.set_hundred_continue_response_headers([("x-phase", "2")])
        body.send_hundred_continue_response()
        start_response("200 OK", [])
        return [first + body.read()]

    with serving(app, **path) as site, site.connect() as sock:
        sock.sendall(
            b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\nX-Phase: 1\r\n\r\n"
        sock.sendall(b"2\r\nab\r\n0\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\nX-Phase: 2\r\n\r\n"
        sock.sendall(b"1\r\nc\r\n0\r\n\r\n")
        assert read_answer(sock)[2] == b"abc"
