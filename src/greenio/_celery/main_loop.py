"""What Celery's main loop for green pools does that would hold its worker up.

After each message, `synloop` looks for heartbeats of the broker on the connection that events
are sent by, and waits for them up to a tenth of a second: over AMQP a worker then takes ten
tasks a second, however many could run. Here it only takes what has come.
"""

from __future__ import annotations

import functools

from celery.worker import loops


def take_heartbeats_without_waiting() -> None:
    """Have the main loop not wait for what it looks for after each message."""
    drain = getattr(loops, "_quick_drain", None)
    if drain is not None and not isinstance(drain, functools.partial):
        loops._quick_drain = functools.partial(drain, timeout=0)
