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
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from .._net.constants import IPPROTO_TCP, TCP_NODELAY
from . import drafts
from .base import ACCEPTABLE_CLIENT_ERRORS, DEFAULT_MAX_FRAME_LENGTH, WebSocket
from .connection import RFC6455WebSocket
from .deflate import NAME, accept, header_value
from .errors import BadRequest

PROTOCOL_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# 8 is a draft of RFC 6455 (2011) that differs in the name of one header only.
_VERSIONS: Final = ("8", "13")
# Tells whoever looks into a refusal why it is one.
_REASON: Final = "X-Reason"

Handler = Callable[[RFC6455WebSocket], Any]


def _check_length(length: Any) -> None:
    """Raises: ValueError: It is no number of bytes."""
    number = isinstance(length, (int, float)) and not isinstance(length, bool)
    if not (number and length >= 0):
        raise ValueError(
            f"max_frame_length is a number of bytes, 0 or more, not {length!r}"
        )


def _names_in(protocols: Any) -> list[str]:
    """Return the names of subprotocols as a list.

    Raises:
        TypeError: They are no names.
    """
    if isinstance(protocols, str):
        raise TypeError(
            f"supported_protocols is a list of names, such as [{protocols!r}]"
        )
    try:
        names = [] if protocols is None else list(protocols)
    except TypeError:
        names = [protocols]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"supported_protocols is a list of names, not {protocols!r}")
    return names


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
        origin_checker: Called with the request's ``Host`` and its ``Origin`` (None and
            "" if it has none); one that takes a single argument gets the ``Origin``, or
            None. If it returns something false, the request is refused with 403. Without
            it, any web page may connect, with the cookies of whoever looks at it.
        compression: Whether messages are compressed if the client offers that.

    Raises:
        TypeError: The handler cannot be called, or an option is of the wrong kind.
        ValueError: `max_frame_length` is no number of bytes.
    """

    def __init__(
        self,
        handler: Handler,
        max_frame_length: int = DEFAULT_MAX_FRAME_LENGTH,
        *,
        supported_protocols: Sequence[str] | None = None,
        origin_checker: Callable[..., Any] | None = None,
        compression: bool = True,
    ) -> None:
        if not callable(handler):
            raise TypeError(
                "WebSocketWSGI takes a function that is called with each connection, "
                f"as in WebSocketWSGI(handler), not {handler!r}"
            )
        _check_length(max_frame_length)
        if not (origin_checker is None or callable(origin_checker)):
            raise TypeError(
                "origin_checker is a function that says whether a web page may connect, "
                f"or None, not {origin_checker!r}"
            )
        self.handler = handler
        self.max_frame_length = max_frame_length
        self.protocol_version: int | None = None
        self.support_legacy_versions = False
        self.supported_protocols: list[str] = _names_in(supported_protocols)
        self.origin_checker = origin_checker
        self.compression = compression

    @classmethod
    def configured(
        cls,
        handler: Handler | None = None,
        supported_protocols: Sequence[str] | None = None,
        origin_checker: Callable[..., Any] | None = None,
        support_legacy_versions: bool = False,
        **options: Any,
    ) -> Any:
        """Wrap a handler with options; without a handler, return a decorator.

        Args:
            handler: As for the class, and so are the others.
            supported_protocols: Subprotocols that the handler speaks.
            origin_checker: Says whether a web page may connect.
            support_legacy_versions: Whether drafts 75 and 76 are spoken, too, whose
                clients the handler gets as a plain `WebSocket`. Every browser since 2012
                speaks RFC 6455, so this is for old programs only.
            **options: Further arguments of the class.
        """

        def decorator(handler: Handler) -> WebSocketWSGI:
            app = cls(
                handler,
                supported_protocols=supported_protocols,
                origin_checker=origin_checker,
                **options,
            )
            app.support_legacy_versions = support_legacy_versions
            return app

        return decorator if handler is None else decorator(handler)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request: with a connection, or with a refusal."""
        try:
            self._check(environ)
            self._check_origin(environ)
            if "HTTP_SEC_WEBSOCKET_VERSION" in environ:
                ws: WebSocket = self._switch(environ, _key_of(environ))
            else:
                ws = drafts.switch(environ, take_socket)
        except BadRequest as refusal:
            headers = [
                ("Connection", "close"),
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(refusal.body))),
                *refusal.headers,
            ]
            start_response(refusal.status, headers)
            return [refusal.body]
        self.protocol_version = ws.version
        _may_be_ended(environ, ws)
        try:
            self.handler(ws)  # type: ignore[arg-type]
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

    def _close(self, ws: WebSocket, code: int) -> None:
        if isinstance(ws, RFC6455WebSocket):
            ws.close((code, ""))
        else:
            ws.close()

    # -- the request -------------------------------------------------------------------

    def _check(self, environ: Mapping[str, Any]) -> None:
        """Refuse what is no handshake."""
        if environ.get("REQUEST_METHOD", "GET") != "GET":
            raise _refusal(
                "A WebSocket connection begins with GET.",
                "405 Method Not Allowed",
                [("Allow", "GET")],
            )
        if "websocket" not in _tokens(environ, "HTTP_UPGRADE"):
            raise _refusal("Upgrade: websocket is missing.")
        if "upgrade" not in _tokens(environ, "HTTP_CONNECTION"):
            raise _refusal("Connection: Upgrade is missing.")
        if environ.get("SERVER_PROTOCOL", "HTTP/1.1") in {"HTTP/0.9", "HTTP/1.0"}:
            raise _refusal("A WebSocket connection begins with HTTP/1.1.")
        version = environ.get("HTTP_SEC_WEBSOCKET_VERSION")
        if version is None:
            if not self.support_legacy_versions:
                raise _refusal("Sec-WebSocket-Version is missing.")
            drafts.check(environ)
        elif version.strip() not in _VERSIONS:
            raise _refusal(
                "This version is not spoken here.",
                "426 Upgrade Required",
                [
                    ("Sec-WebSocket-Version", ", ".join(_VERSIONS)),
                    ("Upgrade", "websocket"),
                ],
            )
        else:
            _key_of(environ)

    def _check_origin(self, environ: Mapping[str, Any]) -> None:
        checker = self.origin_checker
        if checker is None:
            return
        origin = environ.get("HTTP_ORIGIN", environ.get("HTTP_SEC_WEBSOCKET_ORIGIN"))
        if _takes_one(checker):
            good = checker(origin)
        else:
            good = checker(environ.get("HTTP_HOST"), origin or "")
        if not good:
            raise _refusal("This origin may not connect.", "403 Forbidden")

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
        sock = take_socket(environ)
        try:
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        except OSError:
            pass  # a Unix socket
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        return RFC6455WebSocket(
            sock,
            environ,
            int(environ["HTTP_SEC_WEBSOCKET_VERSION"]),
            protocol=protocol,
            extensions=extensions,
            max_frame_length=self.max_frame_length,
        )


