"""Connections of a protocol that reads requests by itself, between the requests."""

from __future__ import annotations

import functools
import gc
import weakref

import pytest

import greenio
from _http import (
    GET,
    LAST,
    PATHS,
    Answers,
    RestingPath,
    echo,
    hello,
    read_all,
    read_answer,
    serving,
)
from _support import settle, until
from greenio import wsgi
from greenio._greenthread.thread import GreenThread
from greenio._http.connection import HEAD, IDLE
from greenio._http.loop_connection import Worker
from greenio._http.protocol import read_by_loop
from greenio.event import Event


def overriding(name):
    method = getattr(wsgi.HttpProtocol, name)
    body = {name: lambda self, *args: method(self, *args)}
    return type("Overriding", (wsgi.HttpProtocol,), body)


@pytest.mark.parametrize("name", ["__init__", "setup", "handle", "finish"])
def test_what_runs_for_a_whole_connection_needs_a_green_thread(name):
    assert not read_by_loop(overriding(name))
    assert not read_by_loop(functools.partial(overriding(name)))


@pytest.mark.parametrize("name", ["get_environ", "parse_request", "log_message"])
def test_what_runs_for_a_request_needs_none_between_requests(name):
    assert read_by_loop(overriding(name))


def threads():
    gc.collect()
    found = [item for item in gc.get_objects() if isinstance(item, GreenThread)]
    return sum(not item.dead for item in found if not isinstance(item, Worker))


@pytest.mark.parametrize(
    ("path", "each"), [("loop", 0), ("resting", 0), ("green", 1), ("classic", 1)]
)
def test_a_connection_that_waits_has_a_green_thread_or_not(path, each, hub_name):
    with serving(hello, server_event=(event := Event()), **PATHS[path]) as site:
        server = event.wait()
        before = threads()
        socks = [site.connect() for _ in range(5)]
        for sock in socks:
            sock.sendall(GET)
            assert read_answer(sock)[0] == 200
        until(lambda: [one.phase for one in server.channels] == [IDLE] * 5)
        settle()
        assert threads() - before == 5 * each
        for sock in socks:
            sock.close()
        until(lambda: not server.channels)


def test_one_protocol_serves_a_connection_and_forgets_its_requests(hub_name):
    protocols = []
    held = []

    class Protocol(RestingPath):
        def handle_one_request(self):
            if self not in protocols:
                protocols.append(self)
                self.count = 0
            held.append({"environ", "headers"} & vars(self).keys())
            super().handle_one_request()
            self.count += 1

    with serving(hello, protocol=Protocol) as site, site.connect() as sock:
        for _ in range(3):
            sock.sendall(GET)
            assert read_answer(sock)[0] == 200
        sock.sendall(GET + LAST)
        assert Answers(read_all(sock)).statuses == [200, 200]
    assert [protocol.count for protocol in protocols] == [5]
    assert held == [set()] * 5


def test_nothing_of_it_is_left_when_the_connection_has_ended(hub_name):
    known = []

    class Protocol(RestingPath):
        def handle_one_request(self):
            known.append(weakref.ref(self))
            super().handle_one_request()

    gc.disable()
    try:
        with serving(hello, protocol=Protocol, server_event=(event := Event())) as site:
            server = event.wait()
            assert site.ask(LAST).statuses == [200]
            with site.connect() as sock:
                sock.sendall(GET)
                assert read_answer(sock)[0] == 200
            until(lambda: not server.channels)
            settle()
            assert len(known) == 2
            assert [ref() for ref in known] == [None, None]
    finally:
        gc.enable()


def test_a_request_may_come_in_any_pieces(hub_name):
    whole = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
    with serving(echo, protocol=RestingPath) as site, site.connect() as sock:
        for _ in range(2):
            for index in range(len(whole)):
                sock.sendall(whole[index : index + 1])
                greenio.sleep(0)
            assert read_answer(sock)[2] == b"body"


def test_a_stop_ends_those_that_rest_and_lets_others_finish(hub_name):
    with serving(hello, protocol=RestingPath, server_event=(event := Event())) as site:
        server = event.wait()
        with site.connect() as resting, site.connect() as begun:
            resting.sendall(GET)
            assert read_answer(resting)[0] == 200
            begun.sendall(GET + GET[:20])
            assert read_answer(begun)[0] == 200
            until(lambda: sorted(one.phase for one in server.channels) == [IDLE, HEAD])
            server.stop("it was told to")
            assert read_all(resting) == b""
            begun.sendall(GET[20:])
            assert read_answer(begun)[0] == 200
            assert read_all(begun) == b""
        site.thread.wait()
    assert "Traceback" not in site.log.text


def test_a_request_that_came_before_the_stop_is_answered(hub_name):
    with serving(hello, protocol=RestingPath, server_event=(event := Event())) as site:
        server = event.wait()
        with site.connect() as sock:
            sock.sendall(GET)
            assert read_answer(sock)[0] == 200
            (channel,) = server.channels
            until(lambda: channel.phase == IDLE)
            sock.sendall(GET)
            channel.end_idle()
            assert read_answer(sock)[0] == 200
            until(lambda: channel.phase == IDLE)
            channel.end_idle()
            assert read_all(sock) == b""


def test_what_fails_in_it_is_reported_and_the_server_goes_on(hub_name):
    class Protocol(RestingPath):
        def handle_one_request(self):
            super().handle_one_request()
            if self.path == "/fail":
                raise ValueError("on purpose")

    reports = []
    hub = greenio.hubs.get_hub()
    hub.loop.set_exception_handler(lambda loop, context: reports.append(context))
    try:
        with serving(hello, protocol=Protocol, server_event=(event := Event())) as site:
            server = event.wait()
            with site.connect() as sock:
                sock.sendall(GET.replace(b"/ ", b"/fail "))
                assert read_answer(sock)[0] == 200
                assert read_all(sock) == b""
            until(lambda: not server.channels)
            assert site.ask(LAST).statuses == [200]
    finally:
        hub.loop.set_exception_handler(None)
    assert [str(report["exception"]) for report in reports] == ["on purpose"]
