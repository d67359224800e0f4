"""Not offered: tracing by way of this module of eventlet's.

It needs a Thrift client for Python 2 and replaces methods of eventlet's own classes.
"""

from __future__ import annotations

raise ImportError(
    f"greenio does not have {__name__.rpartition('.')[2]!r}: eventlet's tracing sends by "
    "a protocol that is no longer spoken. Use OpenTelemetry's SDK with its Zipkin "
    "exporter instead; contextvars carry its spans into green threads and coroutines.",
    name=__name__,
)
