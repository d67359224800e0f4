"""A request and its answer as gunicorn's hooks and loggers know them.

Made only where there is a hook or a log that looks at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exchange import GunicornExchange


class _OfConnection:
    """What says whether the connection is kept."""

    _exchange: GunicornExchange

    @property
    def must_close(self) -> bool:
        """Whether the connection ends with this exchange."""
        return not self._exchange.keep_alive

    def force_close(self) -> None:
        """Have the connection end with this exchange."""
        self._exchange.keep_alive = False

    def should_close(self) -> bool:
        """Whether the connection ends with this exchange."""
        return not self._exchange.keep_alive


class Request(_OfConnection):
    """A request, with the attributes of `gunicorn.http.message.Request`.

    Args:
        exchange: The request and its answer.
    """

    trailers: tuple[Any, ...] = ()
    proxy_protocol_info: Any = None
    fragment = ""

    def __init__(self, exchange: GunicornExchange) -> None:
        environ = exchange.environ
        self._exchange = exchange
        self.cfg = exchange.server.cfg
        self.method: str = environ["REQUEST_METHOD"]
        self.uri: str = environ["RAW_URI"]
        self.path: str = environ["RAW_PATH_INFO"]
        self.query: str = environ["QUERY_STRING"]
        self.scheme: str = environ["wsgi.url_scheme"]
        self.version = (1, 1) if environ["SERVER_PROTOCOL"] == "HTTP/1.1" else (1, 0)
        self.body = exchange.body
        self.peer_addr = self.remote_addr = exchange.connection.address
        # A list of its own, since hooks change it.
        self.headers: list[tuple[str, str]] = [
            (name.upper(), value) for name, value in environ["headers_raw"]
        ]


class Response(_OfConnection):
    """An answer, with the attributes of `gunicorn.http.wsgi.Response`.

    Args:
        exchange: The request and its answer.
    """

    def __init__(self, exchange: GunicornExchange) -> None:
        self._exchange = exchange
        self.cfg = exchange.server.cfg
        self.sock = exchange.connection.sock

    @property
    def req(self) -> Request:
        """The request."""
        return self._exchange.req

    @property
    def status(self) -> str | None:
        """The status; None if there was none yet."""
        head = self._exchange.head
        return None if head is None else head.status

    @property
    def status_code(self) -> int | None:
        """The number of the status; None if there was none yet."""
        head = self._exchange.head
        return None if head is None else int(head.status[:3])

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers that the application gave."""
        return list(self._exchange.headers)

    @property
    def headers_sent(self) -> bool:
        """Whether the head was sent."""
        return self._exchange.head_sent

    @property
    def sent(self) -> int:
        """How many bytes of the body were sent."""
        return self._exchange.sent

    @property
    def response_length(self) -> int | None:
        """The length of the body, if the application said it."""
        head = self._exchange.head
        return None if head is None else head.length

    @property
    def chunked(self) -> bool:
        """Whether the body is sent in chunks."""
        return self._exchange.chunked


class EarlyHints:
    """``wsgi.early_hints``: sends a ``103 Early Hints`` before the answer.

    Args:
        exchange: The request and its answer; forgotten when it is over.
    """

    __slots__ = ("exchange",)

    def __init__(self, exchange: GunicornExchange | None) -> None:
        self.exchange = exchange

    def __call__(self, headers: Any) -> None:
        """Send headers, if the answer has not begun and the client knows of such hints.

        Args:
            headers: Names and values, texts or bytes.

        Raises:
            ValueError: A name or a value would end the header.
        """
        exchange = self.exchange
        if exchange is None or exchange.head_sent or not exchange.http11:
            return
        exchange.send_hints(
            [(_as_text(name), _as_text(value).strip(" \t")) for name, value in headers]
        )


def _as_text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