def accept_key(key: bytes) -> str:
    """Return what proves that a request with this key was understood."""
    # The protocol says which hash it is; nothing is kept secret with it.
    digest = hashlib.sha1(key + PROTOCOL_GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def _key_of(environ: Mapping[str, Any]) -> bytes:
    """Return the request's key, or refuse it."""
    key: str = environ.get("HTTP_SEC_WEBSOCKET_KEY", "").strip()
    try:
        good = len(base64.b64decode(key.encode("ascii"), validate=True)) == 16
    except (binascii.Error, UnicodeEncodeError):
        good = False
    if not good:
        raise _refusal("Sec-WebSocket-Key is no key: 16 bytes in Base64.")
    return key.encode("ascii")


def _refusal(
    reason: str,
    status: str = "400 Bad Request",
    headers: Iterable[tuple[str, str]] = (),
) -> BadRequest:
    return BadRequest(status, headers=[(_REASON, reason), *headers])


def _takes_one(checker: Callable[..., Any]) -> bool:
    """Whether an origin checker wants the origin only, not the host before it."""
    try:
        parameters = inspect.signature(checker).parameters.values()
    except (TypeError, ValueError):
        return False
    names = [
        p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    several = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    needed = [p for p in names if p.default is p.empty]
    return not several and (len(names) == 1 or len(needed) == 1)


def _tokens(environ: Mapping[str, Any], name: str) -> set[str]:
    value: str = environ.get(name, "")
    return {token.strip().lower() for token in value.split(",")}


def _may_be_ended(environ: dict[str, Any], ws: WebSocket) -> None:
    """Tell the server that the connection need not be waited for when it stops."""
    # Under gunicorn, engineio puts an object of its own where the server's was.
    body = environ.get("wsgi.input")
    if not hasattr(body, "server_stops"):
        body = environ.get("eventlet.input")
    if isinstance(ws, RFC6455WebSocket):
        ws.server_stops = getattr(body, "server_stops", None)
    set_idle = environ.get("eventlet.set_idle") or getattr(body, "set_idle", None)
    if set_idle is not None:
        set_idle()


def take_socket(environ: Mapping[str, Any]) -> Any:
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
