"""Servers and clients in a line: `listen`, `serve`, `connect`, `wrap_ssl`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenlet import GreenletExit, getcurrent

from ._core._greenthread import GreenThread, check_callable, kill
from ._net import _constants as _socket
from ._net._socket import GreenSocket
from ._net._ssl import wrap_socket
from .greenpool import GreenPool

__all__ = [
    "ReusePortUnavailableWarning",
    "ReuseRandomPortWarning",
    "StopServe",
    "connect",
    "listen",
    "serve",
    "wrap_ssl",
]


class ReuseRandomPortWarning(Warning):
    """``reuse_port`` was asked for together with port 0, which never reuses one."""


class ReusePortUnavailableWarning(Warning):
    """``reuse_port`` was asked for where the system cannot do it."""


def connect(addr: Any, family: int = _socket.AF_INET, bind: Any = None) -> GreenSocket:
    """Connect to a server.

    Args:
        addr: Its address: ``(host, port)``, or a path with ``AF_UNIX``.
        family: The address family.
        bind: A local address to connect from.

    Returns:
        A connected green socket.

    Raises:
        OSError: The connection failed.
    """
    sock = GreenSocket(family, _socket.SOCK_STREAM)
    try:
        if bind is not None:
            sock.bind(bind)
        sock.connect(addr)
    except BaseException:
        sock.close()
        raise
    return sock


def listen(
    addr: Any,
    family: int = _socket.AF_INET,
    backlog: int = 50,
    reuse_addr: bool = True,
    reuse_port: bool | None = None,
) -> GreenSocket:
    """Listen for connections.

    Args:
        addr: The address: ``(host, port)``, port 0 for any free one, or a path with
            ``AF_UNIX``, where a socket that was left there is replaced.
        family: The address family.
        backlog: How many connections may wait to be accepted.
        reuse_addr: Whether an address that was in use a moment ago may be used.
        reuse_port: Whether several processes may listen on the port, each getting a
            share of the connections.

    Returns:
        A listening green socket.

    Raises:
        OSError: The address cannot be used.
    """
    sock = GreenSocket(family, _socket.SOCK_STREAM)
    try:
        if reuse_addr and sys.platform[:3] != "win" and family != _socket.AF_UNIX:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if reuse_port and family in (_socket.AF_INET, _socket.AF_INET6):
            _reuse_port(sock, addr)
        if family == _socket.AF_UNIX:
            _remove_stale(addr)
        sock.bind(addr)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _reuse_port(sock: GreenSocket, addr: Any) -> None:
    if addr[1] == 0:
        warnings.warn(
            "reuse_port with port 0: each call of listen() gets a port of its own; "
            "name the port that is to be shared",
            ReuseRandomPortWarning,
            stacklevel=3,
        )
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
    except (AttributeError, OSError):
        warnings.warn(
            "reuse_port is not to be had on this system; only one process can listen "
            "on the port",
            ReusePortUnavailableWarning,
            stacklevel=3,
        )


def _remove_stale(path: Any) -> None:
    """Remove a socket that nobody listens on any more."""
    if isinstance(path, bytes):
        abstract = path[:1] == b"\0"
    else:
        abstract = path[:1] == "\0"
    if abstract:
        return
    file = Path(os.fsdecode(path))
    try:
        if file.is_socket():
            file.unlink()
    except FileNotFoundError:
        pass


class StopServe(Exception):
    """Raised by a handler to make `serve` return."""


def serve(
    sock: GreenSocket,
    handle: Callable[[GreenSocket, Any], Any],
    concurrency: int = 1000,
) -> None:
    """Accept connections and handle each in a green thread, until a handler stops it.

    A handler raises `StopServe` to make it return: it stops accepting, and returns when
    the other handlers have finished. Any other exception of a handler is raised here;
    handlers that run go on then. A handler that is killed stops nothing. The listening
    socket stays open; it is the caller's.

    Args:
        sock: A listening socket, as `listen` returns it.
        handle: Called with the connection, which is closed after it, and the peer's
            address.
        concurrency: How many connections to handle at a time; others wait to be
            accepted.

    Raises:
        BaseException: Whatever a handler raised.
    """
    check_callable(handle, "serve")
    pool = GreenPool(concurrency)
    server = getcurrent()

    def stop(thread: GreenThread) -> None:
        try:
            thread.wait()
        except GreenletExit:
            return
        except BaseException as exc:  # noqa: BLE001 - it goes to the server
            kill(server, exc)

    def run(connection: GreenSocket, address: Any) -> None:
        try:
            handle(connection, address)
        finally:
            connection.close()

    while True:
        try:
            connection, address = sock.accept()
            try:
                pool.spawn(run, connection, address).link(stop)
            except BaseException:
                connection.close()
                raise
        except StopServe:
            pool.waitall()
            return


def wrap_ssl(sock: GreenSocket, *a: Any, **kw: Any) -> Any:
    """Make a TLS socket of a plain one.

    Args:
        sock: The socket: connected, listening, or not connected yet.
        *a: As for `ssl.wrap_socket` of old: keyfile, certfile, server_side, ...
        **kw: The same by name, ``server_hostname``, or ``context`` for a ready context.

    Returns:
        The TLS socket.
    """
    return wrap_socket(sock, *a, **kw)
