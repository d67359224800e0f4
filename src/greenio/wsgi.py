r"""A WSGI server: HTTP/1.1 for applications in green threads, as `eventlet.wsgi`.

::

    from greenio import listen, wsgi

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello\n"]

    wsgi.server(listen(("127.0.0.1", 8000)), app)

Requests are read by llhttp: ``pip install "greenio-asyncio[server]"``. The limits
(``MAX_REQUEST_LINE`` and its sisters, `is_accepting`) are for all servers of the
process, and may be assigned at any time.
"""

from __future__ import annotations

import errno
import sys
from http import server as BaseHTTPServer
from types import ModuleType
from typing import Any

from ._http import settings as _settings
from ._http.attached import serve as serve
from ._http.body import Input as Input
from ._http.errors import ChunkReadError as ChunkReadError
from ._http.errors import HeaderLineTooLong as HeaderLineTooLong
from ._http.errors import HeadersTooLarge as HeadersTooLarge
from ._http.exchange import ALREADY_HANDLED as ALREADY_HANDLED
from ._http.exchange import WSGI_LOCAL as WSGI_LOCAL
from ._http.exchange import FileWrapper as FileWrapper
from ._http.known import forget_all as _forget_heads
from ._http.logs import LoggerFileWrapper as LoggerFileWrapper
from ._http.logs import LoggerNull as LoggerNull
from ._http.logs import format_date_time as format_date_time
from ._http.logs import get_logger as get_logger
from ._http.protocol import FileObjectForHeaders as FileObjectForHeaders
from ._http.protocol import HttpProtocol as HttpProtocol
from ._http.protocol import addr_to_host_port as addr_to_host_port
from ._http.serve import server as server
from ._http.server import Server as Server
from ._http.server import socket_repr as socket_repr
from ._http.settings import DEFAULT_LOG_FORMAT as DEFAULT_LOG_FORMAT
from ._http.settings import DEFAULT_MAX_HTTP_VERSION as DEFAULT_MAX_HTTP_VERSION
from ._http.settings import (
    DEFAULT_MAX_SIMULTANEOUS_REQUESTS as DEFAULT_MAX_SIMULTANEOUS_REQUESTS,
)
from ._http.settings import STATE_CLOSE as STATE_CLOSE
from ._http.settings import STATE_IDLE as STATE_IDLE
from ._http.settings import STATE_REQUEST as STATE_REQUEST
from ._std.originals import SSLError as _SSLError
from ._std.public_names import claim

__all__ = [
    "ACCEPT_ERRNO",
    "ACCEPT_EXCEPTIONS",
    "ALREADY_HANDLED",
    "BAD_SOCK",
    "BROKEN_SOCK",
    "DEFAULT_LOG_FORMAT",
    "DEFAULT_MAX_HTTP_VERSION",
    "DEFAULT_MAX_SIMULTANEOUS_REQUESTS",
    "MAX_CHUNK_LINE",
    "MAX_DISCARD",
    "MAX_HEADER_COUNT",
    "MAX_HEADER_LINE",
    "MAX_REQUEST_LINE",
    "MAX_TOTAL_HEADER_SIZE",
    "MAX_TRAILER_SIZE",
    "MINIMUM_CHUNK_SIZE",
    "RESPONSE_414",
    "STATE_CLOSE",
    "STATE_IDLE",
    "STATE_REQUEST",
    "WSGI_LOCAL",
    "BaseHTTPServer",
    "ChunkReadError",
    "FileObjectForHeaders",
    "FileWrapper",
    "HeaderLineTooLong",
    "HeadersTooLarge",
    "HttpProtocol",
    "Input",
    "LoggerFileWrapper",
    "LoggerNull",
    "Server",
    "addr_to_host_port",
    "format_date_time",
    "get_logger",
    "is_accepting",
    "serve",
    "server",
    "socket_repr",
]

MAX_CHUNK_LINE = _settings.MAX_CHUNK_LINE
MAX_DISCARD = _settings.MAX_DISCARD
MAX_HEADER_COUNT = _settings.MAX_HEADER_COUNT
MAX_HEADER_LINE = _settings.MAX_HEADER_LINE
MAX_REQUEST_LINE = _settings.MAX_REQUEST_LINE
MAX_TOTAL_HEADER_SIZE = _settings.MAX_TOTAL_HEADER_SIZE
MAX_TRAILER_SIZE = _settings.MAX_TRAILER_SIZE
MINIMUM_CHUNK_SIZE = _settings.MINIMUM_CHUNK_SIZE
is_accepting: bool = _settings.is_accepting

RESPONSE_414 = (
    b"HTTP/1.0 414 Request URI Too Long\r\n"
    b"Connection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)
BAD_SOCK = {errno.EBADF, 10053}
BROKEN_SOCK = {errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN}
ACCEPT_EXCEPTIONS = (OSError, _SSLError)
# The last two are SSL_ERROR_SSL and SSL_ERROR_EOF.
ACCEPT_ERRNO = {errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN, errno.ENOTCONN, 1, 8}


class _Assignable(ModuleType):
    """What is assigned here reaches the servers."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _settings.ASSIGNABLE:
            if name != "is_accepting" and (not isinstance(value, int) or value < 0):
                raise ValueError(f"wsgi.{name} is a number of bytes, not {value!r}")
            setattr(_settings, name, value)
            _forget_heads()
        super().__setattr__(name, value)


claim(globals())
sys.modules[__name__].__class__ = _Assignable
