"""TLS over green sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import io
import os
import socket
import ssl
import time
import types

import pytest
import trustme
from greenlet import GreenletExit

import greenio
from _sockets import PLACES, in_thread, registered, run_in, until_parked, waiting
from _support import settle, until
from greenio import hubs
from greenio._net.socket import GreenSocket, socketpair
from greenio._net.ssl import (
    GreenSSLContext,
    GreenSSLSocket,
    create_default_context,
    wrap_socket,
)


@pytest.fixture(params=PLACES)
def everywhere(request, hub_name, loop_factory):
    """Run a function wherever green code may run."""
    return lambda func: run_in(request.param, loop_factory, func)


class Certificates:
    """An authority, what it has signed, and contexts that trust it."""

    def __init__(self, directory):
        self.authority = trustme.CA()
        self.server = self.authority.issue_cert("server.test", "other.test")
        self.client = self.authority.issue_cert("somebody@client.test")
        self.trusted = str(directory / "authority.pem")
        self.authority.cert_pem.write_to_path(self.trusted)
        self.chain = str(directory / "server.pem")
        self.server.private_key_and_cert_chain_pem.write_to_path(self.chain)
        self.key = str(directory / "key.pem")
        self.server.private_key_pem.write_to_path(self.key)
        self.certificate = str(directory / "certificate.pem")
        self.server.cert_chain_pems[0].write_to_path(self.certificate)

    def server_context(self, cls=GreenSSLContext):
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        self.server.configure_cert(context)
        return context

    def client_context(self, cls=GreenSSLContext):
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def shaken(server, client, certificates, **kwargs):
    """Wrap both ends of a connection, each in a green thread; return the TLS ends."""
    wrapping = greenio.spawn(server.wrap_socket, kwargs.pop("left"), server_side=True)
    right = client.wrap_socket(
        kwargs.pop("right"), server_hostname="server.test", **kwargs
    )
    return wrapping.wait(), right


@pytest.fixture
def pair(hub_name, certificates):
    """Both ends of a TLS connection, the server's first."""
    left, right = socketpair()
    server, client = shaken(
        certificates.server_context(),
        certificates.client_context(),
        certificates,
        left=left,
        right=right,
    )
    with server, client:
        yield server, client


# -- the connection -----------------------------------------------------------------------


def test_echo(everywhere, certificates):
    def main():
        server_context = certificates.server_context()
        client_context = certificates.client_context()
        plain = GreenSocket()
        plain.bind(("127.0.0.1", 0))
        plain.listen()
        with server_context.wrap_socket(plain, server_side=True) as server:

            def serve():
                connection, address = server.accept()
                assert type(connection) is GreenSSLSocket
                assert isinstance(connection, ssl.SSLSocket)
                assert isinstance(connection, GreenSocket)
                with connection:
                    while data := connection.recv(1000):
                        connection.sendall(data)
                return address

            thread = greenio.spawn(serve)
            with client_context.wrap_socket(
                GreenSocket(), server_hostname="server.test"
            ) as client:
                assert client.version() is None
                client.connect(server.getsockname())
                assert client.version() in ("TLSv1.2", "TLSv1.3")
                assert client.cipher() is not None
                names = {name for _, name in client.getpeercert()["subjectAltName"]}
                assert names == {"server.test", "other.test"}
                for size in (1, 1000, 100_000):
                    message = os.urandom(size)
                    sending = greenio.spawn(client.sendall, message)
                    received = b""
                    while len(received) < size:
                        received += client.recv(1 << 16)
                    sending.wait()
                    assert received == message
                assert thread.dead is False
                address = client.getsockname()
            assert thread.wait() == address
        assert (waiting(), registered()) == (0, 0)

    everywhere(main)


def test_a_connected_socket(everywhere, certificates):
    def main():
        left, right = socketpair()
        server, client = shaken(
            certificates.server_context(),
            certificates.client_context(),
            certificates,
            left=left,
            right=right,
        )
        # The plain ones are used up.
        assert (left.fileno(), right.fileno()) == (-1, -1)
        with server, client:
            thread = greenio.spawn(server.recv, 10)
            until_parked(thread)
            client.send(b"hello")
            assert thread.wait() == b"hello"

    everywhere(main)


