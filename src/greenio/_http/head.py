r"""Heads of requests: bytes in, WSGI environment out, nothing read or written.

llhttp (by httptools) reads them, in one go, when a head is there whole; that it is
shows the first empty line, since llhttp takes no bare LF for the end of a line. Bodies
never reach it: what follows the empty line is a matter of `body`, so a second request in
the same bytes is seen when it is its turn, and not if the first one ended the connection.

One parser serves all connections of a server, since parsing never waits. After a head
that announces a body, an upgrade, or an error, it is another one.

What llhttp refuses: obs-fold, bare CR and LF, control characters, spaces before the
colon, names that are no tokens, Content-Length that differs, repeats, is no number, or
comes with Transfer-Encoding. What it leaves to `HeadParser`: the exact form of the
request line, versions other than 1.0 and 1.1, Host missing, repeated or none that there
can be, Transfer-Encoding on 1.0 or other than exactly ``chunked``, white space after a
value, and all limits. Empty lines in front are dropped before it sees anything: one, as
RFC 9112 (2.2) wants it.

Bytes above ASCII in a target are shown to it quoted, since it takes none.

llhttp knows methods by name. Any other token is shown to it as ``GET``, and is what the
application gets: Swift has methods of its own.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from . import settings
from .errors import HeaderLineTooLong, HeadersTooLarge, RequestError, bad_request

try:
    from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
except ImportError as exc:  # pragma: no cover - tested in an interpreter without it
    raise ImportError(
        "greenio.wsgi needs httptools to read requests: "
        'pip install "greenio-asyncio[server]"'
    ) from exc

Environ = dict[str, Any]
Headers = list[tuple[str, str]]

_END = b"\r\n\r\n"
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32} ")
# Those that llhttp treats like any other. CONNECT is not among them.
PLAIN_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE OPTIONS TRACE PATCH PROPFIND PROPPATCH MKCOL COPY MOVE "
    b"LOCK UNLOCK SEARCH REPORT MKCALENDAR PURGE LINK UNLINK".split()
)
_CONNECTION_TOKENS = re.compile(r"[^\s,]+")
_OTHER_VERSION = re.compile(rb" HTTP/(?!1\.[01])\d\.\d\r\n\Z")
# A host and a port as RFC 3986 (3.2) has them: a name, an address, or nothing.
_HOST = re.compile(
    r"(?:[\w\-.~!$&'()*+,;=%]*|\[[\w\-.~!$&'()*+,;=%:]+\])(?::[0-9]*)?", re.ASCII
)
_ABOVE_ASCII = re.compile(rb"[\x80-\xff]")
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:", re.IGNORECASE)
_LINE_11 = b" HTTP/1.1\r\n"
_LINE_10 = b" HTTP/1.0\r\n"

# Header names as they came: the key of the environment, None for those that are dropped,
# and the name as text. Clients use few of them; who invents more gets no entry.
_names: dict[bytes, tuple[str | None, str]] = {}
_MOST_NAMES = 1024
_UNPREFIXED = {"CONTENT_TYPE", "CONTENT_LENGTH"}


def _learn(name: bytes) -> tuple[str | None, str]:
    text = name.decode("latin-1")
    # With an underscore it would pass for the header that has a hyphen there, which a
    # proxy in front may have removed or set.
    key: str | None = None
    if "_" not in text:
        key = text.upper().replace("-", "_")
        if key not in _UNPREFIXED:
            key = "HTTP_" + key
    entry = (key, text)
    if len(_names) < _MOST_NAMES:
        _names[name] = entry
    return entry


class HeadParser:
    """Parses heads, one after the other.

    After `parse`, its attributes tell of the request what the environment does not.

    Attributes:
        method: The method, as text.
        http11: Whether the request is of HTTP/1.1.
        keep_alive: Whether the client wants to keep the connection.
        length: The length of the body; -1 if it is chunked.
        expects: Whether the client waits for ``100 Continue``.
        target: The request's target, as it came.
        dropped: Whether headers with underscores were left out of the environment.
    """

    def __init__(self) -> None:
        self.method: str = "GET"
        self.http11: bool = True
        self.keep_alive: bool = True
        self.length: int = 0
        self.expects: bool = False
        self.target: bytes = b""
        self.dropped: bool = False
        self._environ: Environ = {}
        self._raw: Headers = []
        self._complete = False
        self._parser = HttpRequestParser(self)

    # -- called by llhttp ----------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        """Take the request target, or a part of it."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        try:
            key, name_text = _names[name]
        except KeyError:
            key, name_text = _learn(name)
        # White space behind it is not of the value (RFC 9112, 5.1).
        text = value.decode("latin-1").rstrip(" \t")
        self._raw.append((name_text, text))
        environ = self._environ
        if key is None:
            self.dropped = True
            return
        if key in environ:
            if key == "CONTENT_TYPE":
                # It has one value, and the first is everybody's.
                return
            # Two lengths, or two codings, llhttp has refused, and two hosts come out
            # as one that is none.
            separator = "; " if key == "HTTP_COOKIE" else ","
            text = f"{environ[key]}{separator}{text}"
        environ[key] = text

    def on_headers_complete(self) -> None:
        """Note that llhttp, too, takes this for the end."""
        self._complete = True

    # -- called by connections -------------------------------------------------------

    def parse(self, head: bytes, environ: Environ, url_limit: int) -> None:
        """Parse a head and put it into an environment.

        Args:
            head: All of it, with the empty line.
            environ: Where to put what it says; nothing in it may begin with ``HTTP_``.
            url_limit: How long the request line may be.

        Raises:
            RequestError: It is refused.
        """
        line_end = head.find(b"\r\n")
        if line_end > url_limit:
            raise RequestError("414 URI Too Long")
        if len(head) - line_end > settings.MAX_HEADER_LINE:
            self._check_lines(head, line_end)
        self._environ = environ
        raw: Headers = []
        self._raw = raw
        self.target = b""
        self.dropped = False
        self._complete = False
        method = head[: head.find(b" ")]
        fresh = False
        try:
            if method in PLAIN_METHODS:
                self._parser.feed_data(head)
            else:
                fresh = True
                self._feed_other(method, head)
        except HttpParserUpgrade:
            fresh = True
        except HttpParserError as exc:
            self._parser = HttpRequestParser(self)
            line = head[: line_end + 2]
            if line.isascii() or _OTHER_VERSION.search(line):
                raise self._refusal(head, exc) from None
            # It cannot be ASCII the second time.
            self.parse(with_quoted_target(head, line_end), environ, 3 * url_limit)
            self._give_raw_target(line, environ)
            return
        if not self._complete:
            self._parser = HttpRequestParser(self)
            raise bad_request("the head does not end where it seems to")
        url = self.target
        start = len(method) + 1 + len(url)
        version = head[start : start + 11]
        self.http11 = http11 = version == _LINE_11
        if not http11 and version != _LINE_10:
            self._parser = HttpRequestParser(self)
            raise self._wrong_line(version)
        self.method = environ["REQUEST_METHOD"] = method.decode("ascii")
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if http11 else "HTTP/1.0"
        environ["headers_raw"] = tuple(raw)
        self.length = 0
        if (
            fresh
            or not http11
            or "CONTENT_LENGTH" in environ
            or "HTTP_CONNECTION" in environ
            or "HTTP_TRANSFER_ENCODING" in environ
        ):
            # It waits for a body, or for no other head.
            self._parser = HttpRequestParser(self)
            self._measure_body(environ, http11)
        if len(raw) > 1 or (raw and "HTTP_CONNECTION" in environ):
            self._look_closer(environ, http11, raw)
        else:
            self.keep_alive = http11
            self.expects = False
        if http11 or "HTTP_HOST" in environ:
            check_host(environ.get("HTTP_HOST"))
        self._split_url(url, environ)

    @staticmethod
    def _give_raw_target(line: bytes, environ: Environ) -> None:
        """Let the environment say what came."""
        path, _, query = line.split(b" ")[1].partition(b"?")
        environ["RAW_PATH_INFO"] = path.decode("latin-1")
        environ["QUERY_STRING"] = query.decode("latin-1")

    def _feed_other(self, method: bytes, head: bytes) -> None:
        if method == b"CONNECT":
            self._parser.feed_data(head)
            return
        if _METHOD.match(head) is None:
            raise bad_request("the method is no token")
        self._parser.feed_data(b"GET" + head[len(method) :])

    @staticmethod
    def _refusal(head: bytes, error: HttpParserError) -> RequestError:
        """What llhttp's refusal of a head means."""
        if _OTHER_VERSION.search(head[: head.find(b"\r\n") + 2]):
            return RequestError("505 HTTP Version Not Supported")
        return _meaning(head, error)

    @staticmethod
    def _wrong_line(version: bytes) -> RequestError:
        if re.fullmatch(rb" HTTP/\d\.\d\r\n", version):
            return RequestError("505 HTTP Version Not Supported")
        return bad_request("the request line is not exactly of three parts")

    @staticmethod
    def _check_lines(head: bytes, line_end: int) -> None:
        if len(head) > settings.MAX_TOTAL_HEADER_SIZE:
            raise HeadersTooLarge
        longest = settings.MAX_HEADER_LINE
        for line in head[line_end + 2 : -4].split(b"\r\n"):
            if len(line) > longest:
                raise HeaderLineTooLong

    def _measure_body(self, environ: Environ, http11: bool) -> None:
        coding = environ.get("HTTP_TRANSFER_ENCODING")
        length = environ.get("CONTENT_LENGTH")
        if coding is not None:
            if length is not None:
                raise bad_request("Content-Length with Transfer-Encoding")
            if not http11:
                raise bad_request("Transfer-Encoding in HTTP/1.0")
            if coding.lower() != "chunked":
                raise RequestError("501 Not Implemented", "Transfer-Encoding")
            self.length = -1
        elif length is not None:
            if not (length.isascii() and length.isdigit() and len(length) <= 19):
                raise bad_request("Content-Length is no number")
            self.length = int(length)

    def _look_closer(self, environ: Environ, http11: bool, raw: Headers) -> None:
        """See to what only few requests have."""
        if len(raw) > settings.MAX_HEADER_COUNT:
            raise HeadersTooLarge("there are too many headers")
        connection = environ.get("HTTP_CONNECTION")
        if connection is None:
            self.keep_alive = http11
        else:
            tokens = _CONNECTION_TOKENS.findall(connection.lower())
            self.keep_alive = "close" not in tokens and (
                http11 or "keep-alive" in tokens
            )
        hosts = 0
        for name, _ in raw:
            if len(name) == 4 and name.lower() == "host":
                hosts += 1
        if hosts > 1:
            raise bad_request("there are several Hosts")
        expect = environ.get("HTTP_EXPECT")
        self.expects = False
        if expect is not None and http11:
            if expect.lower() != "100-continue":
                raise RequestError("417 Expectation Failed")
            self.expects = self.length != 0

    def _split_url(self, url: bytes, environ: Environ) -> None:
        if url[:1] != b"/" and b"://" in url and self.method != "CONNECT":
            # The absolute form counts for more than the Host (RFC 9112, 3.2.2).
            environ["HTTP_HOST"], url = split_absolute(url)
        elif url.startswith(b"//"):
            # A redirection to such a path would lead to another host. `http.server`
            # does the same.
            url = b"/" + url.lstrip(b"/")
        path, _, query = url.partition(b"?")
        text = path.decode("latin-1")
        environ["RAW_PATH_INFO"] = text
        if b"%" in path:
            text = unquote_to_bytes(path).decode("latin-1")
        environ["PATH_INFO"] = text
        environ["QUERY_STRING"] = query.decode("latin-1")


