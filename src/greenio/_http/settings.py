"""What a program may set for all servers of the process, and the names of states.

`greenio.wsgi` shows these under eventlet's names, and what is assigned there arrives
here. They are read when a request comes, so that an assignment always counts.
"""

from __future__ import annotations

from typing import Final

# Bytes that an iterating application collects before they are sent.
MINIMUM_CHUNK_SIZE = 4096
# Limits on what precedes a body.
MAX_REQUEST_LINE = 8192
MAX_HEADER_LINE = 8192
MAX_TOTAL_HEADER_SIZE = 65536
MAX_HEADER_COUNT = 100
# Limits on a chunked body, besides what it holds: one chunk's extensions, all trailers.
MAX_CHUNK_LINE = 4096
MAX_TRAILER_SIZE = 8192
# How much of a body that the application left unread is read to keep the connection.
MAX_DISCARD = 256 * 1024
# False: no server accepts connections any more, and each returns.
is_accepting = True

DEFAULT_MAX_SIMULTANEOUS_REQUESTS: Final = 1024
DEFAULT_MAX_HTTP_VERSION: Final = "HTTP/1.1"
DEFAULT_LOG_FORMAT: Final = (
    '%(client_ip)s - - [%(date_time)s] "%(request_line)s" '
    "%(status_code)s %(body_length)s %(wall_seconds).6f"
)
# Seconds; see `greenio.wsgi.server`.
HEADER_TIMEOUT: Final = 30.0
IDLE_TIMEOUT: Final = 75.0
BODY_TIMEOUT: Final = 60.0
# Bytes per second; the same as in servers that have such a limit.
BODY_RATE: Final = 240.0
GRACEFUL_TIMEOUT: Final = 30.0
SEND_TIMEOUT: Final = 60.0

STATE_IDLE: Final = "idle"
STATE_REQUEST: Final = "request"
STATE_CLOSE: Final = "close"

# How much is asked of a socket at once.
RECEIVE: Final = 65536

ASSIGNABLE: Final = frozenset(
    {
        "MAX_CHUNK_LINE",
        "MAX_DISCARD",
        "MAX_HEADER_COUNT",
        "MAX_HEADER_LINE",
        "MAX_REQUEST_LINE",
        "MAX_TOTAL_HEADER_SIZE",
        "MAX_TRAILER_SIZE",
        "MINIMUM_CHUNK_SIZE",
        "is_accepting",
    }
)
