"""`connect`, `listen`, `serve` and `wrap_ssl`."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import ssl
import sys
import threading
import warnings

import pytest
import trustme
from greenlet import GreenletExit

import greenio
from _sockets import in_thread, reset, until_parked, waiting
from _support import settle, until
from greenio import StopServe, convenience, hubs
from greenio._net import constants, serving
from greenio._net.socket import GreenSocket
from greenio._net.ssl import GreenSSLSocket
from greenio.convenience import (
    ReusePortUnavailableWarning,
    ReuseRandomPortWarning,
    connect,
    listen,
    serve,
    wrap_ssl,
)

LOCAL = ("127.0.0.1", 0)


@pytest.fixture
def server(hub_name):
    with listen(LOCAL) as sock:
        yield sock


def free_port():
    with socket.socket() as sock:
        sock.bind(LOCAL)
        return sock.getsockname()[1]


def reusable(sock):
    return [
        bool(sock.getsockopt(socket.SOL_SOCKET, option))
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    ]


# -- connect and listen ---------------------------------------------------------------------


def test_connect(everywhere):
    def main():
        with listen(LOCAL) as server:
            assert type(server) is GreenSocket
            with connect(server.getsockname()) as client:
                assert type(client) is GreenSocket
                connection, address = server.accept()
                assert address == client.getsockname()
                connection.close()
            with connect(("localhost", server.getsockname()[1])):
                server.accept()[0].close()

    everywhere(main)


def test_connect_from(server):
    port = free_port()
    with connect(server.getsockname(), bind=("127.0.0.1", port)) as client:
        assert client.getsockname() == ("127.0.0.1", port)
        server.accept()[0].close()


def test_connect_fails(hub_name):
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.1", free_port()))
    with pytest.raises(OSError):
        connect(LOCAL, bind=("203.0.113.1", 0))


def test_ipv6(hub_name):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        server = listen(("::1", 0), socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with server, connect(server.getsockname(), socket.AF_INET6) as client:
        assert client.family is socket.AF_INET6
        server.accept()[0].close()


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no such option")
def test_reuse(hub_name):
    # As eventlet: a port that is named can be shared, unless that is not wanted.
    cases = [
        ({}, True, [True, True]),
        ({}, False, [True, False]),
        ({"reuse_port": True}, True, [True, True]),
        ({"reuse_port": False}, True, [True, False]),
        ({"reuse_addr": False}, True, [False, True]),
        ({"reuse_addr": False}, False, [False, False]),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options, named, expected in cases:
            port = free_port() if named else 0
            with listen(("127.0.0.1", port), **options) as sock:
                assert reusable(sock) == expected, options


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no such option")
def test_two_share_a_port(hub_name):
    with listen(("127.0.0.1", free_port()), reuse_port=True) as first:
        with listen(first.getsockname(), reuse_port=True) as second:
            assert first.getsockname() == second.getsockname()
        with pytest.raises(OSError) as caught:
            listen(first.getsockname(), reuse_port=False)
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no such option")
def test_sharing_any_port(hub_name):
    with pytest.warns(ReuseRandomPortWarning) as caught, listen(LOCAL, reuse_port=True):
        pass
    assert caught[0].filename == __file__


def test_sharing_is_not_to_be_had(hub_name, monkeypatch):
    monkeypatch.setattr(constants, "SO_REUSEPORT", -1)
    with (
        pytest.warns(ReusePortUnavailableWarning) as caught,
        listen(("127.0.0.1", free_port()), reuse_port=True),
    ):
        pass
    assert caught[0].filename == __file__
    with (
        warnings.catch_warnings(),
        listen(("127.0.0.1", free_port())) as sock,
    ):
        warnings.simplefilter("error")
        assert reusable(sock) == [True, False]


def test_backlog(hub_name):
    with listen(LOCAL, backlog=2) as server:
        clients = [connect(server.getsockname()) for _ in range(2)]
        for client in clients:
            client.close()


def test_unix(everywhere, tmp_path):
    file = tmp_path / f"{os.urandom(4).hex()}.sock"
    path = str(file)

    def main():
        with listen(path, socket.AF_UNIX) as server:
            # Somebody listens there.
            with pytest.raises(OSError) as caught:
                listen(path, socket.AF_UNIX)
            assert caught.value.errno == errno.EADDRINUSE
            server.accept()[0].close()  # the look whether somebody does
            with connect(path, socket.AF_UNIX) as client:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"x")
                    assert client.recv(10) == b"x"
        # It was left behind, and is replaced.
        assert file.is_socket()
        with listen(os.fsencode(path), socket.AF_UNIX) as server:
            with connect(path, socket.AF_UNIX):
                server.accept()[0].close()
        file.unlink()

    everywhere(main)


def test_unix_path_of_something_else(hub_name, tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(OSError):
        listen(str(path), socket.AF_UNIX)
    assert path.read_text() == "precious"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_abstract_unix_name(hub_name):
    name = f"\0{os.urandom(8).hex()}"
    with listen(name, socket.AF_UNIX) as server, connect(name, socket.AF_UNIX):
        server.accept()[0].close()


# -- serve ----------------------------------------------------------------------------------


def echo(connection, address):
    while data := connection.recv(100):
        if data == b"stop":
            raise StopServe
        if data == b"fail":
            raise LookupError("as asked")
        connection.sendall(data)


def ask(server, message, answer=True):
    with connect(server.getsockname()) as client:
        client.sendall(message)
        return client.recv(100) if answer else None


def test_serve(everywhere):
    def main():
        with listen(LOCAL) as server:
            addresses = []

            def handle(connection, address):
                addresses.append(address)
                echo(connection, address)

            thread = greenio.spawn(serve, server, handle)
            clients = [connect(server.getsockname()) for _ in range(5)]
            for number, client in enumerate(clients):
                client.sendall(b"%d" % number)
                assert client.recv(10) == b"%d" % number
            assert addresses == [client.getsockname() for client in clients]
            assert not thread.dead
            for client in clients[1:]:
                client.close()
            clients[0].sendall(b"stop")
            assert thread.wait() is None
            # The connection was closed, the listening socket was not.
            assert clients[0].recv(10) == b""
            clients[0].close()
            assert server.fileno() > 0
        assert waiting() == 0

    everywhere(main)


def test_the_connection_is_closed_after_its_handler(server):
    thread = greenio.spawn(serve, server, lambda connection, _: None)
    with connect(server.getsockname()) as client:
        assert client.recv(10) == b""
    thread.kill()


def test_graceful_stop(server):
    # Who is being served is served to the end; nobody else is.
    thread = greenio.spawn(serve, server, echo)
    with connect(server.getsockname()) as old:
        old.sendall(b"x")
        assert old.recv(10) == b"x"
        ask(server, b"stop")
        settle()
        assert not thread.dead
        with connect(server.getsockname()) as late:
            late.settimeout(0.02)
            late.sendall(b"x")
            with pytest.raises(TimeoutError):
                late.recv(10)
            for message in (b"still", b"there"):
                old.sendall(message)
                assert old.recv(10) == message
    thread.wait()


def test_two_stop_it(server):
    thread = greenio.spawn(serve, server, echo)
    clients = [connect(server.getsockname()) for _ in range(3)]
    for client in clients:
        client.sendall(b"x")
        assert client.recv(10) == b"x"
    for client in clients:
        client.sendall(b"stop")
    thread.wait()
    for client in clients:
        assert client.recv(10) == b""
        client.close()


def test_a_handler_fails(server):
    # As eventlet says: what a handler raises is raised from serve().
    thread = greenio.spawn(serve, server, echo)
    with connect(server.getsockname()) as other:
        other.sendall(b"x")
        assert other.recv(10) == b"x"
        assert ask(server, b"fail") == b""
        with pytest.raises(LookupError, match="as asked"):
            thread.wait()
        # The other handler goes on.
        other.sendall(b"y")
        assert other.recv(10) == b"y"
    until(lambda: waiting() == 0)


def test_a_handler_fails_after_the_end(server):
    reported = []
    hub = hubs.get_hub()
    hub.loop.set_exception_handler(lambda _, context: reported.append(context))
    thread = greenio.spawn(serve, server, echo)
    with connect(server.getsockname()) as other:
        other.sendall(b"x")
        assert other.recv(10) == b"x"
        ask(server, b"stop")
        other.sendall(b"fail")
        assert other.recv(10) == b""
    thread.wait()
    until(lambda: reported)
    assert isinstance(reported[0]["exception"], LookupError)


def test_a_peer_that_goes_away_stops_nothing(server):
    thread = greenio.spawn(serve, server, echo)
    for _ in range(3):
        client = connect(server.getsockname())
        client.sendall(b"x")
        client.recv(10)
        reset(client)
    assert ask(server, b"y") == b"y"
    assert not thread.dead
    thread.kill()


def test_a_killed_handler_stops_nothing(server):
    handlers = []

    def handle(connection, address):
        handlers.append(greenio.getcurrent())
        echo(connection, address)

    thread = greenio.spawn(serve, server, handle)
    with connect(server.getsockname()) as client:
        client.sendall(b"x")
        client.recv(10)
        handlers[0].kill()
        assert client.recv(10) == b""
    assert ask(server, b"y") == b"y"
    assert not thread.dead
    thread.kill()


def test_serve_is_killed(server):
    thread = greenio.spawn(serve, server, echo)
    with connect(server.getsockname()) as client:
        client.sendall(b"x")
        client.recv(10)
        thread.kill()
        with pytest.raises(GreenletExit):
            thread.wait()
        client.sendall(b"y")
        assert client.recv(10) == b"y"
        # Nobody is there to be told, and nothing is wrong with that.
        reported = []
        hubs.get_hub().loop.set_exception_handler(lambda *args: reported.append(args))
        client.sendall(b"stop")
        assert client.recv(10) == b""
        settle()
        gc.collect()
        assert not reported


def test_the_listening_socket_is_closed(server):
    thread = greenio.spawn(serve, server, echo)
    until_parked(thread)
    server.close()
    with pytest.raises(OSError) as caught:
        thread.wait()
    assert caught.value.errno == errno.EBADF


def test_concurrency(server):
    running = most = 0

    def handle(connection, address):
        nonlocal running, most
        running += 1
        most = max(most, running)
        echo(connection, address)
        running -= 1

    thread = greenio.spawn(serve, server, handle, concurrency=3)
    clients = [connect(server.getsockname()) for _ in range(8)]
    for client in clients:
        client.sendall(b"x")
    settle(20)
    assert running == 3
    for client in clients:
        assert client.recv(10) == b"x"
        client.close()
    until(lambda: running == 0)
    assert most == 3
    thread.kill()


def test_accepting_fails_for_a_while(server, monkeypatch):
    # A connection that is gone already, then no more descriptors.
    errors = [errno.ECONNABORTED, errno.EMFILE, errno.EPROTO]
    reported = []
    slept = []
    hubs.get_hub().loop.set_exception_handler(
        lambda _, context: reported.append(context["message"])
    )
    accept = GreenSocket.accept

    def flaky(self):
        if errors:
            number = errors.pop()
            raise OSError(number, os.strerror(number))
        return accept(self)

    monkeypatch.setattr(GreenSocket, "accept", flaky)
    monkeypatch.setattr(serving, "sleep", slept.append)
    thread = greenio.spawn(serve, server, echo)
    assert ask(server, b"x") == b"x"
    assert len(reported) == len(slept) == 1
    assert "cannot accept connections for now" in reported[0]
    thread.kill()


def test_serve_mistakes(server):
    with pytest.raises(TypeError, match="serve"):
        serve(server, None)
    with pytest.raises(TypeError):
        serve(server, echo, "many")


def test_serve_in_the_main_greenlet(server):
    def stop():
        ask(server, b"x")
        ask(server, b"stop")

    thread = greenio.spawn(stop)
    serve(server, echo)
    thread.wait()


def test_serve_in_an_os_thread(hub_name):
    ready = []

    def run():
        with listen(LOCAL) as sock:
            ready.append(sock.getsockname())
            serve(sock, echo)
        return "stopped"

    def client():
        while not ready:
            pass
        with socket.create_connection(ready[0]) as sock:
            sock.sendall(b"x")
            assert sock.recv(10) == b"x"
            sock.sendall(b"stop")
            assert sock.recv(10) == b""

    other = threading.Thread(target=client)
    other.start()
    assert in_thread(run) == "stopped"
    other.join()


# -- TLS ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    certificate = authority.issue_cert("server.test")
    names = {name: str(directory / name) for name in ("ca", "key", "cert")}
    authority.cert_pem.write_to_path(names["ca"])
    certificate.private_key_pem.write_to_path(names["key"])
    certificate.cert_chain_pems[0].write_to_path(names["cert"])
    return names


def test_wrap_ssl(everywhere, files):
    def main():
        server = wrap_ssl(
            listen(LOCAL),
            certfile=files["cert"],
            keyfile=files["key"],
            server_side=True,
        )
        with server:
            thread = greenio.spawn(serve, server, echo)
            client = wrap_ssl(
                connect(server.getsockname()),
                cert_reqs=ssl.CERT_REQUIRED,
                ca_certs=files["ca"],
                server_hostname="server.test",
            )
            with client:
                assert type(client) is GreenSSLSocket
                client.sendall(b"secret")
                assert client.recv(10) == b"secret"
                client.sendall(b"stop")
                assert client.recv(10) == b""
            thread.wait()

    everywhere(main)


def test_wrap_ssl_without_shaking_hands(hub_name, files):
    server = wrap_ssl(
        listen(LOCAL),
        files["key"],
        files["cert"],
        True,
        do_handshake_on_connect=False,
    )
    with server:
        with wrap_ssl(
            connect(server.getsockname()), do_handshake_on_connect=False
        ) as client:
            connection, _ = server.accept()
            with connection:
                assert connection.version() is None
                thread = greenio.spawn(connection.do_handshake)
                client.do_handshake()
                thread.wait()
                client.sendall(b"x")
                assert connection.recv(10) == b"x"


def test_a_slow_handshake_holds_nobody_up(hub_name, files):
    server = wrap_ssl(
        listen(LOCAL), certfile=files["cert"], keyfile=files["key"], server_side=True
    )
    with server:
        thread = greenio.spawn(serve, server, echo)
        with connect(server.getsockname()), connect(server.getsockname()) as garbled:
            garbled.sendall(b"this is not TLS, and long enough to be seen as that")
            with wrap_ssl(connect(server.getsockname())) as client:
                client.sendall(b"x")
                assert client.recv(10) == b"x"
            with contextlib.suppress(ConnectionResetError):
                assert garbled.recv(1) in (b"", b"\x15")
            assert not thread.dead
        thread.kill()
    until(lambda: waiting() == 0)


def test_names():
    for name in convenience.__all__:
        assert hasattr(convenience, name)
    assert greenio.serve is serve
    assert issubclass(StopServe, Exception)
    assert issubclass(ReuseRandomPortWarning, Warning)
    assert issubclass(ReusePortUnavailableWarning, Warning)
