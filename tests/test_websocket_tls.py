"""WebSocket by TLS: both ways that a connection ends are said by TLS, too."""

from __future__ import annotations

import pytest

import greenio
from _http import PATHS, read_all, serving
from _support import until
from _tls import Certificates
from _websockets import HANDSHAKE, closing, encoded
from greenio.websocket import WebSocketWSGI

HEAD = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
REQUEST = f"GET / HTTP/1.1\r\n{HEAD}\r\n".encode()


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("first", ["client", "server", "handler", "kill", "wrong"])
def test_the_end_is_said(first, version, path, certificates, hub_name):
    """Else a client could not tell it from one that somebody cut short."""
    ended = []

    def handler(ws):
        try:
            ws.send(ws.wait())
            if first == "server":
                ws.close(1001)
            if first == "kill":
                greenio.getcurrent().throw(greenio.greenlet.GreenletExit)
            if first in ("client", "wrong"):
                assert ws.wait() is None
        finally:
            ended.append(ws)

    listener = certificates.server_context().wrap_socket(
        greenio.listen(("127.0.0.1", 0)), server_side=True
    )
    context = certificates.client_context()
    context.maximum_version = getattr(greenio.green.ssl.TLSVersion, version)
    with serving(WebSocketWSGI(handler), listener, **path) as site:
        client = context.wrap_socket(
            greenio.connect(site.address),
            server_hostname="server.test",
            # Then it raises where the end was not said.
            suppress_ragged_eofs=False,
        )
        with client:
            client.settimeout(20)
            client.sendall(REQUEST + encoded(1, b"hello"))
            answer = b""
            while not answer.endswith(b"\x81\x05hello"):
                answer += client.recv(65536)
            if first == "client":
                client.sendall(closing(1000))
            if first == "wrong":
                client.sendall(encoded(3))
            got = client.recv(2)
            assert got == b"\x88" + got[1:]
            rest = read_all(client)
            assert len(rest) == got[1]
            if first in ("server", "handler"):
                # It can be answered still.
                client.sendall(closing(1000))
            if first in ("client", "server", "handler"):
                until(lambda: ended and ended[0].close_code)
                assert ended[0].close_code == 1000
    assert len(ended) == 1