def test_of_a_plain_socket(hub_name, certificates):
    left, right = socket.socketpair()
    server, client = shaken(
        certificates.server_context(),
        certificates.client_context(),
        certificates,
        left=left,
        right=right,
    )
    with server, client:
        thread = greenio.spawn(client.recv, 10)
        until_parked(thread)
        server.sendall(b"x")
        assert thread.wait() == b"x"


def test_other_threads_run_during_the_handshake(hub_name, certificates):
    left, right = socketpair()
    wrapping = greenio.spawn(
        certificates.server_context().wrap_socket, left, server_side=True
    )
    ticks = 0

    def tick():
        nonlocal ticks
        while True:
            ticks += 1
            greenio.sleep(0)

    ticker = greenio.spawn(tick)
    until(lambda: ticks > 10)
    assert not wrapping.dead
    client = certificates.client_context().wrap_socket(
        right, server_hostname="server.test"
    )
    with client, wrapping.wait():
        ticker.kill()


def test_more_than_fits(pair):
    server, client = pair
    payload = os.urandom(2_000_000)
    sending = greenio.spawn(server.sendall, payload)
    until_parked(sending, "write")
    received = bytearray()
    while len(received) < len(payload):
        received += client.recv(1 << 17)
    sending.wait()
    assert received == payload


def test_every_way_to_read_and_write(pair):
    server, client = pair
    assert client.send(b"send") == 4
    assert server.recv(10) == b"send"
    assert client.write(b"write") == 5
    assert server.read(3) == b"wri"
    assert server.pending() == 2
    buffer = bytearray(10)
    assert server.read(2, buffer) == 2
    assert buffer[:2] == b"te"
    client.sendall(memoryview(b"view"))
    assert server.recv_into(buffer) == 4
    assert buffer[:4] == b"view"
    client.sendall(bytearray(b"array"))
    assert server.recv_into(buffer, 3) == 3
    assert server.recv_into(memoryview(buffer)[3:]) == 2
    assert buffer[:5] == b"array"
    assert client.sendfile(io.BytesIO(b"file")) == 4
    assert server.recv(10) == b"file"


def test_reads_wait(pair):
    server, client = pair
    buffer = bytearray(10)
    for call in (
        lambda: server.recv(10),
        lambda: server.read(10),
        lambda: server.recv_into(buffer),
        lambda: server.read(10, buffer),
    ):
        thread = greenio.spawn(call)
        until_parked(thread)
        client.sendall(b"x")
        assert thread.wait() in (b"x", 1)


def test_files(pair):
    server, client = pair

    def answer():
        with server.makefile("rw") as stream:
            for line in stream:
                stream.write(line.upper())
                stream.flush()

    thread = greenio.spawn(answer)
    with client.makefile("rwb") as stream:
        for _ in range(3):
            stream.write(b"line\n")
            stream.flush()
            assert stream.readline() == b"LINE\n"
    client.shutdown(socket.SHUT_WR)
    thread.wait()


def test_not_with_tls(pair):
    server, _ = pair
    for call in (
        lambda: server.recvmsg(10),
        lambda: server.recvmsg_into([bytearray(10)]),
        lambda: server.sendmsg([b"x"]),
        server.dup,
    ):
        with pytest.raises(NotImplementedError):
            call()
    for call in (
        lambda: server.recvfrom(10),
        lambda: server.recvfrom_into(bytearray(10)),
        lambda: server.sendto(b"x", ("127.0.0.1", 1)),
        lambda: server.recv(10, socket.MSG_PEEK),
        lambda: server.send(b"x", socket.MSG_DONTWAIT),
        lambda: server.sendall(b"x", socket.MSG_DONTWAIT),
    ):
        with pytest.raises(ValueError, match="not allowed"):
            call()


def test_before_there_is_tls(hub_name, certificates):
    # A socket that does not shake hands by itself is a plain one until it does.
    left, right = socketpair()
    client = certificates.client_context().wrap_socket(
        right, server_hostname="server.test", do_handshake_on_connect=False
    )
    wrapping = greenio.spawn(
        certificates.server_context().wrap_socket, left, server_side=True
    )
    until_parked(wrapping)
    client.do_handshake()
    with client, wrapping.wait() as server:
        client.sendall(b"x")
        assert server.recv(10) == b"x"


# -- the end ------------------------------------------------------------------------------


