"""Accepting connections, for as long as a server is to.

There is room for a connection before it is accepted: until then it waits in the system's
queue, where another process that shares the listening socket may take it, and where
nothing is lost when this one stops.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from .._greenthread.pool import GreenPool
from .._greenthread.sleeping import sleep
from .._net.constants import IPPROTO_TCP, TCP_NODELAY
from .._net.ssl import GreenSSLSocket
from . import settings

if TYPE_CHECKING:
    from .loop_connection import LoopServing
    from .server import Server

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_CLOSED_LISTENER = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})
# The client has gone before it was accepted, or the network has.
_GONE_BEFORE = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EPROTO,
        errno.EINTR,
        errno.EAGAIN,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)
_AFTER_ERROR = 0.1
# How many are accepted of those that wait when the server stops.
_MOST_OF_REST = 4096


class Acceptor:
    """Accepts connections and has them served.

    Args:
        server: The server.
        serving: What serves them, if the loop reads them.
        pool: The pool of their green threads, if not.
        own_pool: Whether the pool is the server's own, a `GreenPool`.
    """

    def __init__(
        self, server: Server, serving: LoopServing | None, pool: Any, own_pool: bool
    ) -> None:
        self._server = server
        self._listener: Any = server.socket
        self._serving = serving
        self._pool = pool
        # Whether its free places can be waited for before somebody is accepted.
        self._has_places: bool = own_pool or (
            isinstance(pool, GreenPool)
            # In the pool itself, it would wait for its own end.
            and getcurrent() not in pool.coroutines_running
        )

    def accept_all(self) -> None:
        """Accept until the server stops or the listening socket is closed."""
        server = self._server
        accepted = 0
        while settings.is_accepting and not server.stopping:
            self._wait_for_room()
            try:
                sock, address = self._accept()
            except OSError as exc:
                if exc.errno in _OUT_OF_RESOURCES:
                    server.log.error(
                        f"({os.getpid()}) wsgi cannot accept connections for now "
                        f"({exc}); it tries again in a second"
                    )
                    sleep(1)
                elif exc.errno in _CLOSED_LISTENER:
                    server.stopped_because = "the listening socket was closed"
                    return
                elif exc.errno not in _GONE_BEFORE:
                    server.log.error(
                        f"({os.getpid()}) wsgi could not accept a connection: {exc!r}"
                    )
                    # Should it go on like that, others still have a turn.
                    sleep(_AFTER_ERROR)
                continue
            self._serve(sock, address)
            accepted += 1
            if accepted >= server.accepted_at_once:
                accepted = 0
                sleep(0)
        if server.stopped_because is None:
            server.stopped_because = "is_accepting is false"

    def accept_rest(self) -> None:
        """Accept what the system has accepted, as far as there is room."""
        try:
            self._listener.settimeout(0)
            for _ in range(_MOST_OF_REST):
                if not self._has_room():
                    return
                self._serve(*self._accept())
        except OSError:
            # There are no more, or the socket is closed.
            pass

    def _accept(self) -> tuple[Any, Any]:
        listener = self._listener
        accepted: tuple[Any, Any] = (
            listener.accept_plain()
            if isinstance(listener, GreenSSLSocket)
            else listener.accept()
        )
        return accepted

    def _has_room(self) -> bool:
        if self._serving is not None:
            return self._serving.has_room()
        return bool(self._pool.free() > 0)

    def _wait_for_room(self) -> None:
        if self._serving is not None:
            self._serving.wait_for_room()
        elif self._has_places:
            while self._pool.free() < 1:
                with self._pool.sem:
                    pass

    def _serve(self, sock: Any, address: Any) -> None:
        try:
            # Else a head and a body sent apart would wait for the client's
            # acknowledgement.
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        except OSError:
            pass  # a Unix socket
        try:
            if self._serving is not None:
                self._serving.add(sock, address)
            else:
                state = [address, sock, settings.STATE_IDLE]
                self._server.acceptor_serves = not self._has_places
                self._pool.spawn(self._server.process_request, state)
        except BaseException:
            sock.close()
            raise
        finally:
            self._server.acceptor_serves = False
