"""TLS in patched programs, whatever they import first."""

from __future__ import annotations

import pytest
import trustme

from _fresh import run

# What makes contexts, or has classes of its own for them.
FIRST = ("greenio", "ssl", "http.client", "urllib.request", "asyncio", "smtplib")
FIRST += ("ftplib", "logging.config", "urllib3", "requests", "httpx", "uvloop")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The paths of an authority's certificate and of a server's chain."""
    directory = tmp_path_factory.mktemp("certificates")
    authority, chain = directory / "authority.pem", directory / "server.pem"
    signer = trustme.CA()
    signer.cert_pem.write_to_path(authority)
    signer.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(chain)
    return str(authority), str(chain)


@pytest.mark.parametrize("first", FIRST)
def test_settings_whatever_is_imported_first(first):
    pytest.importorskip(first)
    run(
        """
        import importlib, sys
        importlib.import_module(sys.argv[1])
        import ssl

        class Before(ssl.SSLContext):
            sslsocket_class = ssl.SSLSocket

            @property
            def options(self):
                return super().options

            @options.setter
            def options(self, value):
                super(Before, Before).options.__set__(self, value)

        old = ssl.SSLContext
        contexts = [ssl.create_default_context(), old(ssl.PROTOCOL_TLS_CLIENT)]
        import greenio
        greenio.monkey_patch()
        import http.client, urllib.request

        class After(ssl.SSLContext):
            pass

        assert ssl.SSLContext is not old
        contexts += [
            ssl.create_default_context(),
            ssl._create_unverified_context(),
            ssl._create_stdlib_context(),
            http.client.HTTPSConnection("localhost")._context,
            *(cls(ssl.PROTOCOL_TLS_CLIENT)
              for cls in (old, Before, ssl.SSLContext, After)),
        ]
        settings = {
            name
            for name, value in vars(old).items()
            if isinstance(value, property) and value.fset is not None
        }
        assert {"options", "verify_mode", "minimum_version"} <= settings
        for context in contexts:
            assert isinstance(context, ssl.SSLContext)
            assert isinstance(context, old)
            for name in settings - {"_msg_callback"}:
                setattr(context, name, getattr(context, name))
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.options |= ssl.OP_NO_TICKET
            assert context.options & ssl.OP_NO_TICKET
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert not isinstance(contexts[0], After)
        assert isinstance(After(ssl.PROTOCOL_TLS_CLIENT), After)
        """,
        first,
    )


def test_contexts_from_before_the_patch(files, loop):
    """Both ends wait in one OS thread, with contexts that know nothing of greenio."""
    run(
        """
        import socket, ssl, sys, threading

        authority, chain = sys.argv[1:]
        here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        here.load_cert_chain(chain)
        there = ssl.create_default_context(cafile=authority)
        plain = socket.create_server(("127.0.0.1", 0))
        plain_class = ssl.SSLSocket
        import greenio
        greenio.monkey_patch()

        server = here.wrap_socket(
            socket.create_server(("127.0.0.1", 0)), server_side=True
        )
        assert type(server) is ssl.SSLSocket is not plain_class

        def serve():
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(100):
                    connection.sendall(data.upper())

        thread = threading.Thread(target=serve)
        thread.start()
        with socket.create_connection(server.getsockname(), 20) as raw:
            with there.wrap_socket(raw, server_hostname="localhost") as client:
                assert type(client) is ssl.SSLSocket
                assert client.gettimeout() == 20
                client.sendall(b"hello")
                assert client.recv(100) == b"HELLO"
        thread.join()
        server.close()
        # A plain socket stays one.
        with here.wrap_socket(plain, server_side=True) as still_plain:
            assert type(still_plain) is plain_class
        """,
        *files,
        hub=loop,
    )


def test_a_class_of_the_users(files):
    """Who has a class for the sockets of a context gets objects of that class."""
    run(
        """
        import socket, ssl

        class Own(ssl.SSLSocket):
            pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.sslsocket_class = Own
        import greenio
        greenio.monkey_patch()

        class GreenOwn(ssl.SSLSocket):
            pass

        later = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        later.sslsocket_class = GreenOwn
        for each in (context, later):
            with each.wrap_socket(socket.socket(), server_hostname="localhost") as sock:
                assert type(sock) is each.sslsocket_class
        """
    )
