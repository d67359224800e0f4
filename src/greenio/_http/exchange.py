"""One request and its answer, apart from the connection that they come through.

An `Exchange` calls the application and sends what it answers. Of the connection it
needs only ``send``, ``sock`` (for files) and what it says of itself; so it serves a green
thread per connection, requests that the loop reads, and a subclass of the protocol alike.

Rules:

* A body that the application gives as a list or tuple is sent with its length, and in
  one piece with the head. What it iterates is collected up to `MINIMUM_CHUNK_SIZE`
  bytes, as in eventlet; what it writes is sent at once.
* More than the announced Content-Length is never sent, and after less the connection
  ends: either would shift what follows.
* An error before the head is sent is answered by a 500 that says nothing of the inside;
  after it, the connection ends without the last chunk.
* The answer's `close` is called whatever happens, then the hooks that the application
  left in ``eventlet.posthooks``.
"""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from greenlet import GreenletExit, getcurrent, greenlet

from .._greenthread.local import local
from .._greenthread.timeout import Timeout
from ..convenience import StopServe
from . import settings
from .answer import AnswerHead
from .body import Input
from .errors import ChunkReadError, ClientGoneError, RequestError
from .logs import note_request, timer

_CLOSE = b"Connection: close\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class AlreadyHandled:
    """What an application returns that has answered by itself, on the socket."""

    def __iter__(self) -> Iterator[bytes]:
        """Nothing."""
        return iter(())

    def __repr__(self) -> str:
        return "greenio.wsgi.ALREADY_HANDLED"

    def __reduce__(self) -> str:
        # A copy of it is it.
        return "ALREADY_HANDLED"


ALREADY_HANDLED = AlreadyHandled()


# The greenlets whose applications have said that they have answered by themselves, by
# their ids. In a namespace of a `local` it would cost each request one of its own.
_saying: dict[int, weakref.ref[greenlet]] = {}


class _WSGILocal(local):
    @property
    def already_handled(self) -> bool:
        return id(getcurrent()) in _saying

    @already_handled.setter
    def already_handled(self, value: Any) -> None:
        me = getcurrent()
        key = id(me)
        if value:
            _saying[key] = weakref.ref(me, lambda _: _saying.pop(key, None))
        else:
            _saying.pop(key, None)


WSGI_LOCAL = _WSGILocal()


class FileWrapper:
    """``wsgi.file_wrapper``: a file as an answer, sent by the system where it can be.

    Args:
        filelike: The file.
        blksize: How much to read at a time where it cannot.
    """

    def __init__(self, filelike: Any, blksize: int = 65536) -> None:
        self.filelike = filelike
        self.blksize = blksize

    def __iter__(self) -> Iterator[bytes]:
        """What is in the file, block by block."""
        return iter(lambda: self.filelike.read(self.blksize), b"")

    def close(self) -> None:
        """Close the file."""
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()


class Connection(Protocol):
    """What an exchange needs of the connection."""

    sock: Any
    address: Any

    @property
    def send(self) -> Callable[[bytes], Any]:
        """The function that sends bytes."""

    def cut_short(self) -> None:
        """Do what is to be done about an answer that has broken off."""


