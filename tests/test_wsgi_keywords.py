"""Each keyword of `wsgi.server`: what it does, and that nonsense is said at the call."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import math
import socket
import time

import pytest

import greenio
from _http import (
    GET,
    LAST,
    PATHS,
    GreenPath,
    Lines,
    hello,
    read_all,
    read_answer,
    serving,
)
from _support import settle, until
from greenio import wsgi
from greenio._http.connection import RUNNING
from greenio.event import Event

FORWARDED = LAST.replace(
    b"Connection", b"X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nConnection"
)


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


def pieces(environ, start_response):
    start_response("200 OK", [])
    return iter([b"x" * 10] * 10)


def failing(environ, start_response):
    raise ValueError("secret")


# -- what each does ----------------------------------------------------------------------


def log_to_a_file(path):
    log = Lines()
    with serving(hello, log=log, **path) as site:
        site.ask(LAST)
    assert "wsgi starting up on http://127.0.0.1:" in log.text
    assert '"GET / HTTP/1.1" 200 5 ' in log.text
    assert "wsgi exited, it was killed" in log.text


def environ_is_added(path):
    seen = []

    def app(environ, start_response):
        seen.append(environ)
        return hello(environ, start_response)

    given = {"my.key": [1], "wsgi.multiprocess": True, "HTTP_X_A": "default"}
    with serving(app, environ=given, **path) as site:
        site.ask(LAST)
        site.ask(LAST.replace(b"Host", b"X-A: sent\r\nHost"))
    assert [environ["HTTP_X_A"] for environ in seen] == ["default", "sent"]
    assert all(environ["wsgi.multiprocess"] for environ in seen)
    assert seen[0]["my.key"] is given["my.key"]


def max_size_bounds_connections(path):
    with serving(hello, max_size=1, server_event=(event := Event()), **path) as site:
        server = event.wait()
        with site.connect() as first, site.connect() as second:
            first.sendall(GET)
            assert read_answer(first)[0] == 200
            second.sendall(GET)
            settle()
            assert len(server.channels) == 1
            first.close()
            assert read_answer(second)[0] == 200


def max_http_version_is_spoken(path):
    with serving(pieces, max_http_version="HTTP/1.0", **path) as site:
        answer = site.ask(GET)
    assert answer.raw.startswith(b"HTTP/1.0 200 OK\r\n")
    assert answer.body == b"x" * 100


def protocol_may_be_anything_that_serves(path):
    made = []

    def make(conn_state, server, mark):
        made.append(mark)
        return path.get("protocol", GreenPath)(conn_state, server)

    with serving(hello, protocol=functools.partial(make, mark=1)) as site:
        assert site.ask(LAST).statuses == [200]
    assert made == [1]


def server_event_gets_the_server(path):
    event = Event()
    with serving(hello, server_event=event, **path):
        server = event.wait()
        assert isinstance(server, wsgi.Server)
        assert server.pid
        assert server.outstanding_requests == 0


def minimum_chunk_size_collects(path):
    for least, chunks in ((0, 10), (50, 2), (1000, 1)):
        with serving(pieces, minimum_chunk_size=least, **path) as site:
            body = site.ask(LAST).body
        assert body.count(b"x\r\n") == chunks


def log_x_forwarded_for_is_shown(path):
    for shown in (True, False):
        with serving(hello, log_x_forwarded_for=shown, **path) as site:
            site.ask(FORWARDED)
        assert ("\n1.2.3.4,5.6.7.8,127.0.0.1 - - " in site.log.text) is shown
        assert ("\n127.0.0.1 - - " in site.log.text) is not shown


def custom_pool_serves(path):
    pool = greenio.GreenPool(2)
    with serving(hello, custom_pool=pool, **path) as site, site.connect() as sock:
        sock.sendall(GET)
        read_answer(sock)
        assert pool.running() == 1


def keepalive_is_off_or_a_time(path):
    for off in (False, 0, None):
        with serving(hello, keepalive=off, **path) as site:
            assert site.ask(GET + GET).statuses == [200]
    with serving(hello, keepalive=0.1, **path) as site, site.connect() as sock:
        sock.sendall(GET)
        assert read_answer(sock)[0] == 200
        assert read_all(sock) == b""
    asked = GET.replace(b"Host", b"Connection: Keep-Alive\r\nHost")
    for keepalive, told in [(True, None), (0.5, None), (20, "timeout=20")]:
        for request in (asked, asked.replace(b"1.1", b"1.0"), GET):
            with (
                serving(hello, keepalive=keepalive, **path) as site,
                site.connect() as sock,
            ):
                sock.sendall(request)
                headers = read_answer(sock)[1]
            if request is GET:
                assert "connection" not in headers
                assert "keep-alive" not in headers
            else:
                assert headers["connection"] == "keep-alive"
                assert headers.get("keep-alive") == told


def log_output_leaves_errors_only(path):
    log = Lines()
    with serving(hello, log=log, log_output=False, **path) as site:
        site.ask(LAST)
        assert log.text == ""
        site.app = failing
        site.ask(LAST)
    assert log.text.startswith("Traceback")
    assert "wsgi exited" not in log.text


def log_format_is_used(path):
    form = "%(client_ip)s %(client_port)s %(request_line)s %(status_code)s!"
    with serving(hello, log_format=form, **path) as site:
        site.ask(LAST)
    assert " GET / HTTP/1.1 200!\n" in site.log.text


def url_length_limit_is_kept(path):
    with serving(hello, url_length_limit=100, **path) as site:
        assert site.ask(LAST.replace(b"/ ", b"/" + b"a" * 60 + b" ")).statuses == [200]
        assert site.ask(LAST.replace(b"/ ", b"/" + b"a" * 120 + b" ")).statuses == [414]


def debug_sends_tracebacks(path):
    for debug in (True, False, None):
        with serving(failing, debug=debug, **path) as site:
            answer = site.ask(LAST)
        assert answer.statuses == [500]
        assert (b"secret" in answer.body) is (debug is True)
        assert "ValueError: secret" in site.log.text


def socket_timeout_bounds_reads(path):
    caught = []

    def app(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except TimeoutError as exc:
            caught.append(exc)
        return hello(environ, start_response)

    with serving(app, socket_timeout=0.1, **path) as site:
        site.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
    assert len(caught) == 1


def capitalize_response_headers_may_be_off(path):
    def app(environ, start_response):
        start_response("200 OK", [("x-oWN", "1")])
        return [b""]

    for capital, name in ((True, b"\r\nX-Own: 1"), (False, b"\r\nx-oWN: 1")):
        with serving(app, capitalize_response_headers=capital, **path) as site:
            assert name in site.ask(LAST).raw


def header_timeout_ends_slow_heads(path):
    with serving(hello, header_timeout=0.1, **path) as site:
        assert site.ask(b"GET / HT").statuses in ([408], [])


def idle_timeout_ends_idle_connections(path):
    with serving(hello, idle_timeout=0.1, **path) as site:
        assert site.ask(GET).statuses == [200]


def body_timeout_ends_slow_bodies(path):
    caught = []

    def app(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except TimeoutError as exc:
            caught.append(exc)
        return hello(environ, start_response)

    with serving(app, body_timeout=0.1, **path) as site:
        site.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
    assert len(caught) == 1


def body_rate_ends_bodies_that_trickle(path):
    errors = []
    body = b"x" * 10_000

    def app(environ, start_response):
        try:
            assert environ["wsgi.input"].read() == body
        except TimeoutError as exc:
            errors.append(exc)
        return hello(environ, start_response)

    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n"
    with serving(app, body_timeout=1, body_rate=1e6, **path) as site:
        with site.connect() as sock:
            sock.sendall(head + body)
            assert read_answer(sock)[0] == 200
            sock.sendall(head)
            with contextlib.suppress(OSError):
                # Never a second without a byte, but a byte is not worth much.
                while not errors:
                    sock.sendall(b"x")
                    greenio.sleep(0.02)
            until(lambda: errors)
            assert "too little" in str(errors[0])


def graceful_timeout_bounds_the_end(path):
    begun = Event()

    def app(environ, start_response):
        begun.send()
        greenio.sleep(1000)

    with serving(app, graceful_timeout=0, **path) as site, site.connect() as sock:
        sock.sendall(GET)
        begun.wait()
        site.thread.kill()
        assert read_all(sock) == b""
    assert "were still in use" in site.log.text


def send_timeout_ends_who_does_not_read(path):
    caught = []

    def app(environ, start_response):
        write = start_response("200 OK", [])
        try:
            while True:
                write(b"x" * 1_000_000)
        except OSError as exc:
            caught.append(exc)
            raise

    # One that reads, if slowly, is served for longer than that.
    slow = Event()

    def dribble(environ, start_response):
        write = start_response("200 OK", [])
        while not slow.ready():
            write(b"x" * 300_000)
        return []

    with serving(app, send_timeout=0.2, **path) as site:
        with site.connect() as sock:
            sock.sendall(GET)
            until(lambda: caught)
        site.app = dribble
        with site.connect() as sock:
            sock.sendall(LAST)
            end = time.monotonic() + 0.7
            while time.monotonic() < end:
                assert sock.recv(30_000)
                greenio.sleep(0.01)
            slow.send()
            assert read_all(sock).endswith(b"0\r\n\r\n")


EFFECTS = {
    "log": log_to_a_file,
    "environ": environ_is_added,
    "max_size": max_size_bounds_connections,
    "max_http_version": max_http_version_is_spoken,
    "protocol": protocol_may_be_anything_that_serves,
    "server_event": server_event_gets_the_server,
    "minimum_chunk_size": minimum_chunk_size_collects,
    "log_x_forwarded_for": log_x_forwarded_for_is_shown,
    "custom_pool": custom_pool_serves,
    "keepalive": keepalive_is_off_or_a_time,
    "log_output": log_output_leaves_errors_only,
    "log_format": log_format_is_used,
    "url_length_limit": url_length_limit_is_kept,
    "debug": debug_sends_tracebacks,
    "socket_timeout": socket_timeout_bounds_reads,
    "capitalize_response_headers": capitalize_response_headers_may_be_off,
    "header_timeout": header_timeout_ends_slow_heads,
    "idle_timeout": idle_timeout_ends_idle_connections,
    "body_timeout": body_timeout_ends_slow_bodies,
    "body_rate": body_rate_ends_bodies_that_trickle,
    "graceful_timeout": graceful_timeout_bounds_the_end,
    "send_timeout": send_timeout_ends_who_does_not_read,
}


@pytest.mark.parametrize(
    ("rate", "size", "owed"), [(100, 1, 9.99), (100, 2000, 0), (None, 1, 0)]
)
def test_what_a_client_owes_that_is_slow_with_a_body(rate, size, owed):
    """By a clock of its own: every piece takes ten seconds to come."""

    class Wire:
        def recv(self, _):
            server.now += 10
            return b"x" * size

    server = wsgi.Server(None, ("a", 1), hello, Lines(), body_rate=rate)
    channel = server.make_channel(Wire(), ("b", 2))
    assert channel.receive() == b"x" * size
    assert channel.owed == 0
    channel.phase = RUNNING
    for times in (1, 2):
        channel.receive()
        assert channel.owed == pytest.approx(times * owed)


@pytest.mark.parametrize("name", EFFECTS)
def test_what_a_keyword_does(name, path, hub_name):
    EFFECTS[name](path)


def test_every_keyword_is_here():
    names = set(inspect.signature(wsgi.server).parameters)
    assert names == {*EFFECTS, "sock", "site"}
    for name in set(inspect.signature(wsgi.Server).parameters) - names:
        assert name in {"socket", "address", "app"}


def test_the_log_is_standard_error_or_a_logger(path, hub_name, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    for log in (None, logging.getLogger("site")):
        with serving(hello, log=log, **path) as site:
            site.ask(LAST)
    assert '"GET / HTTP/1.1" 200 5 ' in capfd.readouterr().err
    assert any('"GET / HTTP/1.1" 200 5 ' in line for line in caplog.messages)


# -- nonsense -----------------------------------------------------------------------------


class Nothing:
    """Has no method of any kind."""


async def coroutine(scope, receive, send):
    """Is no WSGI application."""


class Asynchronous:
    async def __call__(self, scope, receive, send):
        pass


WRONG = [
    ({"site": 1}, TypeError, "WSGI application"),
    ({"site": None}, TypeError, "WSGI application"),
    ({"site": coroutine}, TypeError, "uvicorn"),
    ({"site": len}, TypeError, "environ and start_response"),
    ({"site": lambda: None}, TypeError, "pass what it returns"),
    ({"site": Asynchronous()}, TypeError, "uvicorn"),
    ({"sock": 1}, TypeError, "listening socket"),
    ({"log": 1}, TypeError, "log is a"),
    ({"log": Nothing()}, TypeError, "log is a"),
    ({"environ": 1}, TypeError, "environ is a dict"),
    ({"environ": {1: 2}}, TypeError, "environ is a dict"),
    ({"max_size": 0}, ValueError, "max_size"),
    ({"max_size": -1}, ValueError, "max_size"),
    ({"max_size": "5"}, TypeError, "max_size"),
    ({"max_size": True}, TypeError, "max_size"),
    ({"max_http_version": "HTTP/2"}, ValueError, "HTTP/1.1"),
    ({"max_http_version": 1.1}, ValueError, "HTTP/1.1"),
    ({"protocol": 1}, TypeError, "HttpProtocol"),
    ({"server_event": Nothing()}, TypeError, "server_event"),
    ({"minimum_chunk_size": -1}, ValueError, "minimum_chunk_size"),
    ({"minimum_chunk_size": "x"}, TypeError, "minimum_chunk_size"),
    ({"custom_pool": Nothing()}, AttributeError, "custom_pool"),
    ({"custom_pool": 5}, AttributeError, "GreenPool"),
    ({"keepalive": -1}, ValueError, "keepalive"),
    ({"keepalive": "yes"}, ValueError, "keepalive"),
    ({"keepalive": []}, ValueError, "keepalive is True, False or a number"),
    ({"keepalive": math.nan}, ValueError, "keepalive"),
    ({"log_format": "%(nothing)s"}, ValueError, "client_ip"),
    ({"log_format": None}, TypeError, "log_format"),
    ({"log_format": "%(client_ip)d"}, ValueError, "client_ip"),
    ({"url_length_limit": 0}, ValueError, "url_length_limit"),
    ({"url_length_limit": "x"}, TypeError, "url_length_limit"),
    ({"socket_timeout": -1}, ValueError, "socket_timeout"),
    ({"socket_timeout": 0}, ValueError, "socket_timeout"),
    ({"socket_timeout": "x"}, ValueError, "socket_timeout"),
    ({"header_timeout": 0}, ValueError, "header_timeout"),
    ({"header_timeout": "x"}, ValueError, "header_timeout"),
    ({"send_timeout": 0}, ValueError, "send_timeout"),
    ({"body_timeout": 0}, ValueError, "body_timeout"),
    ({"body_rate": 0}, ValueError, "bytes per second"),
    ({"body_rate": "x"}, ValueError, "body_rate"),
    ({"idle_timeout": -1}, ValueError, "idle_timeout"),
    ({"graceful_timeout": -1}, ValueError, "graceful_timeout"),
    ({"graceful_timeout": []}, ValueError, "graceful_timeout"),
    ({"unknown": 1}, TypeError, "unknown"),
]


@pytest.mark.parametrize(("keywords", "error", "match"), WRONG)
def test_a_wrong_argument_is_an_error_at_the_call(keywords, error, match):
    with greenio.listen(("127.0.0.1", 0)) as sock:
        with pytest.raises(error, match=match):
            wsgi.server(**{"sock": sock, "site": hello, **keywords})
        # The socket is the caller's still.
        assert sock.fileno() >= 0


def test_a_socket_that_nobody_can_connect_to_is_an_error_at_the_call():
    from greenio.green import socket as green_socket

    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with green_socket.socket(socket.AF_INET, kind) as sock:
            sock.bind(("127.0.0.1", 0))
            with pytest.raises(ValueError, match="listen"):
                wsgi.server(sock, hello)
    with pytest.raises(OSError, match="descriptor"):
        wsgi.server(sock, hello)
