"""Servers and clients in a line: `listen`, `serve`, `connect`, `wrap_ssl`."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenlet import getcurrent

from .._bridge.await_ import call_either
from .._greenthread.arguments import checked_size
from .._greenthread.killing import kill
from .._greenthread.pool import GreenPool
from .._greenthread.sleeping import sleep
from .._kernel.current import get_hub
from .._std.originals import SSLSocket, socket_class
from . import constants as _socket
from .socket import GreenSocket
from .ssl import GreenSSLSocket, wrap_socket


class ReuseRandomPortWarning(Warning):
    """``reuse_port`` was asked for together with port 0, which never reuses one."""


class ReusePortUnavailableWarning(Warning):
    """``reuse_port`` was asked for where the system cannot do it."""


def _make_socket(*args: Any) -> GreenSocket:
    """Make what `greenio.green.socket.socket` is now: a program may have replaced it."""
    module: Any = sys.modules.get(f"{__package__.partition('.')[0]}.green.socket")
    made: GreenSocket = (GreenSocket if module is None else module.socket)(*args)
    return made


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
    sock = _make_socket(family, _socket.SOCK_STREAM)
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
            ``AF_UNIX``, where a socket that nobody listens on any more is replaced.
        family: The address family.
        backlog: How many connections may wait to be accepted.
        reuse_addr: Whether an address that was in use a moment ago may be used.
        reuse_port: Whether several sockets, of several processes too, may listen on the
            port, each getting a share of the connections. None, as in eventlet, is True
            for a port that is named, where the system can do it.

    Returns:
        A listening green socket.

    Raises:
        OSError: The address cannot be used.
    """
    sock = _make_socket(family, _socket.SOCK_STREAM)
    try:
        if family == _socket.AF_UNIX:
            _remove_stale(addr)
        else:
            if reuse_addr and sys.platform[:3] != "win":
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if not isinstance(addr, tuple):
                raise TypeError(
                    "listen() takes an address as in listen((host, port)), or a path "
                    f"with family=AF_UNIX, not {addr!r}"
                )
            if reuse_port or (reuse_port is None and addr[1] != 0):
                _reuse_port(sock, addr, asked=bool(reuse_port))
        sock.bind(addr)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _reuse_port(sock: GreenSocket, addr: Any, *, asked: bool) -> None:
    if asked and addr[1] == 0:
        warnings.warn(
            "reuse_port with port 0: each call of listen() gets a port of its own; "
            "name the port that is to be shared",
            ReuseRandomPortWarning,
            stacklevel=3,
        )
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
    except OSError:
        if asked:
            warnings.warn(
                "reuse_port is not to be had on this system; only one process can "
                "listen on the port",
                ReusePortUnavailableWarning,
                stacklevel=3,
            )


