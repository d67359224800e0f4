"""Connections of a protocol that reads requests by itself, while there is none to read.

The loop reads the first bytes of a request, as for any connection that it serves
(`loop_connection`), and a green thread has the protocol handle that one and what follows
without a pause. Between requests there is the protocol, and no green thread: its frames
and its stack are most of what an idle connection would take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._net.socket import GreenSocket
from .._reactor.descriptors import Listener
from . import settings
from .connection import CLOSED, HEAD, IDLE, LINGERING, RUNNING, Channel
from .loop_connection import LoopChannel, LoopServing, RequestListener

if TYPE_CHECKING:
    from .protocol import HttpProtocol


class _RestListener(RequestListener):
    """Reads the first bytes of a request, unless a green thread reads."""

    __slots__ = ()

    def _on_ready(self) -> None:
        channel = self.channel
        if channel is None or channel.worker is not None:
            Listener._on_ready(self)
        else:
            RequestListener._on_ready(self)


class RestingChannel(LoopChannel):
    """A connection whose protocol is called when something has come."""

    __slots__ = ("conn_state", "protocol")

    listens = _RestListener
    rests = True

    def __init__(self, serving: LoopServing, sock: GreenSocket, address: Any) -> None:
        self.conn_state: list[Any] = [address, sock, settings.STATE_IDLE, self]
        self.protocol: HttpProtocol | None = None
        super().__init__(serving, sock, address)

    def received(self, piece: bytes) -> None:
        """Have the protocol read it, or drop what comes after the end."""
        if not piece or self.phase == LINGERING:
            super().received(piece)
            return
        self.head = piece
        self.phase: int = RUNNING
        self.serving.add_request(self)

    def run(self) -> None:
        """Handle what has come, and wait for more."""
        server = self.server
        self.buffer: bytes = self.head + self.buffer
        self.head: bytes = b""
        self.phase = HEAD
        self.since: float = server.now
        rests = False
        try:
            protocol = self.protocol
            if protocol is None:
                kind: type[HttpProtocol] = server.protocol
                self.protocol = protocol = kind.__new__(kind)
                protocol._prepare(self.conn_state, server)
            protocol.handle()
            rests = self.phase == IDLE and not protocol.close_connection
        except OSError as exc:
            server.log.debug(f"connection from {self.address!r}: {exc!r}")
        finally:
            self.worker: Any = None
            if not rests:
                self.conn_state[2] = settings.STATE_CLOSE
                if self.phase not in (LINGERING, CLOSED):
                    self.close()
        if not rests:
            return
        if server.stopping:
            self._await_next()
            return
        listener = self.listener
        if not listener.registered or self.sock._reader is not listener:
            self._watch()

    # -- the end -------------------------------------------------------------------------

    def linger(self) -> None:
        """End the connection so that the client gets what was sent."""
        self.end()

    def close(self) -> None:
        """Close the connection."""
        super().close()
        # These refer to it.
        self.protocol = None
        del self.conn_state[3:]

    def end_idle(self) -> None:
        """The server stops, and this waits for a request: end it, unless one came."""
        if self.worker is None:
            super().end_idle()
        else:
            Channel.end_idle(self)
