"""What applications that were written for eventlet do, and what comes of it there."""

from __future__ import annotations

import collections
import socket

import pytest

import greenio
from _http import GET, LAST, PATHS, hello, read_all, read_answer, serving
from _support import until
from greenio import wsgi
from greenio._http import exchange
from greenio.event import Event


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


# -- what the log says ------------------------------------------------------------------


def test_the_log_says_what_was_asked(path, hub_name):
    """Not what a middleware has made of it: another method, no headers, nothing at all."""

    def app(environ, start_response):
        hooks = environ["eventlet.posthooks"]
        environ.clear()
        environ.update({"REQUEST_METHOD": "PUT", "eventlet.posthooks": hooks})
        environ["HTTP_X_FORWARDED_FOR"] = "9.9.9.9"
        start_response("200 OK", [])
        return [b"x"]

    post = b"POST /a?b HTTP/1.1\r\nX-Forwarded-For: 1.2.3.4\r\nHost: a\r\n\r\n"

    with serving(app, **path) as site:
        answers = site.ask(post + LAST)
        until(lambda: site.log.text.count("HTTP/1.1") == 2)
    assert answers.statuses == [200, 200]
    assert "1.2.3.4,127.0.0.1 - - [" in site.log.text
    assert '"POST /a?b HTTP/1.1" 200 1 ' in site.log.text
    assert "9.9.9.9" not in site.log.text


def test_an_application_that_empties_the_environment_and_fails(path, hub_name):
    def app(environ, start_response):
        environ.clear()
        raise ValueError("broken")

    with serving(app, **path) as site:
        assert site.ask(LAST).statuses == [500]
        until(lambda: "GET / HTTP/1.1" in site.log.text)
    assert "ValueError: broken" in site.log.text


def test_a_status_and_a_port_are_numbers_in_the_log(path, hub_name):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/handled":
            sock = environ["eventlet.input"].get_socket()
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            return wsgi.ALREADY_HANDLED
        return hello(environ, start_response)

    log_format = "%(status_code)03d %(client_port)d %(status_code)s"
    with serving(app, log_format=log_format, **path) as site, site.connect() as sock:
        port = sock.getsockname()[1]
        sock.sendall(GET + LAST.replace(b"/ ", b"/handled "))
        read_all(sock)
        until(lambda: site.log.text.count(str(port)) >= 2)
    assert f"200 {port} 200\n" in site.log.text
    assert f"000 {port} -\n" in site.log.text


def test_a_port_that_there_is_not_is_0_in_the_log(tmp_path, hub_name):
    sock = greenio.listen(str(tmp_path / "socket"), family=greenio.green.socket.AF_UNIX)
    with serving(hello, sock, log_format="%(client_port)d") as site:
        assert site.ask(LAST).statuses == [200]
        until(lambda: "\n0\n" in site.log.text)


def test_print_to_wsgi_errors_is_a_line(path, hub_name):
    def app(environ, start_response):
        print("a", 1, file=environ["wsgi.errors"])
        environ["wsgi.errors"].write("left")
        return hello(environ, start_response)

    with serving(app, log_format="end", **path) as site:
        site.ask(LAST)
        until(lambda: "left" in site.log.text)
    assert "\na 1\n" in site.log.text
    assert "\nleft\n" in site.log.text


# -- answers ----------------------------------------------------------------------------


def test_arguments_of_start_response_have_names(path, hub_name):
    def app(environ, start_response):
        start_response(status="200 OK", response_headers=[], exc_info=None)
        return [b"x"]

    with serving(app, **path) as site:
        assert site.ask(LAST).statuses == [200]


class Sized:
    def __len__(self):
        return 2

    def __iter__(self):
        return iter([b"ab", b"c"])


