r"""The head of an answer: what the application gave, checked and framed.

The server alone decides how an answer is framed: it drops Transfer-Encoding and
hop-by-hop headers that an application set, since two opinions on where an answer ends
let a second one be smuggled in. A status or header with CR, LF or NUL raises in
`start_response`, where the application can see it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

# Swift's metadata has names in UTF-8, as latin-1 shows it.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z\x80-\xff]+")
_STATUS = re.compile(r"[1-9]\d\d(?: [^\r\n\0]*)?")
_FORBIDDEN = re.compile(r"[\r\n\0]")

# What a header means to the server.
PLAIN = 0
LENGTH = 1
CONNECTION = 2
DATE = 3
DROPPED = 4
_MEANINGS = {
    "content-length": LENGTH,
    "connection": CONNECTION,
    "date": DATE,
    "transfer-encoding": DROPPED,
    "keep-alive": DROPPED,
    "proxy-connection": DROPPED,
}
# Statuses whose answers have no body.
NO_BODY = frozenset({"204", "304"})

# Names as they are written, and what they mean, by how applications write them.
_as_given: dict[str, tuple[str, int]] = {}
_capitalized: dict[str, tuple[str, int]] = {}
_MOST_NAMES = 1024
# How many heads are kept, and how long they may be.
_MOST_HEADS = 512
_LONGEST_KEPT = 1024


def _learn(name: Any, known: dict[str, tuple[str, int]]) -> tuple[str, int]:
    if not isinstance(name, str):
        raise TypeError(f"a header's name must be a str, not {name!r}")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"this is no name for a header: {name!r}")
    text = name
    if known is _capitalized:
        # As bytes: others than ASCII may be parts of characters.
        parts = name.encode("latin-1").split(b"-")
        text = b"-".join(part.capitalize() for part in parts).decode("latin-1")
    entry = (f"\r\n{text}: ", _MEANINGS.get(name.lower(), PLAIN))
    if len(known) < _MOST_NAMES:
        known[name] = entry
    return entry


class AnswerHead:
    """A status and headers, ready to be sent but for what the server adds.

    Args:
        status: The status: ``"200 OK"``.
        headers: Names and values.
        capitalize: Whether names are written ``Like-This``.

    Attributes:
        lines: The lines, without the CRLF of the last.
        length: The length of the body, if the application said it.
        close: Whether the application wants the connection to end.
        upgrade: The value of Connection, if it is none of the server's own.
        has_date: Whether there is a Date.
        no_body: Whether there can be no body.

    Raises:
        TypeError: Something is no str.
        ValueError: Something has CR, LF or NUL in it, or is no status or length.
    """

    length: int | None = None
    close: bool = False
    upgrade: str | None = None
    has_date: bool = False
    # Whether all of these are as they stand here, and there can be a body.
    is_plain: bool = True

    def __init__(
        self, status: str, headers: Iterable[tuple[str, str]], capitalize: bool
    ) -> None:
        self.status: str = _checked_status(status)
        known = _capitalized if capitalize else _as_given
        parts = ["HTTP/1.1 ", status]
        values = status
        try:
            for name, value in headers:
                try:
                    prefix, meaning = known[name]
                except KeyError:
                    prefix, meaning = _learn(name, known)
                values += value
                if meaning and not self._understand(meaning, value):
                    continue
                parts += (prefix, value)
        except (TypeError, ValueError) as exc:
            texts = _as_texts(headers, exc)
            AnswerHead.__init__(self, status, texts, capitalize)
            return
        # CR, LF and NUL are not printable, and few headers hold anything that is not.
        if not values.isprintable() and _FORBIDDEN.search(values):
            raise ValueError(
                "a status or header cannot hold CR, LF or NUL: "
                f"{status!r}, {list(headers)!r}"
            )
        code = status[:3]
        if not (status[3:4] == " " and code.isdigit() and code.isascii()):
            if _STATUS.fullmatch(status) is None:
                raise ValueError(f"this is no status: {status!r}; write '200 OK'")
            parts[1] += " "
        self.no_body: bool = code in NO_BODY or code[0] == "1"
        if self.no_body:
            self.is_plain = False
        elif code == "205":
            # There is nothing to be seen, and that has to be said (RFC 9110, 15.3.6).
            self.length = 0
            self.is_plain = False
        try:
            self.lines: bytes = "".join(parts).encode("latin-1")
        except UnicodeEncodeError as exc:
            raise ValueError(
                f"headers hold characters up to \\xff only ({exc}); "
                "encode the value, as RFC 8187 does"
            ) from None

    def _understand(self, meaning: int, value: str) -> bool:
        """See what a header means; say whether it is sent as it is."""
        self.is_plain = False
        if meaning == LENGTH:
            if not (value.isascii() and value.isdigit()):
                raise ValueError(f"Content-Length is no number: {value!r}")
            length = int(value)
            if self.length is not None and self.length != length:
                raise ValueError("Content-Length is there twice, and differs")
            self.length = length
            return False
        if meaning == CONNECTION:
            tokens = value.lower().replace(",", " ").split()
            if "close" in tokens:
                self.close = True
            elif "upgrade" in tokens:
                self.upgrade = value
            return False
        if meaning == DATE:
            self.has_date = True
            return True
        return False


def final_head(
    status: str, headers: Iterable[tuple[str, str]], capitalize: bool
) -> AnswerHead:
    """Make the head of an answer, after which a client waits for no other.

    Raises:
        TypeError: As `AnswerHead`.
        ValueError: As `AnswerHead`, or the status is none of an answer, nor 101.
    """
    head = AnswerHead(status, headers, capitalize)
    if head.no_body and status[0] == "1" and status[:3] != "101":
        raise ValueError(f"an answer's status is a final one, not {status!r}")
    return head


class AnswerHeads:
    """Makes heads of answers, and keeps those that may come again.

    An application says the same thing most of the time. What was checked and written out
    once is found again by all that it was given, the text itself and not who wrote it.

    Args:
        capitalize: Whether names are written ``Like-This``.
    """

    __slots__ = ("_capitalize", "_known")

    def __init__(self, capitalize: bool) -> None:
        self._capitalize = capitalize
        self._known: dict[tuple[Any, ...], AnswerHead] = {}

    def make(self, status: str, headers: Iterable[tuple[str, str]]) -> AnswerHead:
        """Return the head with a status and headers.

        Raises:
            TypeError: Something is no str.
            ValueError: Something cannot be sent.
        """
        if type(headers) is not list:
            return final_head(status, headers, self._capitalize)
        key = (status, *headers)
        try:
            head = self._known.get(key)
        except TypeError:
            # A header that is a list, say.
            return final_head(status, headers, self._capitalize)
        if head is None:
            head = final_head(status, headers, self._capitalize)
            # Numbers may be equal and not the same text: 1 and True.
            if len(head.lines) <= _LONGEST_KEPT and all(
                type(value) is str for _, value in headers
            ):
                if len(self._known) >= _MOST_HEADS:
                    self._known.clear()
                self._known[key] = head
        return head


def keep_alive_line(keepalive: bool | float) -> bytes:
    """What an answer says of a connection that is kept: as eventlet, for how long too."""
    line = b"Connection: keep-alive\r\n"
    if isinstance(keepalive, bool) or not 1 <= keepalive < math.inf:
        return line
    return line + b"Keep-Alive: timeout=%d\r\n" % keepalive


def _checked_status(status: Any) -> str:
    if not isinstance(status, str):
        raise TypeError(f"a status must be a str, not {status!r}")
    return status


def _as_texts(headers: Any, exc: Exception) -> list[tuple[str, str]]:
    """Headers with values that are texts; eventlet takes numbers there, too.

    Raises:
        TypeError: Something else is wrong.
        ValueError: A header cannot be sent.
    """
    if not isinstance(headers, (list, tuple)):
        raise TypeError(f"headers must be a list of pairs, not {headers!r}") from None
    texts = []
    for pair in headers:
        try:
            name, value = pair
        except (TypeError, ValueError):
            raise TypeError(
                f"headers must be a list of pairs, not {headers!r}"
            ) from None
        if isinstance(value, (bytes, bytearray)):
            raise TypeError(
                f"the value of {name} must be a str, not {value!r}"
            ) from None
        texts.append((name, str(value)))
    if texts == list(headers):
        raise exc
    return texts
