"""How a server of `greenio.wsgi` ends."""

from __future__ import annotations

import contextlib
from time import monotonic

import pytest

import greenio
from _http import (
    GET,
    LAST,
    PATHS,
    Answers,
    Lines,
    hello,
    read_all,
    read_answer,
    serving,
)
from _support import settle, until
from _tls import Certificates
from greenio import wsgi
from greenio.event import Event
from greenio.green import socket


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


def held_up():
    """An application that tells when it is called, and answers when it may."""
    begun, go_on = Event(), Event()

    def app(environ, start_response):
        begun.send()
        go_on.wait()
        return hello(environ, start_response)

    return app, begun, go_on


def ended(site):
    try:
        site.thread.wait()
    except greenio.greenlet.GreenletExit:
        return "killed"
    return "returned"


@pytest.mark.parametrize("how", ["kill", "close", "is_accepting", "StopServe"])
def test_it_ends_when_told_and_answers_what_it_has_begun(
    how, path, hub_name, monkeypatch
):
    begun, go_on = Event(), Event()

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/stop":
            raise greenio.StopServe
        if environ["PATH_INFO"] == "/slow":
            begun.send()
            go_on.wait()
        return hello(environ, start_response)

    listener = greenio.listen(("127.0.0.1", 0))
    with serving(app, listener, **path) as site:
        idle = site.connect()
        idle.sendall(GET)
        assert read_answer(idle)[0] == 200
        busy = site.connect()
        busy.sendall(b"GET /slow" + GET[5:])
        begun.wait()
        if how == "kill":
            greenio.spawn(site.thread.kill)
        elif how == "close":
            listener.close()
        elif how == "StopServe":
            assert site.ask(b"GET /stop" + GET[5:]).statuses == [503]
        else:
            monkeypatch.setattr(wsgi, "is_accepting", False)
        assert read_all(idle) == b""
        assert not site.thread.dead
        go_on.send()
        status, headers, body = read_answer(busy)
        assert (status, headers["connection"], body) == (200, "close", b"hello")
        # The server waits for that a while.
        for sock in (idle, busy):
            sock.close()
        assert ended(site) == ("killed" if how == "kill" else "returned")
    assert "wsgi exited" in site.log.text


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_who_is_accepted_last_is_answered_before_it_ends(
    tls, path, hub_name, monkeypatch, tmp_path
):
    listener = greenio.listen(("127.0.0.1", 0))
    if tls:
        certificates = Certificates(tmp_path)
        context = certificates.server_context()
        listener = context.wrap_socket(listener, server_side=True)
    with serving(hello, listener, **path) as site, contextlib.ExitStack() as stack:
        # Until the server waits for somebody.
        until(lambda: "starting up" in site.log.text)
        settle()
        monkeypatch.setattr(wsgi, "is_accepting", False)
        sock = stack.enter_context(site.connect())
        if tls:
            context = certificates.client_context()
            sock = context.wrap_socket(sock, server_hostname="server.test")
            stack.enter_context(sock)
        sock.sendall(LAST)
        assert Answers(read_all(sock)).statuses == [200]
        stack.close()
        site.thread.wait()
    request, end = site.log.text.splitlines()[-2:]
    assert '"GET / HTTP/1.1" 200 5' in request
    assert "wsgi exited, is_accepting is false" in end


def test_nobody_is_accepted_before_there_is_room_in_a_custom_pool(hub_name):
    app, begun, go_on = held_up()
    known = Event()
    pool = greenio.GreenPool(1)
    listener = greenio.listen(("127.0.0.1", 0))
    # As another process has it.
    with listener.dup() as other, contextlib.ExitStack() as stack:
        site = stack.enter_context(
            serving(app, listener, custom_pool=pool, server_event=known)
        )
        server = known.wait()
        busy, second = (
            stack.enter_context(greenio.connect(other.getsockname())) for _ in "12"
        )
        busy.sendall(LAST)
        begun.wait()
        second.sendall(LAST)
        settle()
        server.stop("it was told to")
        go_on.send()
        assert Answers(read_all(busy)).statuses == [200]
        busy.close()
        site.thread.wait()
        taken, _ = other.accept()
        with taken:
            assert taken.recv(1000) == LAST


def test_a_server_may_run_in_the_pool_that_it_serves_with(hub_name):
    pool = greenio.GreenPool(1)
    listener = greenio.listen(("127.0.0.1", 0))
    address = listener.getsockname()
    thread = pool.spawn(wsgi.server, listener, hello, custom_pool=pool, log=Lines())
    for _ in range(3):
        with greenio.connect(address) as sock:
            sock.sendall(LAST)
            assert Answers(read_all(sock)).statuses == [200]
    thread.kill()
    with pytest.raises(greenio.greenlet.GreenletExit):
        thread.wait()


def test_a_request_in_the_place_of_the_server_itself_is_answered(hub_name):
    app, begun, go_on = held_up()
    known = Event()
    pool = greenio.GreenPool(1)
    listener = greenio.listen(("127.0.0.1", 0))
    address = listener.getsockname()
    keywords = {"custom_pool": pool, "log": Lines(), "server_event": known}
    thread = pool.spawn(wsgi.server, listener, app, **keywords)
    server = known.wait()
    with greenio.connect(address) as sock:
        sock.sendall(LAST)
        begun.wait()
        server.stop("the test says so")
        settle()
        go_on.send()
        assert Answers(read_all(sock)).statuses == [200]
    thread.wait()


