"""Name resolution: as the standard functions, but parking."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
from greenlet import GreenletExit

import greenio
from _sockets import in_thread
from _support import settle, until
from greenio import hubs
from greenio._net import dns
from greenio._net.socket import GreenSocket


def outcome(func, *args):
    try:
        return func(*args)
    except (OSError, UnicodeError, ValueError, TypeError, OverflowError) as exc:
        return type(exc), exc.args[:1]


GETADDRINFO = [
    ("localhost", 80),
    ("localhost", "http"),
    ("localhost", "80"),
    ("localhost", None),
    (b"localhost", b"80"),
    ("localhost", 80, socket.AF_INET),
    ("localhost", 80, 0, socket.SOCK_STREAM),
    ("localhost", 80, 0, socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    ("localhost", 80, 0, 0, 0, socket.AI_CANONNAME),
    ("127.0.0.1", 80),
    ("127.1", 80),
    ("::1", 80),
    ("::1", 80, socket.AF_INET),
    (None, 80),
    (None, 80, socket.AF_INET, socket.SOCK_STREAM, 0, socket.AI_PASSIVE),
    ("", 80),
    ("name.invalid", 80),
    ("localhost", 80, 0, 0, 0, socket.AI_NUMERICHOST),
    ("localhost", "no-such-service"),
    ("a" * 300, 80),
    ("local\0host", 80),
    ("localhost", 80, 999),
    (12, 80),
    ("localhost", 1.5),
    (None, None),
]


@pytest.mark.parametrize("args", GETADDRINFO, ids=[str(args) for args in GETADDRINFO])
def test_getaddrinfo(hub_name, args):
    expected = outcome(socket.getaddrinfo, *args)
    assert outcome(dns.getaddrinfo, *args) == expected
    assert outcome(greenio.spawn(dns.getaddrinfo, *args).wait) == expected


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("gethostbyname", ("localhost",)),
        ("gethostbyname", ("127.0.0.1",)),
        ("gethostbyname", ("127.1",)),
        ("gethostbyname", ("",)),
        ("gethostbyname", ("<broadcast>",)),
        ("gethostbyname", ("name.invalid",)),
        ("gethostbyname", ("127.0.0.1\0",)),
        ("gethostbyname", (b"127.0.0.1\0",)),
        ("gethostbyname", (None,)),
        ("gethostbyname_ex", ("localhost",)),
        ("gethostbyname_ex", ("name.invalid",)),
        ("gethostbyaddr", ("127.0.0.1",)),
        ("gethostbyaddr", ("name.invalid",)),
        ("getnameinfo", (("127.0.0.1", 80), 0)),
        ("getnameinfo", (("127.0.0.1", 80), socket.NI_NUMERICHOST)),
        ("getnameinfo", (("::1", 80, 0, 0), 3)),
        ("getnameinfo", (("127.0.0.1", 80, 0, 0), 0)),
        ("getnameinfo", ("127.0.0.1", 0)),
        ("getfqdn", ()),
        ("getfqdn", ("localhost",)),
        ("getfqdn", ("name.invalid",)),
    ],
)
def test_others(everywhere, name, args):
    expected = outcome(getattr(socket, name), *args)
    everywhere(lambda: check(outcome(getattr(dns, name), *args), expected))


def check(got, expected):
    assert got == expected


class Slow:
    """A standard function that takes until it is told to go on."""

    def __init__(self, result=None):
        self.go_on = threading.Event()
        self.threads = []
        self.result = result

    def __call__(self, *args):
        self.threads.append(threading.current_thread())
        assert self.go_on.wait(20)
        return self.result


@pytest.fixture
def slow(monkeypatch):
    function = Slow([(2, 1, 6, "", ("127.0.0.9", 7))])
    standard = dns._getaddrinfo

    def getaddrinfo(host, port, family, type, proto, flags):  # noqa: A002
        if host == "slow.test" and not flags & socket.AI_NUMERICHOST:
            return function(host, port)
        return standard(host, port, family, type, proto, flags)

    monkeypatch.setattr(dns, "_getaddrinfo", getaddrinfo)
    yield function
    function.go_on.set()


@pytest.mark.parametrize("loop", ["asyncio"], indirect=True)
def test_others_run_meanwhile(hub_name, slow):
    looking = greenio.spawn(dns.getaddrinfo, "slow.test", 7)
    until(lambda: slow.threads)
    assert slow.threads[0] is not threading.current_thread()
    settle()
    assert not looking.dead
    slow.go_on.set()
    assert looking.wait() == slow.result


@pytest.mark.parametrize("loop", ["asyncio"], indirect=True)
def test_killed(hub_name, slow):
    looking = greenio.spawn(dns.getaddrinfo, "slow.test", 7)
    until(lambda: slow.threads)
    began = time.monotonic()
    looking.kill()
    with pytest.raises(GreenletExit):
        looking.wait()
    with pytest.raises(greenio.Timeout), greenio.Timeout(0.01):
        dns.getaddrinfo("slow.test", 7)
    assert time.monotonic() - began < 5
    slow.go_on.set()


def test_an_address_needs_no_thread(hub_name, monkeypatch):
    hub = hubs.get_hub()
    monkeypatch.setattr(dns, "await_", None)
    assert dns.getaddrinfo("127.0.0.1", 80)
    assert dns.gethostbyname("127.0.0.1") == "127.0.0.1"
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert dns.getnameinfo(("127.0.0.1", 80), numeric) == ("127.0.0.1", "80")
    with GreenSocket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"x", sock.getsockname())
        assert sock.recv(10) == b"x"
    assert hub is hubs.get_hub()


def test_the_loop_resolves(hub_name):
    # A loop with a resolver of its own resolves for green threads, too.
    class Loop(asyncio.SelectorEventLoop):
        async def getaddrinfo(self, host, port, **kwargs):
            await asyncio.sleep(0)
            asked.append((host, port, kwargs))
            return ((2, 1, 6, "", ("127.0.0.1", port)),)

    asked = []
    hubs.use_hub(Loop)
    try:
        assert dns.getaddrinfo("anything.test", 80, type=1) == [
            (2, 1, 6, "", ("127.0.0.1", 80))
        ]
        assert asked == [
            ("anything.test", 80, {"family": 0, "type": 1, "proto": 0, "flags": 0})
        ]
        with GreenSocket(type=socket.SOCK_DGRAM) as sock:
            sock.connect(("another.test", 9))
            assert sock.getpeername() == ("127.0.0.1", 9)
        assert len(asked) == 2
    finally:
        from _support import end_hub

        end_hub()


def test_in_the_loop_greenlet(run_async):
    async def main():
        assert dns.getaddrinfo("127.0.0.1", 80)
        for call in (
            lambda: dns.getaddrinfo("localhost", 80),
            lambda: dns.gethostbyname_ex("localhost"),
            lambda: dns.getfqdn("localhost"),
        ):
            with pytest.raises(greenio.BlockingInLoopError):
                call()

    run_async(main)


def test_in_an_os_thread_without_a_hub(hub_name):
    def look_up():
        return (
            dns.getaddrinfo("localhost", 80),
            dns.gethostbyname("localhost"),
            dns.gethostbyname_ex("localhost"),
        )

    assert in_thread(look_up) == (
        socket.getaddrinfo("localhost", 80),
        socket.gethostbyname("localhost"),
        socket.gethostbyname_ex("localhost"),
    )


# -- addresses of sockets ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "address", "expected"),
    [
        (socket.AF_INET, ("127.0.0.1", 1), ("127.0.0.1", 1)),
        (socket.AF_INET, (b"127.0.0.1", 1), (b"127.0.0.1", 1)),
        (socket.AF_INET, ("localhost", 1), ("127.0.0.1", 1)),
        (socket.AF_INET, (b"localhost", 1), ("127.0.0.1", 1)),
        (socket.AF_INET, (bytearray(b"localhost"), 1), ("127.0.0.1", 1)),
        (socket.AF_INET, ("127.1", 1), ("127.0.0.1", 1)),
        (socket.AF_INET, ("", 1), ("", 1)),
        (socket.AF_INET, ("<broadcast>", 1), ("<broadcast>", 1)),
        (socket.AF_INET, (5, 1), (5, 1)),
        (socket.AF_INET, (), ()),
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, ("::1", 1), ("::1", 1)),
        (socket.AF_INET6, ("::1", 1, 2, 3), ("::1", 1, 2, 3)),
        (socket.AF_UNIX, "/localhost", "/localhost"),
        # What is no address or no name, the system call refuses.
        (socket.AF_INET, ("localhost",), ("localhost",)),
        (socket.AF_INET, ("localhost", "80"), ("localhost", "80")),
        (socket.AF_INET, ("l" * 64, 80), ("l" * 64, 80)),
    ],
)
def test_resolved(hub_name, family, address, expected):
    try:
        sock = GreenSocket(family)
    except OSError:
        pytest.skip("no such family here")
    with sock:
        assert dns.resolved(sock, address) == expected


@pytest.mark.parametrize(
    "host", ["127.0.0.1\0", b"127.0.0.1\0", bytearray(b"127.0.0.1\0"), "localhost\0é"]
)
def test_a_null_in_a_host(hub_name, host):
    """A look-up would end there, and find what was not meant."""
    with GreenSocket() as sock, GreenSocket(type=socket.SOCK_DGRAM) as datagrams:
        for call in (
            lambda: sock.bind((host, 0)),
            lambda: sock.connect((host, 1)),
            lambda: sock.connect_ex((host, 1)),
            lambda: datagrams.sendto(b"", (host, 9)),
        ):
            with pytest.raises(TypeError, match="null character"):
                call()


def test_an_interface_by_name(hub_name):
    # The scope that the name of an interface stands for is not lost.
    try:
        sock = GreenSocket(socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    name = socket.if_nameindex()[0][1]
    with sock:
        resolved = dns.resolved(sock, (f"fe80::1%{name}", 80))
        assert resolved[1:3] == (80, 0)
        assert resolved[3] == socket.if_nametoindex(name)
