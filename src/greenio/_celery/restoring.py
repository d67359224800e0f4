"""Messages on Redis that a lost worker had taken, handed out again.

Redis knows no acknowledgement, so kombu keeps what workers have taken in a list, and any worker
puts back what has been there longer than the ``visibility_timeout``. kombu looks for that by
its own event loop, or else in a poll that ends with nothing. No poll ever ends with nothing:
the command that waits for messages is answered every second. So workers with green pools would
never look, and what a killed one had taken would be lost.
"""

from __future__ import annotations

from typing import Any

from celery import signals

# Seconds between two looks, unless the transport's options say it.
_INTERVAL = 10.0


def restore_messages() -> None:
    """Look for them as long as the worker runs, from when it is ready."""
    # Weak, the receiver would be there still, as it is in a module.
    signals.worker_ready.connect(_start, dispatch_uid="greenio-restore")


def _start(sender: Any, **_: Any) -> None:
    consumer = sender
    options = getattr(consumer.conninfo, "transport_options", None) or {}
    seconds = float(options.get("unacked_restore_interval") or _INTERVAL)
    consumer.timer.call_repeatedly(max(seconds, 1.0), _look, (consumer,))


def _look(consumer: Any) -> None:
    transport = getattr(consumer.connection, "transport", None)
    for channel in list(getattr(getattr(transport, "cycle", None), "_channels", ())):
        restore = getattr(getattr(channel, "qos", None), "restore_visible", None)
        if restore is None or not channel.active_queues:
            continue
        try:
            restore(num=getattr(channel, "unacked_restore_limit", None), interval=1)
        except channel.connection_errors:
            # The main loop connects again, and the next look is not long off.
            pass
        # They are the server's, not the channel's.
        return
