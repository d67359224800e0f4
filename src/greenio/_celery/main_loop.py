"""What Celery's main loop for green pools does that would hold its worker up.

After each message, `synloop` looks for heartbeats of the broker on the connection that events
are sent by, and waits for them up to a tenth of a second: over AMQP a worker then takes ten
tasks a second, however many could run. Here it only takes what has come, and looks as often as
it did, ten times a second: it costs a tenth of what a short task does.
"""

from __future__ import annotations

from typing import Any

from celery.worker import loops

from .._std.originals import monotonic

# Seconds. A broker's heartbeats come every half second at the most.
_LOOK_AGAIN = 0.1


class _Drain:
    """Celery's function that looks, told not to wait, and called from time to time only."""

    def __init__(self, drain: Any) -> None:
        self._drain = drain
        self._next = 0.0

    def __call__(self, connection: Any) -> None:
        now = monotonic()
        if now >= self._next:
            self._next = now + _LOOK_AGAIN
            self._drain(connection, timeout=0)


def take_heartbeats_without_waiting() -> None:
    """Have the main loop not wait for what it looks for after each message."""
    drain = getattr(loops, "_quick_drain", None)
    if drain is not None and not isinstance(drain, _Drain):
        loops._quick_drain = _Drain(drain)
