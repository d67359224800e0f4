"""`HttpProtocol`: one connection, as eventlet's programs subclass it.

A class that changes nothing of how requests are read gets them read by llhttp
(`connection`). One that overrides a method of parsing or answering gets the *classic*
path: `http.server`'s cycle of `handle_one_request`, `parse_request`, `get_environ` and
`handle_one_response` over `rfile` and `wfile`, with each step where eventlet has it. The
same is refused there, by `_check_request`, and the answer is an `Exchange` like any
other. A subclass may loosen the rules on purpose: ``reject_bad_requests = False``.

Where a class leaves the course of a connection as it is (`read_by_loop`), its green thread
does not outlast the requests: `handle` returns between them, and is called again.
"""

from __future__ import annotations

import http.client
import re
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote_to_bytes

from . import settings
from .body import Input
from .connection import HEAD, IDLE, RUNNING, Channel, GreenConnection
from .errors import HeaderLineTooLong, HeadersTooLarge, RequestError, bad_request
from .exchange import Exchange
from .files import ReadingFile, WritingFile
from .head import check_host, split_absolute

# What a subclass may set without changing how requests are read.
_HARMLESS = frozenset(
    {
        "__annotations__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__init__",
        "__module__",
        "__qualname__",
        "__static_attributes__",
        "__weakref__",
        "capitalize_response_headers",
        "log_date_time_string",
        "log_error",
        "log_message",
        "log_request",
        "minimum_chunk_size",
        "protocol_version",
        "server_version",
        "sys_version",
        "wbufsize",
    }
)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LENGTH = re.compile(r"[0-9]{1,19}")
_LINE = re.compile(
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e\x80-\xff]+ HTTP/\d\.\d\r\n"
)
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


class FileObjectForHeaders:
    """Reads header lines, and refuses too long ones and too many bytes of them.

    Args:
        fp: The file to read from.
    """

    def __init__(self, fp: Any) -> None:
        self.fp = fp
        self.total_header_size: int = 0
        # What is wrong with the lines, if something is.
        self.fault: str | None = None

    def readline(self, size: int = -1) -> bytes:
        """Read a line.

        Raises:
            HeaderLineTooLong: It is longer than `MAX_HEADER_LINE`.
            HeadersTooLarge: All are more than `MAX_TOTAL_HEADER_SIZE`.
        """
        longest = settings.MAX_HEADER_LINE
        if size < 0 or size > longest:
            size = longest
        line: bytes = self.fp.readline(size)
        if len(line) == size and not line.endswith(b"\n"):
            raise HeaderLineTooLong
        self.total_header_size += len(line)
        if self.total_header_size > settings.MAX_TOTAL_HEADER_SIZE:
            raise HeadersTooLarge
        if self.fault is None:
            self.fault = _fault_of(line)
        return line


def _fault_of(line: bytes) -> str | None:
    """What is wrong with a header line."""
    if not line.endswith(b"\r\n"):
        return "a line does not end with CRLF"
    if line == b"\r\n":
        return None
    if line[:1] in (b" ", b"\t"):
        return "a header is folded"
    if _FORBIDDEN.search(line, 0, len(line) - 2):
        return "a header holds a control character"
    name, colon, _ = line.partition(b":")
    if not colon or _TOKEN.fullmatch(name.decode("latin-1")) is None:
        return "a header's name is no token"
    return None


