"""WebSocket connections for WSGI servers that lend their sockets.

`WebSocketWSGI` makes a WSGI application of a handler, which is called with each
connection in a green thread.
"""

from __future__ import annotations

from ._std.public_names import claim
from ._ws.base import ACCEPTABLE_CLIENT_ERRORS as ACCEPTABLE_CLIENT_ERRORS
from ._ws.base import DEFAULT_MAX_FRAME_LENGTH as DEFAULT_MAX_FRAME_LENGTH
from ._ws.base import WebSocket as WebSocket
from ._ws.connection import RFC6455WebSocket as RFC6455WebSocket
from ._ws.errors import BadRequest as BadRequest
from ._ws.errors import ConnectionClosedError as ConnectionClosedError
from ._ws.errors import FailedConnectionError as FailedConnectionError
from ._ws.errors import ProtocolError as ProtocolError
from ._ws.frames import CLOSE_CODES as _CLOSE_CODES
from ._ws.handshake import PROTOCOL_GUID as PROTOCOL_GUID
from ._ws.handshake import WebSocketWSGI as WebSocketWSGI

# eventlet's names for what is built in here.
VALID_CLOSE_STATUS = set(_CLOSE_CODES)
utf8validator = None

__all__ = [
    "ACCEPTABLE_CLIENT_ERRORS",
    "DEFAULT_MAX_FRAME_LENGTH",
    "PROTOCOL_GUID",
    "VALID_CLOSE_STATUS",
    "BadRequest",
    "ConnectionClosedError",
    "FailedConnectionError",
    "ProtocolError",
    "RFC6455WebSocket",
    "WebSocket",
    "WebSocketWSGI",
]

claim(globals())
claim(
    {
        "__name__": __name__,
        "__all__": ["Message", "UTF8Decoder"],
        "Message": RFC6455WebSocket.Message,
        "UTF8Decoder": RFC6455WebSocket.UTF8Decoder,
    }
)