def _meaning(head: bytes, error: HttpParserError) -> RequestError:
    """What llhttp's refusal of a head, or of a part of one, means."""
    what = str(error)
    if "Transfer-Encoding" in what and _LENGTH.search(head) is None:
        line = head[: head.find(b"\r\n") + 2]
        if line.endswith(_LINE_11):
            return RequestError("501 Not Implemented", "Transfer-Encoding")
    return bad_request(what)


class HeadProbe:
    """Reads a head that comes in pieces, to refuse it before it is whole.

    Raises nothing that `HeadParser.parse` would not: it only does so earlier. A client
    that ends its lines with LF would otherwise wait until its time is up.
    """

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)
        self._known_method = False
        self._line_there = False

    def feed(self, piece: bytes, data: bytes, url_limit: int) -> None:
        """Look at what has come.

        Args:
            piece: What is new.
            data: All of the head so far, with the piece.
            url_limit: How long the request line may be.

        Raises:
            RequestError: This cannot become a request any more.
        """
        if not self._line_there:
            if b"\n" not in data:
                if len(data) > url_limit:
                    raise RequestError("414 URI Too Long")
                return
            self._line_there = True
            piece = self._with_plain_line(data, url_limit)
        if len(data) > settings.MAX_TOTAL_HEADER_SIZE:
            raise HeadersTooLarge
        if self._known_method:
            return
        try:
            self._parser.feed_data(piece)
        except HttpParserUpgrade:
            pass
        except HttpParserError as exc:
            raise _meaning(data, exc) from None

    def _with_plain_line(self, data: bytes, url_limit: int) -> bytes:
        """Return what llhttp is to see instead of data with a first line like this."""
        if data.find(b"\n") - 1 > url_limit:
            raise RequestError("414 URI Too Long")
        space = data.find(b" ")
        if data[:space] not in PLAIN_METHODS:
            if _METHOD.match(data) is None:
                raise bad_request("the method is no token")
            self._known_method = data[:space] == b"CONNECT"
            data = b"GET" + data[space:]
        line_end = data.find(b"\n")
        if not data[:line_end].isascii():
            data = with_quoted_target(data, line_end)
        return data