class HttpProtocol(BaseHTTPRequestHandler):
    """Serves one connection.

    Args:
        conn_state: ``[address, socket, state]``.
        server: The `Server`.
    """

    protocol_version: str = "HTTP/1.1"
    minimum_chunk_size: int | None = settings.MINIMUM_CHUNK_SIZE
    capitalize_response_headers = True
    #: Whether what RFC 9112 calls an error is refused, on the classic path.
    reject_bad_requests = True
    wbufsize = 16384
    MessageClass: Any = http.client.HTTPMessage
    server: Any
    # Whether this class reads requests by itself.
    _is_classic = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._is_classic = any(
            name in _OVERRIDABLE
            for kind in cls.__mro__
            if kind not in _BASES
            for name in vars(kind)
        )

    def __init__(self, conn_state: list[Any], server: Any) -> None:
        self._prepare(conn_state, server)
        try:
            self.handle()
        finally:
            self.finish()

    # -- the connection ---------------------------------------------------------------

    def _prepare(self, conn_state: list[Any], server: Any) -> None:
        """Do what comes before the first request."""
        self.request: Any = conn_state[1]
        self.client_address: tuple[str, int] = conn_state[0]
        self.conn_state = conn_state
        self.server = server
        self.close_connection: bool = True
        least = getattr(server, "minimum_chunk_size", None)
        if least is not None:
            self.minimum_chunk_size = least
        self.channel: Channel = server.channel_of(conn_state)
        self.setup()

    def setup(self) -> None:
        """Make `rfile` and `wfile`."""
        self.connection: Any = self.request
        if self._is_classic:
            self.rfile: Any = ReadingFile(self.channel)
            self.wfile: Any = WritingFile(self.channel)
        else:
            self.rfile = self.wfile = self.channel

    def finish(self) -> None:
        """Nothing: `Server.process_request` closes the connection."""

    def handle(self) -> None:
        """Serve the connection until its end, or until the loop is to wait for more."""
        channel = self.channel
        if not self._is_classic:
            GreenConnection(channel, self.conn_state).run()
            return
        self.close_connection = True
        try:
            while True:
                self.handle_one_request()
                if self.conn_state[2] == settings.STATE_CLOSE:
                    self.close_connection = True
                else:
                    self.conn_state[2] = settings.STATE_IDLE
                if self.close_connection:
                    break
                self._forget_request()
                channel.since = channel.server.now
                if channel.buffer:
                    channel.phase = HEAD
                    continue
                channel.phase = IDLE
                if channel.rests and type(self.rfile) is ReadingFile:
                    return
        except OSError:
            return
        if not channel.taken and channel.phase == RUNNING:
            channel.linger()

    def _forget_request(self) -> None:
        """Drop most of what a request has taken: the next may be long in coming."""
        attributes = self.__dict__
        attributes.pop("environ", None)
        attributes.pop("headers", None)

    # -- one request --------------------------------------------------------------------

    def _read_request_line(self) -> bytes:
        if self.rfile.closed:
            self.close_connection = True
            return b""
        limit = self.server.url_length_limit
        line: bytes = self.rfile.readline(limit)
        if line == b"\r\n":
            # One empty line, as RFC 9112 (2.2) wants it.
            line = self.rfile.readline(limit)
        if len(line) >= limit and not line.endswith(b"\n"):
            self._refuse(RequestError("414 URI Too Long"))
            return b""
        return line

    def handle_one_request(self) -> None:
        """Read a request and answer it."""
        if self.server.max_http_version:
            self.protocol_version = self.server.max_http_version
        self.raw_requestline: bytes = self._read_request_line()
        if not self.raw_requestline:
            self.close_connection = True
            return
        channel = self.channel
        if self.conn_state[2] == settings.STATE_CLOSE:
            self.close_connection = True
            return
        self.conn_state[2] = settings.STATE_REQUEST
        try:
            good = self._read_head()
        except RequestError as error:
            self._refuse(error)
            return
        channel.phase = RUNNING
        channel.owed = 0.0
        if not good:
            self.close_connection = True
            return
        self.environ: dict[str, Any] = self.get_environ()
        self.application: Any = self.server.app
        self.handle_one_response()

    def _read_head(self) -> bool:
        """Read what follows the request line; False if it has been refused.

        Raises:
            RequestError: It is refused.
        """
        # `http.server` reads the headers from `rfile`.
        plain = self.rfile
        self.rfile = lines = FileObjectForHeaders(plain)
        try:
            if self.reject_bad_requests and not _LINE.fullmatch(self.raw_requestline):
                raise _wrong_line(self.raw_requestline)
            if not self.parse_request():
                return False
            if self.reject_bad_requests and lines.fault is not None:
                raise bad_request(lines.fault)
        finally:
            self.rfile = plain
        self._check_request()
        tokens = self.headers.get("connection", "").lower().replace(",", " ").split()
        if "close" in tokens:
            self.close_connection = True
        return True

    def _refuse(self, error: RequestError) -> None:
        self.channel.phase = RUNNING
        self.channel.refuse(error)
        self.close_connection = True

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """Answer what `http.server` refuses as all that is refused."""
        phrase = self.responses.get(code, ("Error", ""))[0]
        self._refuse(RequestError(f"{int(code)} {phrase}", message or ""))

    def handle_expect_100(self) -> bool:
        """Leave ``100 Continue`` to the body's first read."""
        return True

    def _check_request(self) -> None:
        """Refuse what means different things to different readers.

        Raises:
            RequestError: It does.
        """
        headers = self.headers
        if self.request_version not in ("HTTP/1.0", "HTTP/1.1"):
            raise RequestError("505 HTTP Version Not Supported")
        self._check_framing()
        if not self.reject_bad_requests:
            return
        hosts = headers.get_all("host") or []
        if len(hosts) > 1:
            raise bad_request("there are several Hosts")
        if hosts:
            check_host(hosts[0].strip(" \t"))
        elif self.request_version == "HTTP/1.1":
            raise bad_request("there is no Host")
        if _is_absolute(self.command, self.path):
            split_absolute(self.path.encode("latin-1", "replace"))
        elif self.path[:1] != "/" and self.path != "*" and self.command != "CONNECT":
            raise bad_request("the target is neither a path nor a URL")
        expect = headers.get("expect")
        if expect is None or self.request_version != "HTTP/1.1":
            return
        if expect.lower() != "100-continue":
            raise RequestError("417 Expectation Failed")

    def _check_framing(self) -> None:
        """Refuse a body that ends at different places to different readers."""
        lengths = self.headers.get_all("content-length") or []
        codings = self.headers.get_all("transfer-encoding") or []
        if codings:
            if lengths:
                raise bad_request("Content-Length with Transfer-Encoding")
            if self.request_version == "HTTP/1.0":
                raise bad_request("Transfer-Encoding in HTTP/1.0")
            if len(codings) > 1 or codings[0].strip(" \t").lower() != "chunked":
                raise RequestError("501 Not Implemented", "Transfer-Encoding")
        if len(lengths) > 1:
            raise bad_request("there are several Content-Lengths")
        if lengths and _LENGTH.fullmatch(lengths[0].strip(" \t")) is None:
            raise bad_request("Content-Length is no number")

    def handle_one_response(self) -> None:
        """Call the application and send its answer."""
        environ = self.environ
        exchange = Exchange(
            self.server,
            self.channel,
            environ,
            environ["eventlet.input"],
            self.request_version == "HTTP/1.1" and self.server.speaks_11,
            not self.close_connection and self.server.keeps_alive,
        )
        exchange.client = self.get_client_address()
        exchange.request_line = self.requestline
        self.close_connection = not exchange.run()

    # -- the environment ------------------------------------------------------------------

    def get_client_address(self) -> tuple[Any, Any]:
        """The client's address and port for the log, behind those that it came through."""
        host, port = addr_to_host_port(self.client_address)
        if self.server.log_x_forwarded_for:
            forwarded = self.headers.get("X-Forwarded-For", "").replace(" ", "")
            if forwarded:
                host = f"{forwarded},{host}"
        return host, port

    def formalize_key_naming(self, k: str) -> str | None:
        """What a header is called in the environment, without ``HTTP_``.

        Args:
            k: Its name.

        Returns:
            None if it is left out: with an underscore it would pass for another.
        """
        return None if "_" in k else k.replace("-", "_").upper()

    def get_environ(self) -> dict[str, Any]:
        """The WSGI environment of the request."""
        server = self.server
        environ: dict[str, Any] = server.environ_of_requests.copy()
        headers = self.headers
        environ["REQUEST_METHOD"] = self.command
        target = self.path.encode("latin-1", "replace")
        named: str | None = None
        if self.reject_bad_requests and _is_absolute(self.command, self.path):
            named, target = split_absolute(target)
        path, _, query = target.partition(b"?")
        environ["RAW_PATH_INFO"] = path.decode("latin-1")
        environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
        environ["QUERY_STRING"] = query.decode("latin-1")
        environ["SERVER_PROTOCOL"] = self.request_version
        host, port = addr_to_host_port(self.client_address)
        environ["REMOTE_ADDR"] = host
        environ["REMOTE_PORT"] = str(port)
        if server.is_wildcard:
            environ["SERVER_NAME"] = self.channel.local_name()
        length = headers.get("content-length")
        if length:
            environ["CONTENT_LENGTH"] = length = length.strip()
        kind = headers.get("content-type")
        if kind is None:
            default = getattr(headers, "get_default_type", None)
            kind = default() if default is not None else "text/plain"
        if kind is not None:
            environ["CONTENT_TYPE"] = kind
        # White space behind a value is not of it (RFC 9112, 5.1).
        raw = tuple((name, value.strip(" \t\r\n")) for name, value in headers.items())
        environ["headers_raw"] = raw
        for name, value in raw:
            known_as = self.formalize_key_naming(name)
            if not known_as or known_as in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                continue
            key = f"HTTP_{known_as}"
            if key in environ:
                separator = "; " if key == "HTTP_COOKIE" else ","
                value = f"{environ[key]}{separator}{value}"
            environ[key] = value
        if named is not None:
            # It counts for more than the Host (RFC 9112, 3.2.2).
            environ["HTTP_HOST"] = named
        for key, value in server.header_defaults.items():
            environ.setdefault(key, value)
        chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
        if length is None and not chunked:
            length = "0"
        waits = (
            environ.get("HTTP_EXPECT", "").lower() == "100-continue"
            and self.request_version == "HTTP/1.1"
        )
        environ["wsgi.input"] = environ["eventlet.input"] = Input(
            self.rfile,
            length,
            self.connection,
            self.wfile if waits else None,
            b"HTTP/1.1 100 Continue\r\n" if waits else None,
            chunked,
        )
        environ["eventlet.posthooks"] = []
        environ["eventlet.set_idle"] = self.channel.set_idle
        return environ

    # -- the log ----------------------------------------------------------------------------

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Write a message of `http.server`'s to the server's log."""
        self.server.log_message(format % args)


def read_by_loop(protocol: Any) -> bool:
    """Whether the loop may wait for the requests of a protocol's connections.

    It may, if nothing of the program's is to run from a connection's beginning to its end.
    """
    return type(protocol) is type and all(
        getattr(protocol, name, None) is getattr(HttpProtocol, name)
        for name in ("__new__", "__init__", "setup", "handle", "finish")
    )


def _is_absolute(method: str, target: str) -> bool:
    """Whether a request's target is a URL, and names the host."""
    return target[:1] != "/" and "://" in target and method != "CONNECT"


def _wrong_line(line: bytes) -> RequestError:
    if re.search(rb" HTTP/\d\.\d\r\n\Z", line) is None:
        return bad_request("the request line is not exactly of three parts")
    return bad_request("the request line holds what it cannot hold")


def addr_to_host_port(addr: Any) -> tuple[Any, Any]:
    """The host and the port of an address; ``("unix", "")`` of a Unix socket's."""
    if isinstance(addr, tuple) and len(addr) >= 2:
        return addr[0], addr[1]
    return "unix", ""


_BASES = HttpProtocol.__mro__
_OVERRIDABLE = frozenset(dir(HttpProtocol)) - _HARMLESS