def test_unwrap(pair):
    server, client = pair
    unwrapping = greenio.spawn(server.unwrap)
    until_parked(unwrapping)
    plain_client = client.unwrap()
    plain_server = unwrapping.wait()
    thread = greenio.spawn(plain_server.recv, 10)
    until_parked(thread)
    plain_client.sendall(b"in the clear")
    assert thread.wait() == b"in the cle"
    assert plain_server.recv(10) == b"ar"
    with pytest.raises(ValueError, match="No SSL wrapper"):
        client.unwrap()


def test_close_is_the_end_of_the_stream(pair):
    server, client = pair
    thread = greenio.spawn(client.recv, 10)
    until_parked(thread)
    server.close()
    assert thread.wait() == b""


def test_ragged_end(hub_name, certificates):
    left, right = socketpair()
    server, client = shaken(
        certificates.server_context(),
        certificates.client_context(),
        certificates,
        left=left,
        right=right,
        suppress_ragged_eofs=False,
    )
    with client:
        thread = greenio.spawn(client.recv, 10)
        until_parked(thread)
        server.close()
        with pytest.raises(ssl.SSLEOFError):
            thread.wait()


@pytest.mark.parametrize("name", ["recv", "recv_into", "read", "sendall"])
def test_close_wakes(pair, name):
    server, client = pair
    call = {
        "recv": lambda: server.recv(10),
        "recv_into": lambda: server.recv_into(bytearray(10)),
        "read": lambda: server.read(10),
        "sendall": lambda: server.sendall(bytes(5_000_000)),
    }[name]
    thread = greenio.spawn(call)
    until_parked(thread, "write" if name == "sendall" else "read")
    server.close()
    with pytest.raises(OSError) as caught:
        thread.wait()
    assert caught.value.errno == errno.EBADF
    assert (waiting(), registered()) == (0, 0)
    assert client.recv(1 << 20) is not None


def test_closed_during_the_handshake(hub_name, certificates):
    left, right = socketpair()
    server = certificates.server_context().wrap_socket(
        left, server_side=True, do_handshake_on_connect=False
    )
    thread = greenio.spawn(server.do_handshake)
    until_parked(thread)
    server.close()
    with pytest.raises(OSError):
        thread.wait()
    right.close()


def test_killed_during_the_handshake(hub_name, certificates):
    left, right = socketpair()
    wrapping = greenio.spawn(
        certificates.server_context().wrap_socket, left, server_side=True
    )
    until_parked(wrapping)
    wrapping.kill()
    with pytest.raises(GreenletExit):
        wrapping.wait()
    del wrapping
    gc.collect()
    assert (waiting(), registered()) == (0, 0)
    # Nobody else could close it.
    assert right.recv(10) == b""
    right.close()


def test_killed_while_reading(pair):
    server, client = pair
    thread = greenio.spawn(server.recv, 10)
    until_parked(thread)
    thread.kill()
    settle()
    assert waiting() == 0
    client.sendall(b"x")
    assert server.recv(10) == b"x"


# -- time limits and non-blocking -----------------------------------------------------------


@pytest.mark.parametrize("name", ["recv", "recv_into", "read", "sendall"])
def test_too_late(pair, name):
    server, _ = pair
    server.settimeout(0.02)
    assert server.gettimeout() == 0.02
    call = {
        "recv": lambda: server.recv(10),
        "recv_into": lambda: server.recv_into(bytearray(10)),
        "read": lambda: server.read(10),
        "sendall": lambda: server.sendall(bytes(5_000_000)),
    }[name]
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="timed out"):
        call()
    assert 0.015 < time.monotonic() - began < 5
    assert waiting() == 0


def test_handshake_too_late(hub_name, certificates):
    left, right = socketpair()
    left.settimeout(0.02)
    with pytest.raises(TimeoutError):
        certificates.server_context().wrap_socket(left, server_side=True)
    assert (waiting(), registered(), hubs.get_hub().timers) == (0, 0, 0)
    assert right.recv(10) == b""
    right.close()


def test_timeout_around_the_handshake(hub_name, certificates):
    left, right = socketpair()
    with pytest.raises(greenio.Timeout), greenio.Timeout(0.02):
        certificates.server_context().wrap_socket(left, server_side=True)
    gc.collect()
    assert (waiting(), registered()) == (0, 0)
    assert right.recv(10) == b""
    right.close()


