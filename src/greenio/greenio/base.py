"""Green sockets, and the steps they are made of, by the names eventlet gives them."""

from __future__ import annotations

import errno
import os
from typing import Any, TypeVar

from .._net.constants import SHUT_RDWR, SO_ERROR, SOL_SOCKET
from .._net.files import set_nonblocking as set_nonblocking
from .._net.socket import GreenSocket as GreenSocket
from .._std.public_names import claim

S = TypeVar("S")

__all__ = [
    "BUFFER_SIZE",
    "CONNECT_ERR",
    "CONNECT_SUCCESS",
    "SOCKET_BLOCKING",
    "SOCKET_CLOSED",
    "GreenSocket",
    "greenpipe_doc",
    "set_nonblocking",
    "shutdown_safe",
    "socket_accept",
    "socket_checkerr",
    "socket_connect",
    "socket_timeout",
]

claim(globals())

BUFFER_SIZE = 4096
# Error numbers: a connection is on its way; it is there; a call would block; the
# connection has ended.
CONNECT_ERR = {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK}
CONNECT_SUCCESS = {0, errno.EISCONN}
SOCKET_BLOCKING = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOTCONN}
SOCKET_CLOSED = {errno.ECONNRESET, errno.ESHUTDOWN, errno.EPIPE}

socket_timeout = TimeoutError

greenpipe_doc = """A file over a pipe, a terminal or the like.

Reading and writing park the green thread; a regular file is read and written directly.
The arguments are those of `open`; the first may be a descriptor, a path or a file."""


def socket_connect(descriptor: S, address: Any) -> S | None:
    """Begin to connect a non-blocking socket.

    Returns:
        The socket if it is connected, None if that takes longer.

    Raises:
        OSError: The connection failed.
    """
    error = descriptor.connect_ex(address)  # type: ignore[attr-defined]
    if error in CONNECT_ERR:
        return None
    if error not in CONNECT_SUCCESS:
        raise OSError(error, os.strerror(error))
    return descriptor


def socket_checkerr(descriptor: Any) -> None:
    """Raise the error that a socket has met, if it has met one."""
    error = descriptor.getsockopt(SOL_SOCKET, SO_ERROR)
    if error not in CONNECT_SUCCESS:
        raise OSError(error, os.strerror(error))


def socket_accept(descriptor: Any) -> tuple[Any, Any] | None:
    """Accept a connection on a non-blocking socket; None if there is none yet."""
    try:
        connection: tuple[Any, Any] = descriptor.accept()
    except BlockingIOError:
        return None
    return connection


def shutdown_safe(sock: Any) -> None:
    """Shut a socket down both ways, be it plain, TLS or PyOpenSSL's, connected or not."""
    try:
        try:
            sock.shutdown(SHUT_RDWR)
        except TypeError:
            # A PyOpenSSL connection takes no argument.
            sock.shutdown()
    except OSError as exc:
        if exc.errno not in (errno.ENOTCONN, errno.EBADF, errno.ENOTSOCK):
            raise
