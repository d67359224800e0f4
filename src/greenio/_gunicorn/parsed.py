"""A listening socket whose connections gunicorn's own parser reads.

For what only that one knows: HTTP/2, uWSGI's protocol, the PROXY protocol, and settings
that loosen its rules. A green thread serves each connection.
"""

from __future__ import annotations

import errno
from typing import Any

from greenlet import getcurrent

from .._greenthread.killing import kill
from .._greenthread.pool import GreenPool
from .._greenthread.sleeping import sleep
from .._greenthread.timeout import Timeout
from .._net.socket import GreenSocket
from .._net.ssl import GreenSSLSocket, wrap_socket

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_MOST_OF_REST = 4096


class _Stop(BaseException):
    """Thrown into the accept loop."""


class ParsedListener:
    """Serves a listening socket by gunicorn's `AsyncWorker.handle`.

    Args:
        worker: gunicorn's worker.
        sock: The listening socket.
        context: The context of its TLS; None without.
    """

    def __init__(self, worker: Any, sock: GreenSocket, context: Any) -> None:
        self._worker = worker
        self._sock = sock
        self._context = context
        self._pool = GreenPool(worker.worker_connections)
        self._acceptor: Any = None
        self._stopping = False

    def stop(self, why: str) -> None:
        """Accept no more.

        Args:
            why: Why, for the log.
        """
        if not self._stopping:
            self._stopping = True
            if self._acceptor is not None:
                kill(self._acceptor, _Stop)

    def run(self) -> None:
        """Accept and serve until it stops, and wait for what runs."""
        self._acceptor = getcurrent()
        try:
            while not self._stopping:
                self._accept_one()
        except _Stop:
            pass
        self._acceptor = None
        self._accept_rest()
        self._sock.close()
        with Timeout(self._worker.cfg.graceful_timeout, False):
            self._pool.waitall()
            return
        self._worker.log.warning("Worker graceful timeout (pid:%s)", self._worker.pid)
        for thread in list(self._pool.coroutines_running):
            kill(thread)

    def _accept_one(self) -> None:
        if self._pool.free() < 1:
            # Another worker may have room for it.
            sleep(0.01)
            return
        try:
            client, address = self._sock.accept()
        except OSError as exc:
            if exc.errno in _OUT_OF_RESOURCES:
                self._worker.log.error("cannot accept connections for now: %s", exc)
                sleep(1)
            elif self._sock.fileno() < 0:
                raise _Stop from None
            return
        self._pool.spawn(self._handle, client, address)

    def _accept_rest(self) -> None:
        try:
            self._sock.settimeout(0)
            for _ in range(_MOST_OF_REST):
                if self._pool.free() < 1:
                    return
                client, address = self._sock.accept()
                self._pool.spawn(self._handle, client, address)
        except OSError:
            pass

    def _handle(self, client: Any, address: Any) -> None:
        client.settimeout(None)
        if self._context is not None:
            client = self._wrap(client, address)
            if client is None:
                return
        self._worker.handle(self._sock, client, address)

    def _wrap(self, client: Any, address: Any) -> GreenSSLSocket | None:
        try:
            return wrap_socket(
                client,
                server_side=True,
                suppress_ragged_eofs=self._worker.cfg.suppress_ragged_eofs,
                context=self._context,
            )
        except OSError as exc:
            self._worker.log.debug("TLS handshake with %s failed: %s", address, exc)
            client.close()
            return None
