"""The handshakes of drafts 75 and 76, from before RFC 6455.

In draft 76 the client sends two keys as numbers hidden among other characters, and eight
bytes after the head; the answer is their MD5. Draft 75 has nothing of the kind, so any
page may have any server answer it: one more reason to ask for these only if need be.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

from .base import WebSocket
from .errors import BadRequest

_MOST = 0xFFFFFFFF


def check(environ: Mapping[str, Any]) -> None:
    """Refuse what is no handshake of these.

    Raises:
        BadRequest: It is none.
    """
    keys = [environ.get(f"HTTP_SEC_WEBSOCKET_KEY{number}") for number in (1, 2)]
    if any(keys):
        for key in keys:
            _number_in(key)
    elif "HTTP_SEC_WEBSOCKET_KEY" in environ:
        raise BadRequest


def switch(
    environ: dict[str, Any], take_socket: Callable[[dict[str, Any]], Any]
) -> WebSocket:
    """Take the socket, give the answer, and return the connection."""
    is_76 = "HTTP_SEC_WEBSOCKET_KEY1" in environ
    sock = take_socket(environ)
    proof = b""
    if is_76:
        numbers = [_number_in(environ[f"HTTP_SEC_WEBSOCKET_KEY{n}"]) for n in (1, 2)]
        rest = b""
        while len(rest) < 8:
            data = sock.recv(8 - len(rest))
            if not data:
                raise ConnectionResetError("the client ended within the handshake")
            rest += data
        proof = struct.pack(">II", *numbers) + rest
        proof = hashlib.md5(proof, usedforsecurity=False).digest()
    scheme = "wss" if environ.get("wsgi.url_scheme") == "https" else "ws"
    query = environ.get("QUERY_STRING")
    location = (
        f"{scheme}://{environ.get('HTTP_HOST')}{environ.get('SCRIPT_NAME', '')}"
        f"{environ.get('PATH_INFO', '')}{f'?{query}' if query else ''}"
    )
    headers = {"Origin": environ.get("HTTP_ORIGIN"), "Location": location}
    if is_76:
        headers["Protocol"] = environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL")
    prefix = "Sec-WebSocket-" if is_76 else "WebSocket-"
    lines = [
        f"HTTP/1.1 101 Web{'' if is_76 else ' '}Socket Protocol Handshake",
        "Upgrade: WebSocket",
        "Connection: Upgrade",
        *(f"{prefix}{name}: {value}" for name, value in headers.items() if value),
    ]
    # A path is decoded: what it holds must not end the header.
    answer = "\r\n".join(re.sub(r"[\r\n\0]", "", line) for line in lines)
    sock.sendall(answer.encode("latin-1") + b"\r\n\r\n" + proof)
    return WebSocket(sock, environ, 76 if is_76 else 75)


def _number_in(key: str | None) -> int:
    digits = re.sub(r"[^0-9]", "", key or "")
    spaces = (key or "").count(" ")
    if not digits or not spaces or int(digits[:20]) // spaces > _MOST:
        raise BadRequest
    return int(digits[:20]) // spaces