def test_the_limit_of_the_plain_socket_stays(hub_name, certificates):
    left, right = socketpair()
    right.settimeout(9)
    server, client = shaken(
        certificates.server_context(),
        certificates.client_context(),
        certificates,
        left=left,
        right=right,
    )
    with server, client:
        assert client.gettimeout() == 9
        assert server.gettimeout() is None


def test_non_blocking(pair):
    server, client = pair
    server.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        server.recv(10)
    with pytest.raises(ssl.SSLWantReadError):
        server.read(10)
    with pytest.raises(ssl.SSLWantReadError):
        server.recv_into(bytearray(10))
    with pytest.raises(ssl.SSLWantWriteError):
        while True:
            server.send(bytes(1 << 16))
    with pytest.raises(ssl.SSLWantWriteError):
        server.sendall(bytes(1 << 16))
    assert waiting() == 0
    assert len(client.recv(100)) == 100


def test_non_blocking_handshake(hub_name, certificates):
    left, right = socketpair()
    left.setblocking(False)
    with pytest.raises(ValueError, match="do_handshake_on_connect"):
        certificates.server_context().wrap_socket(left, server_side=True)
    right.close()
    left, right = socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with (
        certificates.server_context().wrap_socket(
            left, server_side=True, do_handshake_on_connect=False
        ) as server,
        certificates.client_context().wrap_socket(
            right, server_hostname="server.test", do_handshake_on_connect=False
        ) as client,
    ):
        left_over = {server, client}
        for _ in range(20):
            for sock in tuple(left_over):
                with contextlib.suppress(ssl.SSLWantReadError):
                    sock.do_handshake()
                    left_over.discard(sock)
        assert not left_over
        client.setblocking(True)
        assert client.send(b"x") == 1
        assert server.recv(10) == b"x"


def test_handshake_that_blocks_all_the_same(hub_name, certificates):
    left, right = socketpair()
    right.setblocking(False)
    client = certificates.client_context().wrap_socket(
        right, server_hostname="server.test", do_handshake_on_connect=False
    )
    wrapping = greenio.spawn(
        certificates.server_context().wrap_socket, left, server_side=True
    )
    client.do_handshake(block=True)
    assert client.gettimeout() == 0
    with client, wrapping.wait():
        pass


def test_connect_ex(hub_name, certificates):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with certificates.client_context().wrap_socket(
            GreenSocket(), server_hostname="server.test"
        ) as client:
            assert client.connect_ex(reserved.getsockname()) == errno.ECONNREFUSED
        with (
            certificates.client_context().wrap_socket(
                GreenSocket(), server_hostname="server.test"
            ) as client,
            pytest.raises(ConnectionRefusedError),
        ):
            client.connect(reserved.getsockname())
    plain = GreenSocket()
    plain.bind(("127.0.0.1", 0))
    plain.listen()
    with certificates.server_context().wrap_socket(plain, server_side=True) as server:
        accepting = greenio.spawn(server.accept)
        with certificates.client_context().wrap_socket(
            GreenSocket(), server_hostname="server.test"
        ) as client:
            assert client.connect_ex(server.getsockname()) == 0
            accepting.wait()[0].close()
            with pytest.raises(ValueError, match="already-connected"):
                client.connect(server.getsockname())
        with pytest.raises(ValueError, match="server-side"):
            server.connect(server.getsockname())


# -- what TLS is for ------------------------------------------------------------------------


def wrap_both(certificates, server, client, **kwargs):
    """Wrap both ends; return what came of it, an exception or a socket, for each."""
    left, right = socketpair()

    def attempt(wrap):
        try:
            return wrap()
        except OSError as exc:
            return exc

    wrapping = greenio.spawn(
        attempt, lambda: server.wrap_socket(left, server_side=True)
    )
    outcome = attempt(lambda: client.wrap_socket(right, **kwargs))
    if isinstance(outcome, OSError):
        right.close()
    return wrapping.wait(), outcome


def test_wrong_name(hub_name, certificates):
    server, client = wrap_both(
        certificates,
        certificates.server_context(),
        certificates.client_context(),
        server_hostname="elsewhere.test",
    )
    assert isinstance(client, ssl.SSLCertVerificationError)
    assert "elsewhere.test" in str(client)
    if isinstance(server, GreenSSLSocket):
        server.close()