def _remove_stale(path: Any) -> None:
    """Remove a socket that nobody listens on any more."""
    name = os.fsdecode(path)
    if name[:1] in ("", "\0"):  # not in the file system
        return
    file = Path(name)
    if not file.is_socket():
        return
    with GreenSocket(_socket.AF_UNIX, _socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            file.unlink(missing_ok=True)


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
    handlers that run go on then. What only concerns one connection stops nothing: a
    handler that ends with a `ConnectionError` because its peer has gone, or is killed,
    and a TLS handshake that fails. The listening socket stays open; it is the caller's.

    Args:
        sock: A listening socket, as `listen` returns it, or `wrap_ssl` of that. With TLS
            the handshake takes place in the connection's own green thread.
        handle: Called with the connection, which is closed after it, and the peer's
            address; a coroutine function is awaited.
        concurrency: How many connections to handle at a time; others wait to be
            accepted.

    Raises:
        Exception: Whatever a handler raised.
        TypeError: `sock` is no socket that accepts, or `handle` no function.
        ValueError: `concurrency` is less than 1.
        OSError: Accepting failed; the listening socket was closed, for example.
    """
    if not callable(handle):
        raise TypeError(
            "serve() takes a listening socket and a function that handles a connection, "
            f"as in serve(listen(address), handle), not {handle!r}"
        )
    if checked_size(concurrency, "serve") < 1:
        raise ValueError(
            "serve() handles one connection or more at a time: concurrency=0 would "
            "accept none"
        )
    _Server(_listening(sock), handle, concurrency).run()


def _listening(sock: Any) -> GreenSocket:
    """Return a socket in green form.

    Raises:
        TypeError: It has none.
    """
    if isinstance(sock, GreenSocket):
        return sock
    if isinstance(sock, socket_class) and not isinstance(sock, SSLSocket):
        return GreenSocket(sock)
    if callable(getattr(sock, "accept", None)) and not isinstance(sock, socket_class):
        return sock  # type: ignore[no-any-return]
    raise TypeError(
        "serve() takes a listening socket, as greenio.listen(address) returns it or "
        f"greenio.wrap_ssl() of that, not {sock!r}"
    )


class _HandlerFailed(Exception):
    """Ends the accepting of a `_Server` that has a failure."""


class _Server:
    """One call of `serve`."""

    def __init__(
        self, sock: GreenSocket, handle: Callable[[Any, Any], Any], concurrency: int
    ) -> None:
        self._sock = sock
        self._handle = handle
        self._pool = GreenPool(concurrency)
        self._greenlet = getcurrent()
        self._accepting = True
        self._failure: Exception | None = None

    def run(self) -> None:
        try:
            while True:
                connection, address = self._accept()
                try:
                    self._pool.spawn(self._serve_one, connection, address)
                except BaseException:
                    connection.close()
                    raise
        except _HandlerFailed:
            pass
        except StopServe:
            # Somebody else than a handler has raised it in here.
            self._failure = StopServe()
        finally:
            self._accepting = False
        failure, self._failure = self._failure, None
        if isinstance(failure, StopServe):
            self._pool.waitall()
        elif failure is not None:
            try:
                # Here and not in `kill`, which would lose where the handler failed.
                raise failure
            finally:
                del failure

    def _accept(self) -> tuple[GreenSocket, Any]:
        sock = self._sock
        while True:
            try:
                if isinstance(sock, GreenSSLSocket):
                    return sock.accept_plain()
                return sock.accept()
            except OSError as exc:
                if exc.errno in _OUT_OF_RESOURCES:
                    get_hub().report(
                        f"serve() cannot accept connections for now ({exc}); it tries "
                        "again in a second",
                        None,
                    )
                elif exc.errno in _LOST_ALREADY:
                    continue
                else:
                    raise
            sleep(1)

    def _serve_one(self, connection: GreenSocket, address: Any) -> None:
        try:
            if isinstance(self._sock, GreenSSLSocket):
                connection = self._sock.wrap_accepted(connection)
        except OSError:
            # The handshake failed, and has closed the connection.
            return
        try:
            call_either(self._handle, (connection, address), {})
        except ConnectionError:
            pass
        except Exception as exc:
            if self._accepting:
                self._accepting = False
                if not isinstance(exc, StopServe):
                    _add_note(exc, f"serve() ended, because {self._handle!r} failed")
                self._failure = exc
                kill(self._greenlet, _HandlerFailed)
            elif not isinstance(exc, StopServe):
                raise  # to be reported, like that of any green thread
        finally:
            connection.close()


def _add_note(exc: BaseException, note: str) -> None:
    if sys.version_info >= (3, 11):
        exc.add_note(note)


# What accept() answers for a connection that ended before it was accepted; on Linux,
# any error of the network.
_LOST_ALREADY = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENONET",
        "ENOPROTOOPT",
        "EPERM",
        "EPROTO",
    )
    if hasattr(errno, name)
)
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def wrap_ssl(sock: GreenSocket, *a: Any, **kw: Any) -> Any:
    """Make a TLS socket of a plain one.

    Args:
        sock: The socket: connected, listening, or not connected yet.
        *a: As for `ssl.wrap_socket` of old: keyfile, certfile, server_side, ...
        **kw: The same by name, ``server_hostname``, or ``context`` for a ready context.

    Returns:
        The TLS socket.
    """
    if not isinstance(sock, socket_class):
        raise TypeError(
            "wrap_ssl() takes a socket, as greenio.connect() and greenio.listen() return "
            f"it, not {sock!r}"
        )
    return wrap_socket(sock, *a, **kw)
