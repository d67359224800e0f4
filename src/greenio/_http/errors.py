"""What can be wrong with a request.

::

    RequestError            the head is refused: an answer with a status, then the end
    ├── HeaderLineTooLong
    └── HeadersTooLarge
    ChunkReadError          the body is no chunked body (a ValueError, as in eventlet)
    ClientGoneError         the peer ended in the middle of the body (a ConnectionError)
    └── ChunksCutShortError    of a chunked one: a ChunkReadError, too

The first never reaches an application. The others are raised by its reads of
``wsgi.input``; the connection ends with the request then, whatever is answered.
"""

from __future__ import annotations


class RequestError(Exception):
    """A request is refused.

    Args:
        status: The status to answer with, such as ``"400 Bad Request"``.
        why: What is wrong with it.
    """

    def __init__(self, status: str, why: str = "") -> None:
        super().__init__(f"{status}: {why}" if why else status)
        self.status = status
        self.why = why


class HeaderLineTooLong(RequestError):
    """A header line is longer than `MAX_HEADER_LINE`."""

    def __init__(self, why: str = "a header line is too long") -> None:
        super().__init__("431 Request Header Fields Too Large", why)


class HeadersTooLarge(RequestError):
    """The headers are more than `MAX_TOTAL_HEADER_SIZE` or `MAX_HEADER_COUNT`."""

    def __init__(self, why: str = "the headers are too large") -> None:
        super().__init__("431 Request Header Fields Too Large", why)


class ChunkReadError(ValueError):
    """The body of a request breaks the rules of the chunked coding."""


class ClientGoneError(ConnectionAbortedError):
    """The client ended the connection in the middle of the body."""


class ChunksCutShortError(ClientGoneError, ChunkReadError):
    """The client ended the connection in the middle of a chunked body.

    eventlet raises an `OSError` or a `ChunkReadError`, after where it was.
    """


def bad_request(why: str) -> RequestError:
    """A 400."""
    return RequestError("400 Bad Request", why)
