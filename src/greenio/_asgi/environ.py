"""The WSGI environment of an ASGI request.

PEP 3333 wants the bytes of the request as characters below 256 ("latin-1"); ASGI gives
the path decoded as UTF-8 and the rest as bytes. Everything here goes through bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

Scope = MutableMapping[str, Any]

_PORTS = {"http": "80", "https": "443"}
_PLAIN = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


class BadRequestError(Exception):
    """The request means different things to different readers."""


def make_environ(scope: Scope, body: Any) -> dict[str, Any]:
    """Return the WSGI environment of a request.

    Args:
        scope: The ASGI scope, of type "http".
        body: What becomes ``wsgi.input``.

    Raises:
        BadRequestError: It has several lengths.
    """
    scheme = scope.get("scheme", "http")
    script_name, path_info = _split_path(scope)
    name, port = scope.get("server") or (None, None)
    if port is None:
        # No server is known, or it listens on a Unix socket, whose path is no name.
        name, port = "localhost", _PORTS.get(scheme, "80")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "SERVER_NAME": name or "localhost",
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": body,
        # It ends where the body ends, also without a Content-Length.
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        # Requests run at the same time, each with its own `threading.local` if that is
        # patched; and the server may have other processes.
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "asgi.scope": scope,
    }
    client = scope.get("client")
    if client:
        environ["REMOTE_ADDR"] = str(client[0])
        environ["REMOTE_PORT"] = str(client[1])
    _add_headers(environ, scope.get("headers", ()))
    return environ


def _split_path(scope: Scope) -> tuple[str, str]:
    """Return SCRIPT_NAME and PATH_INFO.

    The path begins with the root path, as ASGI says; servers and frameworks from before
    that was clear leave it out.
    """
    path: str = scope["path"]
    if path.isascii() and not scope.get("root_path"):
        return "", path
    raw = scope.get("raw_path")
    if raw and "\ufffd" in path and unquote(raw.decode("latin-1")) == path:
        # The path was no UTF-8, and what it was is lost in its decoded form.
        path_bytes = unquote_to_bytes(raw)
    else:
        path_bytes = path.encode("utf-8", "surrogateescape")
    root: bytes = scope.get("root_path", "").encode("utf-8", "surrogateescape")
    root = root.rstrip(b"/")
    if path_bytes == root or path_bytes.startswith(root + b"/"):
        path_bytes = path_bytes[len(root) :]
    return root.decode("latin-1"), path_bytes.decode("latin-1")


def _add_headers(
    environ: dict[str, Any], headers: Iterable[tuple[bytes, bytes]]
) -> None:
    for name, value in headers:
        key = _key(name)
        if key is None:
            continue
        text = value.decode("latin-1")
        if key in environ:
            text = _joined(key, environ[key], text)
        environ[key] = text


# Most names come again and again.
@lru_cache(maxsize=512)
def _key(name: bytes) -> str | None:
    """What a header is called in the environment; None if it is left out."""
    if b"_" in name:
        # There it would pass for the header that has hyphens in these places, which a
        # proxy may have checked or set.
        return None
    name = name.lower()
    plain = _PLAIN.get(name)
    if plain is not None:
        return plain
    return "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


def _joined(key: str, first: str, second: str) -> str:
    if key == "CONTENT_LENGTH":
        if first != second:
            raise BadRequestError("Content-Length headers that differ")
        return first
    # HTTP/2 lets a client send each cookie in a header of its own.
    return f"{first}; {second}" if key == "HTTP_COOKIE" else f"{first},{second}"


def expects_continue(environ: dict[str, Any]) -> bool:
    """Whether the client sends the body only when it is told that it is wanted."""
    expect: str = environ.get("HTTP_EXPECT", "")
    return expect.lower() == "100-continue"