def test_a_body_whose_length_is_said_is_sent_as_it_comes(path, hub_name):
    """However many pieces there are: all of them may be more than there is room for."""
    go_on = Event()
    piece = b"x" * 100_000

    class Pieces(Sized):
        def __iter__(self):
            yield piece
            go_on.wait()
            yield piece

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", str(2 * len(piece)))])
        return Pieces()

    with serving(app, **path) as site, site.connect() as sock:
        sock.sendall(LAST)
        seen = b""
        while len(seen) < len(piece):
            seen += sock.recv(100_000)
        go_on.send()
        seen += read_all(sock)
        assert seen.endswith(b"\r\n\r\n" + 2 * piece)


@pytest.mark.parametrize("body", [collections.deque([b"ab", b"c"]), Sized()])
def test_a_body_with_a_length_is_sent_with_its_length(body, path, hub_name):
    def app(environ, start_response):
        start_response("200 OK", [])
        return body

    with serving(app, **path) as site:
        answers = site.ask(LAST)
    assert answers.headers["content-length"] == "3"
    assert answers.body == b"abc"


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset", "304 Not Modified"])
@pytest.mark.parametrize("kind", [list, iter])
def test_a_body_that_is_none_is_dropped(status, kind, path, hub_name):
    def app(environ, start_response):
        start_response(status, [])
        return kind([b"{}"])

    with serving(app, **path) as site:
        answers = site.ask(GET + LAST)
        assert answers.statuses == [int(status[:3])] * 2
    assert b"{}" not in answers.raw
    assert site.log.text.count("a body where there is none") == 2


def test_what_follows_a_101_is_written_as_it_is(path, hub_name):
    def app(environ, start_response):
        headers = [("Connection", "Upgrade"), ("Upgrade", "shout")]
        write = start_response("101 Switching Protocols", headers)
        write(b"HEY")
        return iter([b"HO"])

    with serving(app, **path) as site:
        answers = site.ask(GET)
    assert answers.statuses == [101]
    assert answers.headers["connection"] == "Upgrade"
    assert answers.body == b"HEYHO"


def test_an_application_that_has_looked_at_its_socket_answers(path, hub_name):
    """It may have read from it, so the connection ends, and that is said."""

    def app(environ, start_response):
        environ["wsgi.input"].get_socket().getpeername()
        return hello(environ, start_response)

    with serving(app, **path) as site:
        answers = site.ask(GET)
    assert answers.statuses == [200]
    assert answers.headers["connection"] == "close"


@pytest.mark.parametrize("kind", ["list", "generator", "answered"])
def test_already_handled_counts_for_more_than_start_response(kind, path, hub_name):
    def generator():
        wsgi.WSGI_LOCAL.already_handled = True
        yield b"not sent"

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/next":
            return hello(environ, start_response)
        environ["eventlet.input"].get_socket().sendall(b"by itself")
        start_response("200 OK", [])
        if kind == "generator":
            return generator()
        if kind == "answered":
            return wsgi.ALREADY_HANDLED
        wsgi.WSGI_LOCAL.already_handled = True
        return [b"not sent"]

    with serving(app, **path) as site:
        assert site.ask(GET).raw == b"by itself"
        # And is forgotten then.
        assert site.ask(LAST.replace(b"/ ", b"/next ")).body == b"hello"


def test_already_handled_of_an_application_that_fails_is_forgotten(path, hub_name):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/next":
            return hello(environ, start_response)
        wsgi.WSGI_LOCAL.already_handled = True
        raise ValueError("after all")

    with serving(app, **path) as site:
        assert site.ask(GET).statuses == [500]
        assert site.ask(LAST.replace(b"/ ", b"/next ")).body == b"hello"


def test_nothing_is_written_into_the_next_answer(path, hub_name):
    kept = []

    def app(environ, start_response):
        kept.append(start_response("200 OK", []))
        return iter([b"hello"]) if environ["PATH_INFO"] == "/chunks" else [b"hello"]

    with serving(app, **path) as site, site.connect() as sock:
        sock.sendall(GET)
        assert read_answer(sock)[2] == b"hello"
        kept[0](b"late")
        sock.sendall(GET.replace(b"/ ", b"/chunks "))
        until(lambda: len(kept) == 2)
        sock.sendall(LAST)
        raw = read_all(sock)
        assert b"late" not in raw
    assert raw.count(b"HTTP/1.1 200 OK\r\n") == 2