class Exchange:
    """One request and its answer.

    Args:
        server: The server: settings, application, log.
        connection: Where the request came from.
        environ: Its environment.
        body: Its ``wsgi.input``.
        http11: Whether it is of HTTP/1.1.
        keep_alive: Whether another request may follow.
    """

    client_gone: bool = False
    chunked: bool = False
    # How much of the announced length is still to come; None if none was.
    left: int | None = None
    # Whether the application has answered by itself.
    handled: bool = False
    # For the log: the client's address and port if a protocol says them, and what was
    # asked, whatever the application makes of the environment.
    client: tuple[Any, Any] | None = None
    request_line: str | None = None
    forwarded: str | None = None

    def __init__(
        self,
        server: Any,
        connection: Connection,
        environ: dict[str, Any],
        body: Input,
        http11: bool,
        keep_alive: bool,
    ) -> None:
        self.server = server
        self.connection = connection
        self.environ = environ
        self.body = body
        self.http11 = http11
        self.keep_alive: bool = keep_alive
        self.is_head: Any = environ["REQUEST_METHOD"] == "HEAD"
        # Here and not in the class, whose attributes are found more slowly.
        self.head: AnswerHead | None = None
        self.head_sent: bool = False
        self.sent: int = 0

    # -- what the application calls ------------------------------------------------

    def start_response(
        self,
        status: str,
        response_headers: Iterable[tuple[str, str]],
        exc_info: Any = None,
    ) -> Callable[[bytes], None]:
        """Begin the answer: PEP 3333."""
        if exc_info:
            try:
                if self.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.head_sent:
            raise AssertionError(
                "start_response() was called before, and what it said has been sent; "
                "pass exc_info to call it again"
            )
        self.head = self.server.answer_heads.make(status, response_headers)
        return self.write

    def write(self, data: bytes) -> None:
        """Send a part of the body at once."""
        if type(data) is not bytes:
            data = _checked(data)
        if not self.head_sent:
            self._send_head(None, data)
        else:
            self._send_body(data)

    # -- sending -----------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        try:
            self.connection.send(data)
        except OSError:
            self._lost_client()
            raise

    def _lost_client(self) -> None:
        self.client_gone = True
        self.keep_alive = False

    def _head_bytes(self, length: int | None) -> bytes:
        """The head, framed for a body of a known length, or of an unknown one."""
        head = self.head
        if head is None:
            raise AssertionError(
                "the application answered without calling start_response()"
            )
        server = self.server
        if head.close or server.stopping or self.body.taken:
            self.keep_alive = False
        if head.length is not None:
            length = head.length
        if head.no_body:
            framing = self._framing_of_none(head)
        elif length is not None:
            framing = b"\r\nContent-Length: %d\r\n" % length
            self.left = length
        elif self.is_head:
            framing = b"\r\n"
        elif self.http11:
            framing = b"\r\nTransfer-Encoding: chunked\r\n"
            self.chunked = True
        else:
            framing = b"\r\n"
            self.keep_alive = False
        if head.upgrade is not None:
            self.keep_alive = False
            connection = f"Connection: {head.upgrade}\r\n".encode("latin-1")
        elif not self.keep_alive:
            connection = _CLOSE
        else:
            connection = self._kept()
        date = b"" if head.has_date else server.clock.header
        self.head_sent = True
        lines = head.lines
        if not server.speaks_11:
            lines = b"HTTP/1.0" + lines[8:]
        return b"".join((lines, framing, date, connection, b"\r\n"))

    def _framing_of_none(self, head: AnswerHead) -> bytes:
        """What frames an answer without a body."""
        if head.status[0] == "1":
            # What follows a 101 is not HTTP any more, and whatever is written.
            self.keep_alive = False
            return b"\r\n"
        self.left = 0
        # A 304 may say how long the body would be.
        if head.length is not None and head.status[0] == "3":
            return b"\r\nContent-Length: %d\r\n" % head.length
        return b"\r\n"

    def _kept(self) -> bytes:
        """What tells a client that its connection is kept, if it has asked for that."""
        asked = self.environ.get("HTTP_CONNECTION", "").lower() == "keep-alive"
        line: bytes = self.server.keep_alive_line
        return line if asked or not self.http11 else b""

    def _send_head(self, length: int | None, data: bytes) -> None:
        # A client that waits for 100 Continue and gets a final answer may still send
        # its body, or may not: nobody can tell, so it is the last request.
        body = self.body
        if body.wfile is not None and body.should_send_hundred_continue:
            self.keep_alive = False
            # It would come in the middle of this one.
            body.headers_sent = True
        head = self._head_bytes(length)
        if self.is_head or not data:
            self._send(head)
        elif self.chunked:
            self._send(b"%b%x\r\n%b\r\n" % (head, len(data), data))
            self.sent += len(data)
        else:
            self._send(head + self._within_length(data))

    def _within_length(self, data: bytes) -> bytes:
        left = self.left
        if left is not None:
            if len(data) > left:
                if not self._drops_body():
                    self.keep_alive = False
                self.server.log.error(
                    f"{self._what()} answered more than its Content-Length, "
                    "or with a body where there is none; the rest is not sent"
                )
                data = data[:left]
            self.left = left - len(data)
        self.sent += len(data)
        return data

    def _drops_body(self) -> bool:
        """Whether there is no body to an answer of this status, as to all of HEAD's."""
        head = self.head
        return head is not None and (head.no_body or head.status[:3] == "205")

    def _send_body(self, data: bytes) -> None:
        if self.is_head or not data:
            return
        if self.chunked:
            self._send(b"%x\r\n%b\r\n" % (len(data), data))
            self.sent += len(data)
        else:
            data = self._within_length(data)
            if data:
                self._send(data)

    def _what(self) -> str:
        environ = self.environ
        return f"{environ.get('REQUEST_METHOD')} {environ.get('PATH_INFO')!r}"

    # -- the whole -----------------------------------------------------------------------

    def run(self) -> bool:
        """Call the application and send its answer.

        Returns:
            Whether another request may follow on the connection.
        """
        server = self.server
        begun = 0.0
        if server.log_output:
            begun = timer()
            note_request(self)
        try:
            result = server.app(self.environ, self.start_response)
            if type(result) is list:
                self._answer_list(result)
            else:
                self._answer_any(result)
        except Exception as exc:
            self._failed(exc)
        except Timeout as exc:
            self._failed(exc)
        except GreenletExit:
            self.keep_alive = False
            raise
        finally:
            result = None
            # Whoever has kept `write` must not write into the next answer.
            self.chunked = False
            self.left = 0
            if server.log_output:
                server.log_exchange(self, timer() - begun)
            hooks = self.environ.get("eventlet.posthooks")
            if hooks:
                self._call_hooks(hooks)
            if server.errors.begun:
                server.errors.flush()
        if not self.keep_alive:
            return False
        body = self.body
        if body.content_length or body.chunked_input or body.taken:
            return body.can_be_followed()
        return True

    def _answer_any(self, result: Any) -> None:
        """Send an answer that may be anything, and close it."""
        try:
            self._answer(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _answer(self, result: Any) -> None:
        if self._was_handled(result):
            self.keep_alive = False
            return
        if type(result) is FileWrapper and self._send_file(result):
            pass
        elif isinstance(result, (list, tuple)):
            self._send_list(result)
        elif isinstance(result, str):
            self._send_list([result])
        elif hasattr(result, "__len__") and not self._says_length():
            # All of it is there, so that the length can be said.
            self._send_list(result)
        else:
            self._iterate(result)
        if self.handled:
            self.keep_alive = False
        elif self.chunked:
            self._send(_LAST_CHUNK)
        elif self.left and not self.is_head:
            self._too_short()

    def _says_length(self) -> bool:
        """Whether the application has said how long its answer is."""
        return self.head is not None and self.head.length is not None

    def _answer_list(self, result: list[bytes]) -> None:
        """Send an answer that is a list."""
        head = self.head
        if (
            head is None
            or len(result) != 1
            or type(result[0]) is not bytes
            or self.head_sent
            or _saying
        ):
            self._answer(result)
            return
        data = result[0]
        if (
            head.is_plain
            and self.keep_alive
            and self.http11
            and not self.is_head
            and self.body.wfile is None
            and not self.body.taken
            and not self.server.stopping
        ):
            # What `_send_head` comes to, where nothing is special.
            self.head_sent = True
            self.sent = size = len(data)
            kept = self._kept() if "HTTP_CONNECTION" in self.environ else b""
            try:
                self.connection.send(
                    b"%b\r\nContent-Length: %d\r\n%b%b\r\n%b"
                    % (head.lines, size, self.server.clock.header, kept, data)
                )
            except OSError:
                self._lost_client()
                raise
            return
        self._send_head(len(data), data)
        if self.left:
            self._too_short()

    def _was_handled(self, result: Any) -> bool:
        return (
            result is ALREADY_HANDLED
            or isinstance(result, AlreadyHandled)
            or self._said_handled()
            or (self.head is None and self.body.taken and not result)
        )

    @staticmethod
    def _said_handled() -> bool:
        """Whether the application has said so; that is forgotten then."""
        return bool(_saying) and _saying.pop(id(getcurrent()), None) is not None

    def _send_list(self, result: Any) -> None:
        data = b"".join([_encoded(part) for part in result])
        if self.head_sent:
            self._send_body(data)
        elif self.is_head and not data:
            # The application left the body out, and how long it would be.
            self._send_head(None, b"")
        else:
            self._send_head(len(data), data)

    def _iterate(self, result: Iterable[bytes]) -> None:
        pieces: list[bytes] = []
        size = 0
        least: int | None = None
        for piece in result:
            if type(piece) is not bytes:
                piece = _encoded(piece)
            if not piece:
                continue
            if least is None:
                least = self._least()
            pieces.append(piece)
            size += len(piece)
            if size >= least:
                self.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
                pieces.clear()
                size = 0
        if self._said_handled():
            # While it was iterated.
            self.handled = True
        elif pieces:
            self.write(b"".join(pieces))
        elif not self.head_sent:
            self._send_head(None if self.is_head else 0, b"")

    def _least(self) -> int:
        wanted = self.environ.get("eventlet.minimum_write_chunk_size")
        if wanted is None:
            wanted = self.server.minimum_chunk_size
        return settings.MINIMUM_CHUNK_SIZE if wanted is None else int(wanted)

    def _send_file(self, result: FileWrapper) -> bool:
        """Send a file by the system's own means; False if that cannot be."""
        file = result.filelike
        sendfile = getattr(self.connection.sock, "sendfile", None)
        if self.head_sent or sendfile is None or self.head is None:
            return False
        try:
            offset = file.tell()
            size = file.seek(0, 2) - offset
            file.seek(offset)
            file.fileno()
        except (AttributeError, OSError, ValueError):
            return False
        if self.head.length is not None:
            size = min(size, self.head.length)
        self._send_head(size, b"")
        if self.is_head or self.left == 0 or size <= 0:
            return True
        try:
            sent = sendfile(file, offset, size)
        except OSError:
            self._lost_client()
            raise
        self.sent += sent
        assert self.left is not None
        self.left -= sent
        return True

    def _too_short(self) -> None:
        if self.is_head:
            return
        self.keep_alive = False
        self.server.log.error(
            f"{self._what()} answered {self.left} bytes less than its Content-Length; "
            "the connection is closed"
        )

    # -- when it goes wrong ----------------------------------------------------------------

    def _failed(self, exc: BaseException) -> None:
        server = self.server
        self.keep_alive = False
        # It has not, after all; the next one on this green thread may.
        self._said_handled()
        if isinstance(exc, StopServe):
            server.stop(f"{self._what()} raised StopServe")
            if not self.head_sent:
                self._send_error("503 Service Unavailable", "")
            return
        if self.client_gone or isinstance(exc, ClientGoneError):
            server.log.debug(f"{self._what()}: the client has gone ({exc!r})")
            return
        text = "".join(traceback.format_exception(exc))
        self._log_failure(exc, text)
        if self.head_sent:
            self.connection.cut_short()
            return
        if isinstance(exc, ChunkReadError):
            self._send_error("400 Bad Request", "")
        else:
            self._send_error(
                "500 Internal Server Error", text if server.shows_tracebacks else ""
            )

    def _log_failure(self, exc: BaseException, text: str) -> None:
        self.server.log.error(text)

    def _send_error(self, status: str, text: str) -> None:
        kind, body = self.server.error_page(RequestError(status), text)
        self.head = AnswerHead(status, [("Content-Type", kind)], capitalize=True)
        try:
            self._send_head(len(body), body)
        except OSError:
            pass

    def _call_hooks(self, hooks: Any) -> None:
        for hook, args, kwargs in hooks:
            try:
                hook(self.environ, *args, **kwargs)
            except Exception:
                self.server.log.error(
                    f"a hook of {self._what()} failed:\n{traceback.format_exc()}"
                )

    # -- for the log ----------------------------------------------------------------------

    @property
    def status_code(self) -> str:
        """The status that was sent; ``"-"`` if the application answered by itself."""
        return "-" if self.head is None else self.head.status[:3]


def _checked(piece: Any) -> bytes:
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise TypeError(
        f"an application's answer is made of bytes, not {type(piece).__name__}: encode it"
    )


def _encoded(piece: Any) -> bytes:
    """A part of what an application returns; eventlet takes text there, in ASCII."""
    return piece.encode("ascii") if isinstance(piece, str) else _checked(piece)