def with_quoted_target(head: bytes, line_end: int) -> bytes:
    """A head whose target has bytes above ASCII, with those quoted: ``%C3``.

    No target may have them, but browsers and curl send them as they were typed, and they
    mean the same.

    Args:
        head: The head, or a part of it.
        line_end: Where its first line ends.

    Raises:
        RequestError: There are such bytes elsewhere in the line.
    """
    method, *targets, version = head[:line_end].split(b" ")
    if (
        len(targets) != 1
        or targets[0][:1] != b"/"
        or not (method.isascii() and version.isascii())
    ):
        raise bad_request("the request line holds what it cannot hold")
    target = _ABOVE_ASCII.sub(lambda match: b"%%%02X" % match[0][0], targets[0])
    return b" ".join((method, target, version)) + head[line_end:]


def check_host(host: str | None) -> None:
    """Refuse what cannot be a host, and that there is none (RFC 9112, 3.2).

    Raises:
        RequestError: It is none.
    """
    if host is None:
        raise bad_request("there is no Host")
    if _HOST.fullmatch(host) is None:
        raise bad_request("the Host is no host and port")


def split_absolute(url: bytes) -> tuple[str, bytes]:
    """The host that a target in absolute form names, and the rest as a path and query.

    Raises:
        RequestError: It names none.
    """
    authority, slash, rest = url.partition(b"://")[2].partition(b"/")
    if b"?" in authority:
        authority, _, query = authority.partition(b"?")
        slash, rest = b"/?", query + slash + rest
    host = authority.rpartition(b"@")[2].decode("latin-1")
    if not host or host[0] == ":":
        raise bad_request("the target names no host")
    check_host(host)
    return host, (slash or b"/") + rest


def find_end(data: bytes, searched: int = 0) -> int:
    """Where a head ends.

    Args:
        data: What has come, beginning with the head.
        searched: How much of it has been searched before.

    Returns:
        The number of its bytes; 0 if it is not whole.
    """
    end = data.find(_END, searched - 3 if searched > 3 else 0)
    return end + 4 if end >= 0 else 0


def without_empty_line(data: bytes) -> bytes:
    """What has come, without the empty line that some clients send after a body.

    Raises:
        RequestError: There is something else in front of the request line.
    """
    if data.startswith(b"\r\n"):
        data = data[2:]
    if data[:1] in (b"\r", b"\n", b" ") and data != b"\r":
        raise bad_request("the request line is empty")
    return data
