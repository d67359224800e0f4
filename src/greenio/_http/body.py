"""``wsgi.input``: the body of a request, read when the application asks for it.

The body ends where the request says, so ``read()`` without a size is safe
(``wsgi.input_terminated``). A body that ends before that raises: an application that
took the half of an upload for the whole would be wrong.

A client that sent ``Expect: 100-continue`` waits for the first read, which sends it.
Applications may add headers to that answer, and send several, each followed by a body
of its own (Swift commits in phases like that).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from . import settings
from .chunks import ChunkReader
from .errors import ClientGoneError

_BLOCK = 65536
_LONGEST_LINE = 1 << 60


class Input:
    """A file that reads the body of one request.

    Args:
        rfile: Where the bytes come from: a file with ``read`` and ``readline``.
        content_length: The length of the body; None or "" if it has none.
        sock: The connection's socket.
        wfile: Where ``100 Continue`` is to be written, if the client waits for it.
        wfile_line: Its status line.
        chunked_input: Whether the body is chunked.
    """

    wfile_line: bytes | None = None
    # How much has been read.
    position: int = 0
    hundred_continue_headers: list[tuple[Any, Any]] | None = None
    is_hundred_continue_response_sent: bool = False
    # Whether the answer has begun, after which there can be no ``100 Continue``.
    headers_sent = False
    # Whether where the body ends is not known any more.
    broken: bool = False
    _capitalize = True
    # A ChunkReader, made when it is needed.
    _chunks: Any = None

    def __init__(
        self,
        rfile: Any,
        content_length: Any,
        sock: Any,
        wfile: Any = None,
        wfile_line: bytes | None = None,
        chunked_input: bool = False,
    ) -> None:
        # What every request looks at is its own: attributes of the class are slow.
        self.rfile = rfile
        self._sock = sock
        self.wfile: Any = wfile
        self.chunked_input = chunked_input
        # Whether the application took the socket.
        self.taken: bool = False
        # Often a text from the environment.
        self.content_length: int | None = (
            content_length
            if content_length.__class__ is int or content_length is None
            else int(content_length)
            if content_length != ""
            else None
        )
        if wfile is not None:
            self.wfile_line = wfile_line

    # -- 100 Continue ----------------------------------------------------------------

    @property
    def should_send_hundred_continue(self) -> bool:
        """Whether the client still waits for ``100 Continue``."""
        return self.wfile is not None and not self.is_hundred_continue_response_sent

    def set_hundred_continue_response_headers(
        self,
        headers: Iterable[tuple[Any, Any]],
        capitalize_response_headers: bool = True,
    ) -> None:
        """Have the next ``100 Continue`` carry headers.

        Args:
            headers: Names and values.
            capitalize_response_headers: Whether names are written ``Like-This``.

        Raises:
            ValueError: A name or a value would end the header.
        """
        checked = []
        for name, value in headers:
            text = f"{_text(name)}: {_text(value)}"
            if any(char in text for char in "\r\n\0"):
                raise ValueError(f"a header cannot hold CR, LF or NUL: {text!r}")
            checked.append((name, value))
        self.hundred_continue_headers = checked
        self._capitalize = capitalize_response_headers

    def send_hundred_continue_response(self) -> None:
        """Send ``100 Continue``, after which the client sends a body.

        When the answer has begun, nothing is sent.

        Raises:
            RuntimeError: The client does not wait for it.
        """
        if self.wfile is None:
            raise RuntimeError(
                "the client has not asked for 100 Continue; "
                "should_send_hundred_continue tells"
            )
        if self.headers_sent:
            return
        lines = [(self.wfile_line or b"HTTP/1.1 100 Continue\r\n").rstrip(b"\r\n")]
        for name, value in self.hundred_continue_headers or ():
            text = _text(name)
            if self._capitalize:
                text = "-".join(part.capitalize() for part in text.split("-"))
            lines.append(f"{text}: {_text(value)}".encode("latin-1"))
        self.wfile.write(b"\r\n".join(lines) + b"\r\n\r\n")
        if hasattr(self.wfile, "flush"):
            self.wfile.flush()
        self.is_hundred_continue_response_sent = True
        self.hundred_continue_headers = None
        # What comes now is another body.
        self._chunks = None

    # -- reading -----------------------------------------------------------------------

    def _begin(self) -> None:
        if self.wfile is not None and not self.is_hundred_continue_response_sent:
            self.send_hundred_continue_response()

    def _left(self) -> int:
        return (self.content_length or 0) - self.position

    def _chunk_reader(self) -> ChunkReader:
        chunks: ChunkReader | None = self._chunks
        if chunks is None:
            chunks = self._chunks = ChunkReader(self.rfile)
        return chunks

    def _count(self, data: bytes, wanted: int | None) -> bytes:
        self.position += len(data)
        if wanted is not None and len(data) < wanted:
            self.broken = True
            raise ClientGoneError(
                f"the client ended after {self.position} of {self.content_length} bytes"
            )
        return data

    def read(self, length: int | None = None) -> bytes:
        """Read up to so many bytes, or all there are.

        Raises:
            ChunkReadError: The body is not what it should be.
            ConnectionError: The client has gone.
            TimeoutError: The client sends nothing any more.
        """
        self._begin()
        if self.chunked_input:
            if length is None or length < 0:
                return b"".join(iter(lambda: self._read_chunks(_BLOCK), b""))
            return self._read_chunks(length)
        left = self._left()
        if length is None or length < 0 or length > left:
            length = left
        if length <= 0:
            return b""
        return self._count(self.rfile.read(length), length)

    def _read_chunks(self, length: int) -> bytes:
        data = self._chunk_reader().read(length)
        self.position += len(data)
        return data

    def readline(self, size: int | None = None) -> bytes:
        """Read a line, or so many bytes of it."""
        self._begin()
        limit = _LONGEST_LINE if size is None or size < 0 else size
        if self.chunked_input:
            line = self._chunk_reader().read_line(limit)
            self.position += len(line)
            return line
        limit = min(limit, self._left())
        if limit <= 0:
            return b""
        line = self.rfile.readline(limit)
        whole = len(line) == limit or line.endswith(b"\n")
        return self._count(line, None if whole else limit)

    def readlines(self, hint: int | None = None) -> list[bytes]:
        """Read all lines, or as many as make up `hint` bytes."""
        lines = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint and 0 < hint <= total:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        """The lines of the body."""
        return iter(self.readline, b"")

    def close(self) -> None:
        """Nothing: the connection outlives the request."""

    # -- the end of the request ------------------------------------------------------

    def finished(self) -> bool:
        """Whether all of the body has been read."""
        if self.chunked_input:
            return self._chunks is not None and self._chunks.done
        return not self.content_length or self.position >= self.content_length

    def discard(self, buffer_size: int = 16384) -> None:
        """Read what is left, and forget it.

        Nothing is read from a client that waits to be told to send.
        """
        if self.should_send_hundred_continue:
            return
        while self.read(buffer_size):
            pass

    def can_be_followed(self) -> bool:
        """See to what is left, so that another request may follow.

        Returns:
            False if too much is left, the client still waits for ``100 Continue``, or
            the body is broken: the connection must end.
        """
        if self.broken or self.taken:
            return False
        if self.finished():
            return True
        if self.should_send_hundred_continue:
            return False
        most = settings.MAX_DISCARD
        if not self.chunked_input and self._left() > most:
            return False
        try:
            while most > 0:
                data = self.read(min(most, _BLOCK))
                if not data:
                    return True
                most -= len(data)
        except (OSError, ValueError):
            self.broken = True
            return False
        return self.finished()

    def get_socket(self) -> Any:
        """Take the connection's socket, to speak something else than HTTP on it.

        Bytes that have been read already come out of it first. The application returns
        `greenio.wsgi.ALREADY_HANDLED` (or sets ``WSGI_LOCAL.already_handled``), and the
        connection is closed then.
        """
        take = getattr(self.rfile, "take_socket", None)
        self.taken = True
        return self._sock if take is None else take()

    def set_idle(self) -> None:
        """Let the server end a connection that was taken, when it stops.

        Whoever reads from it finds the end then, and `server_stops` says why. Before
        that, the server would wait for the request to end by itself.
        """
        set_idle = getattr(self.rfile, "set_idle", None)
        if set_idle is not None:
            set_idle()

    def server_stops(self) -> bool:
        """Whether the server is about to stop."""
        server = getattr(self.rfile, "server", None)
        return getattr(server, "stopping", False) is True


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
