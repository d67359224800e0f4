"""What goes wrong in WebSocket connections.

Exception
├── BadRequest                a request that is no good handshake: an HTTP answer
├── ConnectionClosedError     the connection is over
├── FailedConnectionError     it never came to be
└── ValueError
    └── ProtocolError         the peer broke a rule: the connection is closed
"""

from __future__ import annotations


class BadRequest(Exception):
    """The request cannot become a WebSocket connection.

    Args:
        status: The answer's status line.
        body: Its body.
        headers: Its headers, besides those every refusal has.
    """

    def __init__(
        self,
        status: str = "400 Bad Request",
        body: str | bytes | None = None,
        headers: list[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(status, body)
        self.status = status
        self.body: bytes = (body.encode() if isinstance(body, str) else body) or b""
        self.headers: list[tuple[str, str]] = headers or []


class ConnectionClosedError(Exception):
    """The connection is closed."""


class FailedConnectionError(Exception):
    """The connection failed before it was made.

    Args:
        status: Of the HTTP answer, or the code to close with.
        message: What went wrong.
    """

    def __init__(self, status: int | str, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


class ProtocolError(ValueError):
    """The peer broke a rule.

    Args:
        message: The rule.
        code: What the connection is closed with.
    """

    def __init__(self, message: str, code: int = 1002) -> None:
        super().__init__(message)
        self.code = code