def test_unknown_authority(hub_name, certificates):
    server, client = wrap_both(
        certificates,
        certificates.server_context(),
        GreenSSLContext(ssl.PROTOCOL_TLS_CLIENT),
        server_hostname="server.test",
    )
    assert isinstance(client, ssl.SSLCertVerificationError)
    if isinstance(server, GreenSSLSocket):
        server.close()


def test_a_name_must_be_given(hub_name, certificates):
    left, right = socketpair()
    with left, right, pytest.raises(ValueError, match="server_hostname"):
        certificates.client_context().wrap_socket(right)


def test_not_tls_at_all(hub_name, certificates):
    left, right = socketpair()
    wrapping = greenio.spawn(
        certificates.server_context().wrap_socket, left, server_side=True
    )
    right.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        wrapping.wait()
    right.close()


@pytest.mark.parametrize("maximum", ["TLSv1_2", "TLSv1_3"])
def test_client_certificate(hub_name, certificates, maximum):
    server_context = certificates.server_context()
    server_context.verify_mode = ssl.CERT_REQUIRED
    server_context.maximum_version = ssl.TLSVersion[maximum]
    certificates.authority.configure_trust(server_context)
    client_context = certificates.client_context()
    certificates.client.configure_cert(client_context)
    left, right = socketpair()
    server, client = shaken(
        server_context, client_context, certificates, left=left, right=right
    )
    with server, client:
        assert client.version() == maximum.replace("_", ".")
        assert server.getpeercert()["subjectAltName"][0][1] == "somebody@client.test"
        assert server.getpeercert(binary_form=True)

    # Without one, the server refuses.
    server, client = wrap_both(
        certificates,
        server_context,
        certificates.client_context(),
        server_hostname="server.test",
    )
    assert isinstance(server, ssl.SSLError)
    if isinstance(client, GreenSSLSocket):
        with client, pytest.raises(ssl.SSLError):
            client.recv(10)


@pytest.mark.skipif(not ssl.HAS_TLSv1_3, reason="needs TLS 1.3")
def test_certificate_asked_for_later(hub_name, certificates):
    server_context = certificates.server_context()
    certificates.authority.configure_trust(server_context)
    server_context.post_handshake_auth = True
    server_context.verify_mode = ssl.CERT_REQUIRED
    client_context = certificates.client_context()
    client_context.post_handshake_auth = True
    certificates.client.configure_cert(client_context)
    left, right = socketpair()
    server, client = shaken(
        server_context, client_context, certificates, left=left, right=right
    )
    with server, client:
        assert server.getpeercert() is None
        server.verify_client_post_handshake()
        server.sendall(b"who are you?")
        reading = greenio.spawn(server.recv, 10)
        assert client.recv(100) == b"who are you?"
        client.sendall(b"I am me")
        assert reading.wait() == b"I am me"
        assert server.getpeercert()["subjectAltName"][0][1] == "somebody@client.test"


def test_alpn(hub_name, certificates):
    server_context, client_context = (
        certificates.server_context(),
        certificates.client_context(),
    )
    server_context.set_alpn_protocols(["h2", "http/1.1"])
    client_context.set_alpn_protocols(["spdy", "http/1.1"])
    left, right = socketpair()
    server, client = shaken(
        server_context, client_context, certificates, left=left, right=right
    )
    with server, client:
        assert server.selected_alpn_protocol() == "http/1.1"
        assert client.selected_alpn_protocol() == "http/1.1"


def test_sni(hub_name, certificates):
    server_context = certificates.server_context()
    other = certificates.server_context()
    seen = []

    def choose(sock, name, context):
        seen.append((type(sock), name, context is server_context))
        sock.context = other

    server_context.sni_callback = choose
    left, right = socketpair()
    server, client = shaken(
        server_context,
        certificates.client_context(),
        certificates,
        left=left,
        right=right,
    )
    with server, client:
        assert seen == [(GreenSSLSocket, "server.test", True)]
        assert server.context is other


