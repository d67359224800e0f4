"""What the tests of TLS share."""

from __future__ import annotations

import ssl

import pytest

import greenio
from _sockets import tcp_pair
from greenio._net.socket import GreenSocket
from greenio._net.ssl import GreenSSLContext


class Certificates:
    """An authority, what it has signed, and contexts that trust it."""

    def __init__(self, directory):
        import trustme

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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def shaken(server, client, certificates, **kwargs):
    """Wrap both ends of a connection, each in a green thread; return the TLS ends."""
    wrapping = greenio.spawn(server.wrap_socket, kwargs.pop("left"), server_side=True)
    right = client.wrap_socket(
        kwargs.pop("right"), server_hostname="server.test", **kwargs
    )
    return wrapping.wait(), right


def tls_over(left, right, certificates):
    """Return the TLS ends, the server's first, over both ends of a connection."""
    server, client = certificates.server_context(), certificates.client_context()
    return shaken(server, client, certificates, left=left, right=right)


def connection():
    """Return both ends of a TCP connection.

    Over a socketpair whose other end is closed, OpenSSL 3.6 fails where it reads, since
    it has something left to write.
    """
    return [GreenSocket(fileno=end.detach()) for end in tcp_pair()]


@pytest.fixture
def tls_pair(hub_name, certificates):
    """Both ends of a TLS connection, the server's first."""
    left, right = connection()
    server, client = tls_over(left, right, certificates)
    with server, client:
        yield server, client
