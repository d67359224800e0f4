"""TLS over green sockets: certificates, names, settings, `wrap_socket`."""

from __future__ import annotations

import gc
import socket
import ssl

import pytest

import greenio
from _sockets import until_parked
from _tls import shaken, tls_over
from greenio._net.socket import GreenSocket, socketpair
from greenio._net.ssl import (
    GreenSSLContext,
    GreenSSLSocket,
    create_default_context,
    wrap_socket,
)

# -- what TLS is for ----------------------------------------------------------------------


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


# -- contexts -----------------------------------------------------------------------------


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
    server, client = tls_over(left, right, certificates)
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


# -- the old wrap_socket ------------------------------------------------------------------


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