def test_session(hub_name, certificates):
    server_context = certificates.server_context()
    client_context = certificates.client_context()
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2
    sessions = []
    for attempt in range(2):
        left, right = socketpair()
        more = {"session": sessions[0]} if sessions else {}
        server, client = shaken(
            server_context, client_context, certificates, left=left, right=right, **more
        )
        with server, client:
            assert client.session_reused is bool(attempt)
            sessions.append(client.session)
            client.sendall(b"x")
            assert server.recv(10) == b"x"


def test_data_before_the_handshake_of_a_closed_connection(hub_name, certificates):
    # CVE-2023-40217: what came in clear must not pass for what was verified.
    with socket.create_server(("127.0.0.1", 0)) as server:
        plain = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        plain.sendall(b"DELETE / HTTP/1.0\r\n\r\n")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        plain.close()
        green = GreenSocket(fileno=accepted.detach())
        context = certificates.server_context()
        context.verify_mode = ssl.CERT_REQUIRED
        certificates.authority.configure_trust(context)
        with pytest.raises(OSError):
            wrapped = context.wrap_socket(green, server_side=True)
            wrapped.recv(100)
        gc.collect()


# -- contexts -------------------------------------------------------------------------------


def test_settings(certificates):
    context = GreenSSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    values = {
        "minimum_version": ssl.TLSVersion.TLSv1_3,
        "maximum_version": ssl.TLSVersion.TLSv1_3,
        "options": ssl.OP_NO_TICKET | ssl.OP_ALL,
        "verify_flags": ssl.VERIFY_CRL_CHECK_LEAF,
        "verify_mode": ssl.CERT_OPTIONAL,
        "hostname_checks_common_name": True,
        "num_tickets": None,
        "keylog_filename": None,
        "check_hostname": True,
        "post_handshake_auth": True,
        "_msg_callback": print,
    }
    for name, value in values.items():
        if name == "num_tickets" or not hasattr(plain, name):
            continue
        for each in (context, plain):
            setattr(each, name, value)
        assert getattr(context, name) == getattr(plain, name), name
        assert type(getattr(context, name)) is type(getattr(plain, name))


def settable():
    names = []
    for name, value in vars(ssl.SSLContext).items():
        if isinstance(value, property) and value.fset is not None:
            names.append(name)
    return names