def test_the_wait_for_the_last_requests_has_a_bound(path, hub_name):
    begun = Event()
    ends = []

    def app(environ, start_response):
        begun.send()
        try:
            greenio.sleep(100)
        finally:
            ends.append(True)

    with serving(app, graceful_timeout=0.1, **path) as site, site.connect() as sock:
        sock.sendall(GET)
        begun.wait()
        greenio.spawn(site.thread.kill)
        assert ended(site) == "killed"
        assert read_all(sock) == b""
    assert ends == [True]
    assert "still in use" in site.log.text


def test_a_request_that_came_before_the_stop_is_answered(path, hub_name):
    with serving(hello, **path) as site, site.connect() as sock:
        sock.sendall(GET)
        assert read_answer(sock)[0] == 200
        sock.sendall(GET)
        site.thread.kill()
        status, headers, _ = read_answer(sock)
        assert (status, headers["connection"]) == (200, "close")


def test_a_connection_may_bring_one_more_request_after_the_stop(path, hub_name):
    """However long it has waited before, if the server gives it a moment."""
    with serving(hello, server_event=(event := Event()), **path) as site:
        server = event.wait()
        server.idle_grace = 30.0
        with site.connect() as sock:
            sock.sendall(GET)
            assert read_answer(sock)[0] == 200
            (channel,) = server.channels
            channel.since -= 60
            server.stop("the test says so")
            until(lambda: server.socket.fileno() == -1)
            # Those that get no moment would be ended meanwhile.
            closed = monotonic()
            until(lambda: server.now > closed + 0.3 or not server.channels)
            sock.sendall(GET)
            status, headers, _ = read_answer(sock)
            assert (status, headers["connection"]) == (200, "close")
            assert read_all(sock) == b""
        assert ended(site) == "returned"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_who_has_just_connected_is_answered_after_the_stop(
    tls, path, hub_name, tmp_path
):
    """Also who is in the middle of the handshake."""
    listener = greenio.listen(("127.0.0.1", 0))
    if tls:
        certificates = Certificates(tmp_path)
        context = certificates.server_context()
        listener = context.wrap_socket(listener, server_side=True)
    with serving(hello, listener, server_event=(event := Event()), **path) as site:
        server = event.wait()
        server.first_grace = 30.0
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(site.connect())
            until(lambda: server.channels)
            (channel,) = server.channels
            server.stop("the test says so")
            until(lambda: server.socket.fileno() == -1)
            # Those that get no moment would be ended meanwhile.
            closed = monotonic()
            until(lambda: server.now > closed + 0.3 or not server.channels)
            if tls:
                context = certificates.client_context()
                sock = context.wrap_socket(sock, server_hostname="server.test")
                stack.enter_context(sock)
                # The handshake is the beginning of a moment of its own.
                until(lambda: channel.since >= closed)
            sock.sendall(GET)
            status, headers, _ = read_answer(sock)
            assert (status, headers["connection"]) == (200, "close")
            assert read_all(sock) == b""
        assert ended(site) == "returned"


def test_who_never_asks_anything_does_not_keep_it_from_ending(path, hub_name):
    with serving(hello, server_event=(event := Event()), **path) as site:
        server = event.wait()
        server.first_grace = 0.01
        with site.connect() as sock:
            until(lambda: server.channels)
            server.stop("the test says so")
            assert read_all(sock) == b""
        assert ended(site) == "returned"


@pytest.mark.parametrize("where", ["nothing", "head", "body", "answer", "idle"])
def test_a_client_that_goes_away_leaves_nothing(where, path, hub_name):
    started = Event()

    def app(environ, start_response):
        if where == "body":
            started.send()
            environ["wsgi.input"].read()
        start_response("200 OK", [])
        if where == "answer":
            started.send()
            return iter([b"x" * 100_000] * 1000)
        return [b"hello"]

    with serving(app, server_event=(event := Event()), **path) as site:
        server = event.wait()
        with site.connect() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if where == "head":
                sock.sendall(b"GET / HT")
            elif where == "body":
                sock.sendall(
                    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nh"
                )
                started.wait()
            elif where == "answer":
                sock.sendall(GET)
                started.wait()
            elif where == "idle":
                sock.sendall(GET)
                read_answer(sock)
            until(lambda: len(server.channels) == 1)
        until(lambda: not server.channels)
        site.app = hello
        assert site.ask(LAST).statuses == [200]
        assert "Traceback" not in site.log.text


def test_many_idle_connections_and_requests_beside_them(hub_name):
    with serving(hello, server_event=(event := Event())) as site:
        server = event.wait()
        idle = [site.connect() for _ in range(300)]
        for sock in idle:
            sock.sendall(GET)
        for sock in idle:
            assert read_answer(sock)[0] == 200
        assert site.ask(LAST).statuses == [200]
        until(lambda: len(server.channels) == len(idle))
        for sock in idle:
            sock.close()
        until(lambda: not server.channels)
