"""Messages over AMQP, read from the socket in larger pieces.

py-amqp asks the socket for each part of a frame by its exact length, which makes nine calls of
a message: where an event loop watches the descriptor, what was read and not used yet would wait
there unseen. In a worker of this pool nobody watches it, each connection is read by whoever
waits for it. py-amqp keeps what is left over, so all that changes is how much is asked for.
"""

from __future__ import annotations

import functools
from typing import Any

from amqp import transport

# Bytes: a few short tasks. What is left over is moved for each part that is taken.
_PIECE = 4096


def read_ahead() -> None:
    """Have py-amqp take what has come, on connections that are made from now on."""
    kind: Any = transport.TCPTransport
    setup = getattr(kind, "_setup_transport", None)
    if setup is None or hasattr(setup, "__wrapped__"):
        return

    @functools.wraps(setup)
    def set_up(self: Any) -> None:
        setup(self)
        receive = getattr(self, "_quick_recv", None)
        if receive is not None:
            self._quick_recv = lambda size: receive(max(size, _PIECE))

    kind._setup_transport = set_up