def test_settings_when_the_module_is_patched(monkeypatch):
    # The standard setters find their base by the name SSLContext, which may mean ours.
    assert {"options", "verify_mode", "minimum_version"} <= set(settable())
    monkeypatch.setattr(ssl, "SSLContext", GreenSSLContext)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in settable():
        if name == "_msg_callback":
            continue
        setattr(context, name, getattr(context, name))

    class Derived(GreenSSLContext):
        pass

    monkeypatch.setattr(ssl, "SSLContext", Derived)
    context = Derived(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_TICKET
    context.verify_mode = ssl.CERT_NONE
    assert context.options & ssl.OP_NO_TICKET


def test_a_handshake_when_the_module_is_patched(hub_name, certificates, monkeypatch):
    monkeypatch.setattr(ssl, "SSLContext", GreenSSLContext)
    monkeypatch.setattr(ssl, "SSLSocket", GreenSSLSocket)
    left, right = socketpair()
    server, client = shaken(
        certificates.server_context(),
        certificates.client_context(),
        certificates,
        left=left,
        right=right,
    )
    with server, client:
        thread = greenio.spawn(server.recv, 10)
        until_parked(thread)
        client.sendall(b"x")
        assert thread.wait() == b"x"


def test_default_context(certificates):
    context = create_default_context(cafile=certificates.trusted)
    assert type(context) is GreenSSLContext
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    context = create_default_context(ssl.Purpose.CLIENT_AUTH)
    assert context.protocol is ssl.PROTOCOL_TLS_SERVER


def test_a_standard_context_still_accepts_green(hub_name, certificates):
    # A context from before the patch, given to the green wrap_socket.
    plain = GreenSocket()
    plain.bind(("127.0.0.1", 0))
    plain.listen()
    context = certificates.server_context(ssl.SSLContext)
    with wrap_socket(plain, server_side=True, context=context) as server:
        accepting = greenio.spawn(server.accept)
        with certificates.client_context().wrap_socket(
            GreenSocket(), server_hostname="server.test"
        ) as client:
            client.connect(server.getsockname())
            connection, _ = accepting.wait()
            assert type(connection) is GreenSSLSocket
            connection.close()


# -- the old wrap_socket ----------------------------------------------------------------------


def test_wrap_socket(hub_name, certificates):
    left, right = socketpair()
    wrapping = greenio.spawn(
        wrap_socket, left, certificates.key, certificates.certificate, True
    )
    client = wrap_socket(
        right,
        cert_reqs=ssl.CERT_REQUIRED,
        ca_certs=certificates.trusted,
        server_hostname="server.test",
        ciphers="ECDHE+AESGCM",
        ssl_version=ssl.PROTOCOL_TLS,
    )
    with client, wrapping.wait() as server:
        client.sendall(b"x")
        assert server.recv(10) == b"x"
        assert client.getpeercert()


def test_wrap_socket_checks_nothing_unless_asked(hub_name, certificates):
    left, right = socketpair()
    wrapping = greenio.spawn(
        GreenSSLSocket, left, certfile=certificates.chain, server_side=True
    )
    client = GreenSSLSocket(sock=right)
    assert type(client) is GreenSSLSocket
    with client, wrapping.wait():
        assert client.getpeercert() == {}


def test_wrap_socket_mistakes(hub_name, certificates):
    left, right = socketpair()
    with left, right:
        with pytest.raises(ValueError, match="certfile must be specified"):
            wrap_socket(left, server_side=True)
        with pytest.raises(ValueError, match="pass both"):
            wrap_socket(left, keyfile=certificates.key)
        with pytest.raises(TypeError):
            GreenSSLSocket()
    with GreenSocket(type=socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(NotImplementedError):
            wrap_socket(datagrams)


# -- other places -----------------------------------------------------------------------------


def test_in_the_loop_greenlet(run_async, certificates):
    async def main():
        left, right = socketpair()
        server, client = await greenio.run_green(
            lambda: shaken(
                certificates.server_context(),
                certificates.client_context(),
                certificates,
                left=left,
                right=right,
            )
        )
        with server, client:
            client.sendall(b"x")
            assert server.recv(10) == b"x"
            with pytest.raises(greenio.BlockingInLoopError):
                server.recv(10)
            client.sendall(b"y")
            assert server.recv(10) == b"y"

    run_async(main)


def test_with_a_peer_on_asyncio(run_async, certificates):
    async def main():
        async def serve(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

        server = await asyncio.start_server(
            serve, "127.0.0.1", 0, ssl=certificates.server_context(ssl.SSLContext)
        )
        address = server.sockets[0].getsockname()

        def ask():
            with certificates.client_context().wrap_socket(
                GreenSocket(), server_hostname="server.test"
            ) as client:
                client.connect(address)
                client.sendall(b"question\n")
                return client.recv(100)

        assert await greenio.run_green(ask) == b"QUESTION\n"
        server.close()
        await server.wait_closed()

    run_async(main)


def test_asyncio_uses_a_green_context(run_async, certificates):
    async def main():
        async def serve(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

        server = await asyncio.start_server(
            serve, "127.0.0.1", 0, ssl=certificates.server_context()
        )
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(),
            ssl=certificates.client_context(),
            server_hostname="server.test",
        )
        writer.write(b"question\n")
        assert await reader.readline() == b"QUESTION\n"
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run_async(main)


def test_in_an_os_thread_without_a_hub(hub_name, certificates):
    left, right = socketpair()
    wrapping = greenio.spawn(
        certificates.server_context().wrap_socket, left, server_side=True
    )

    def talk():
        with certificates.client_context().wrap_socket(
            right, server_hostname="server.test"
        ) as client:
            client.sendall(b"x")
            return client.recv(10)

    done = []
    import threading

    thread = threading.Thread(target=lambda: done.append(talk()))
    thread.start()
    with wrapping.wait() as server:
        assert server.recv(10) == b"x"
        server.sendall(b"y")
        until(lambda: done)
    thread.join()
    assert done == [b"y"]


def test_types():
    assert issubclass(GreenSSLSocket, ssl.SSLSocket)
    assert issubclass(GreenSSLContext, ssl.SSLContext)
    order = GreenSSLSocket.__mro__
    assert order.index(GreenSocket) < order.index(ssl.SSLSocket)
    assert isinstance(ssl, types.ModuleType)
    assert in_thread(lambda: GreenSSLContext(ssl.PROTOCOL_TLS_CLIENT)) is not None