# -- requests ---------------------------------------------------------------------------


@pytest.fixture
def ask(path, hub_name):
    """Ask for something, and return the environment that the application saw."""

    def ask(raw):
        seen = []

        def app(environ, start_response):
            seen.append(environ)
            return hello(environ, start_response)

        with serving(app, **path) as site:
            site.ask(raw)
        return seen[0]

    return ask


def test_a_path_begins_with_one_slash(ask):
    environ = ask(LAST.replace(b"/ ", b"///evil.example//a/..?b//c "))
    assert environ["PATH_INFO"] == environ["RAW_PATH_INFO"] == "/evil.example//a/.."
    assert environ["QUERY_STRING"] == "b//c"


def test_the_first_content_type_counts(ask):
    more = b"\r\nContent-Type: a/b\r\ncontent-type: c/d\r\nConnection"
    assert ask(LAST.replace(b"\r\nConnection", more))["CONTENT_TYPE"] == "a/b"


def test_raw_headers_end_without_white_space(ask):
    environ = ask(LAST.replace(b"Host: a", b"Host: a\r\nX-A:  1 \t "))
    assert ("X-A", "1") in environ["headers_raw"]


def test_no_body_has_a_length_of_0(ask):
    assert ask(LAST)["wsgi.input"].content_length == 0


@pytest.mark.parametrize("read", ["read", "readline"])
@pytest.mark.parametrize(
    "body", ["", "5\r\nhe", "5\r\nhello", "5\r\nhello\r", "5\r\nhello\r\n0\r\n"]
)
def test_who_goes_away_in_the_middle_of_chunks_is_no_error(body, read, path, hub_name):
    """Applications that expect either of eventlet's exceptions get it."""
    raised = []

    def app(environ, start_response):
        try:
            while getattr(environ["wsgi.input"], read)():
                pass
        except OSError as exc:
            raised.append(exc)
            raise
        return hello(environ, start_response)

    head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(app, debug=False, **path) as site:
        with site.connect() as sock:
            sock.sendall((head + body).encode())
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b""
        until(lambda: "POST / HTTP/1.1" in site.log.text)
    assert isinstance(raised[0], wsgi.ChunkReadError)
    assert "Traceback" not in site.log.text


# -- keywords ---------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", GET])
def test_socket_timeout_bounds_the_wait_for_a_request(sent, path, hub_name):
    with serving(hello, socket_timeout=0.05, **path) as site, site.connect() as sock:
        sock.sendall(sent)
        assert read_all(sock).endswith(b"hello" if sent else b"")


@pytest.mark.parametrize("more", [b"", b"\r\nConnection: keep-alive"])
def test_a_server_of_http_1_0_keeps_no_connection(more, path, hub_name):
    with serving(hello, max_http_version="HTTP/1.0", **path) as site:
        answer = site.ask(GET.replace(b"\r\nHost: a", b"\r\nHost: a" + more)).raw
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"Connection: close\r\n" in answer


def test_a_class_does_not_tell_what_version_is_spoken(hub_name):
    """As in eventlet, whose server does."""

    class Old(PATHS["resting"]["protocol"]):
        protocol_version = "HTTP/1.0"

    with serving(hello, protocol=Old) as site:
        assert site.ask(GET + LAST).statuses == [200, 200]


def test_who_has_said_handled_is_forgotten_with_his_greenlet(hub_name):
    def says():
        wsgi.WSGI_LOCAL.already_handled = True
        return wsgi.WSGI_LOCAL.already_handled

    assert all(greenio.spawn(says).wait() for _ in range(3))
    said = greenio.spawn(lambda: wsgi.WSGI_LOCAL.already_handled)
    assert said.wait() is False
    assert not exchange._saying
