"""From an HTTP request to a WebSocket connection, within WSGI.

The server lends its socket by ``environ["eventlet.input"].get_socket()`` (greenio's and
eventlet's own) or as ``environ["gunicorn.socket"]``, and is told that the answer has been
given by ``WSGI_LOCAL.already_handled`` of `greenio.wsgi`. That module is looked up where
a server has loaded it; nothing here depends on which server it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from .._net.constants import IPPROTO_TCP, TCP_NODELAY
from .connection import (
    ACCEPTABLE_CLIENT_ERRORS,
    DEFAULT_MAX_FRAME_LENGTH,
    RFC6455WebSocket,
)
from .deflate import NAME, accept, header_value
from .errors import BadRequest

PROTOCOL_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION: Final = "13"

Handler = Callable[[RFC6455WebSocket], Any]


class WebSocketWSGI:
    """A WSGI application whose requests become WebSocket connections.

    Wrap a handler, a function that is called with each connection::

        @WebSocketWSGI
        def echo(ws):
            while (message := ws.wait()) is not None:
                ws.send(message)

        wsgi.server(listen(("", 8000)), echo)

    The connection is closed when the handler returns; if it fails, with the code 1011,
    and the exception goes on to the server.

    Args:
        handler: What is called with the connection, an `RFC6455WebSocket`.
        max_frame_length: How long a message may be that arrives, in bytes.
        supported_protocols: Subprotocols that the handler speaks. The first that the
            client offers is agreed to; if it offers none of them, none is.
        origin_checker: Called with the request's ``Origin`` (None if it has none); if
            it returns something false, the request is refused with 403. Without it, any
            web page may connect, with the cookies of whoever looks at it.
        compression: Whether messages are compressed if the client offers that.

    Raises:
        TypeError: The handler cannot be called.
    """

    def __init__(
        self,
        handler: Handler,
        max_frame_length: int = DEFAULT_MAX_FRAME_LENGTH,
        *,
        supported_protocols: Sequence[str] | None = None,
        origin_checker: Callable[[str | None], Any] | None = None,
        compression: bool = True,
    ) -> None:
        if not callable(handler):
            raise TypeError(
                "WebSocketWSGI takes a function that is called with each connection, "
                f"as in WebSocketWSGI(handler), not {handler!r}"
            )
        if max_frame_length < 0:
            raise ValueError(
                "max_frame_length is a number of bytes, 0 or more, not "
                f"{max_frame_length!r}"
            )
        if isinstance(supported_protocols, str):
            raise TypeError(
                "supported_protocols is a list of names, such as "
                f"[{supported_protocols!r}]"
            )
        self.handler = handler
        self.max_frame_length = max_frame_length
        self.protocol_version: int | None = None
        self.support_legacy_versions = False
        self.supported_protocols = list(supported_protocols or ())
        self.origin_checker = origin_checker
        self.compression = compression

    @classmethod
    def configured(
        cls,
        handler: Handler | None = None,
        supported_protocols: Sequence[str] | None = None,
        origin_checker: Callable[[str | None], Any] | None = None,
        support_legacy_versions: bool = False,
        **options: Any,
    ) -> Any:
        """Wrap a handler with options; without a handler, return a decorator.

        Args:
            handler: As for the class, and so are the others.
            supported_protocols: Subprotocols that the handler speaks.
            origin_checker: Says whether a web page may connect.
            support_legacy_versions: Must be False: drafts from before RFC 6455 are not
                spoken.
            **options: Further arguments of the class.

        Raises:
            ValueError: Drafts were asked for.
        """
        if support_legacy_versions:
            raise ValueError(
                "support_legacy_versions: WebSocket drafts from before RFC 6455 are "
                "not spoken; every browser since 2012 speaks RFC 6455"
            )

        def decorator(handler: Handler) -> WebSocketWSGI:
            return cls(
                handler,
                supported_protocols=supported_protocols,
                origin_checker=origin_checker,
                **options,
            )

        return decorator if handler is None else decorator(handler)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request: with a connection, or with a refusal."""
        try:
            key = self._check(environ)
            self._check_origin(environ)
        except BadRequest as refusal:
            headers = [
                ("Connection", "close"),
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(refusal.body))),
                *refusal.headers,
            ]
            start_response(refusal.status, headers)
            return [refusal.body]
        ws = self._switch(environ, key)
        try:
            self.handler(ws)
        except OSError as error:
            if error.errno not in ACCEPTABLE_CLIENT_ERRORS:
                self._close(ws, 1011)
                raise
        except Exception:
            self._close(ws, 1011)
            raise
        except BaseException:
            # Killed, or the program ends.
            self._close(ws, 1001)
            raise
        self._close(ws, 1000)
        return []

    def _close(self, ws: RFC6455WebSocket, code: int) -> None:
        ws.close((code, ""))

    # -- the request -------------------------------------------------------------------

    def _check(self, environ: Mapping[str, Any]) -> bytes:
        """Return the request's key, or refuse it."""
        if environ.get("REQUEST_METHOD") != "GET":
            raise BadRequest(
                "405 Method Not Allowed",
                "A WebSocket connection begins with GET.",
                [("Allow", "GET")],
            )
        if environ.get("SERVER_PROTOCOL", "HTTP/1.1") in {"HTTP/0.9", "HTTP/1.0"}:
            raise BadRequest(body="A WebSocket connection begins with HTTP/1.1.")
        if "websocket" not in _tokens(environ, "HTTP_UPGRADE"):
            raise BadRequest(
                "426 Upgrade Required",
                "This is a WebSocket endpoint: Upgrade: websocket is missing.",
                [("Upgrade", "websocket")],
            )
        if "upgrade" not in _tokens(environ, "HTTP_CONNECTION"):
            raise BadRequest(body="Connection: Upgrade is missing.")
        version = environ.get("HTTP_SEC_WEBSOCKET_VERSION", "").strip()
        if not version:
            raise BadRequest(body="Sec-WebSocket-Version is missing.")
        if version != _VERSION:
            raise BadRequest(
                "426 Upgrade Required",
                f"Sec-WebSocket-Version {_VERSION} is spoken here.",
                [("Sec-WebSocket-Version", _VERSION), ("Upgrade", "websocket")],
            )
        key: str = environ.get("HTTP_SEC_WEBSOCKET_KEY", "").strip()
        try:
            good = len(base64.b64decode(key.encode("ascii"), validate=True)) == 16
        except (binascii.Error, UnicodeEncodeError):
            good = False
        if not good:
            raise BadRequest(body="Sec-WebSocket-Key is no key: 16 bytes in Base64.")
        return key.encode("ascii")

    def _check_origin(self, environ: Mapping[str, Any]) -> None:
        if self.origin_checker is None:
            return
        if not self.origin_checker(environ.get("HTTP_ORIGIN")):
            raise BadRequest("403 Forbidden", "This origin may not connect.")

    def _switch(self, environ: dict[str, Any], key: bytes) -> RFC6455WebSocket:
        """Take the socket, give the answer, and return the connection."""
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(key)}",
        ]
        offered = environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")
        names = [name.strip() for name in offered]
        protocol = next((n for n in names if n in self.supported_protocols), None)
        if protocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        extensions: dict[str, Any] = {}
        header = environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", "")
        if header and self.compression:
            agreed = accept(header)
            if agreed is not None:
                extensions[NAME] = agreed
                lines.append(f"Sec-WebSocket-Extensions: {header_value(agreed)}")
        sock = _take_socket(environ)
        try:
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        except OSError:
            pass  # a Unix socket
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        return RFC6455WebSocket(
            sock,
            environ,
            protocol=protocol,
            extensions=extensions,
            max_frame_length=self.max_frame_length,
        )


def accept_key(key: bytes) -> str:
    """Return what proves that a request with this key was understood."""
    # The protocol says which hash it is; nothing is kept secret with it.
    digest = hashlib.sha1(key + PROTOCOL_GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def _tokens(environ: Mapping[str, Any], name: str) -> set[str]:
    value: str = environ.get(name, "")
    return {token.strip().lower() for token in value.split(",")}


def _take_socket(environ: Mapping[str, Any]) -> Any:
    body = environ.get("eventlet.input")
    if body is not None:
        sock = body.get_socket()
    else:
        sock = environ.get("gunicorn.socket")
    if sock is None:
        raise RuntimeError(
            "this WSGI server lends its sockets to nobody (there is no "
            "environ['eventlet.input']), so no WebSocket connection can be made; serve "
            "the application with greenio.wsgi.server(), or mount it in an ASGI "
            "framework and use that one's WebSocket routes"
        )
    wsgi = sys.modules.get("greenio.wsgi")
    if wsgi is not None:
        wsgi.WSGI_LOCAL.already_handled = True
    return sock
