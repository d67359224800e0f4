"""The head of a response: what an application gives to ``start_response``, checked."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from wsgiref.util import is_hop_by_hop

_STATUS = re.compile(r"([2-9][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_LENGTH = re.compile(rb"[0-9]+")
# Responses that end with their headers, as those to HEAD do.
_BODILESS = frozenset({204, 304})


class Head:
    """The head of a response.

    Attributes:
        status: The status code.
        headers: The headers as ASGI wants them.
        length: The Content-Length, if there is one.
        bodiless: Whether such a response has no body, whatever the request was.
    """

    __slots__ = ("bodiless", "headers", "length", "status")

    def __init__(
        self, status: int, headers: list[tuple[bytes, bytes]], length: int | None
    ) -> None:
        self.status = status
        self.headers = headers
        self.length = length
        self.bodiless = status in _BODILESS


def make_head(status: Any, headers: Any) -> Head:
    """Return the head made of the arguments of ``start_response``.

    Raises:
        TypeError: Something is not of the type that PEP 3333 asks for.
        ValueError: Something cannot be sent, or is not the application's to send.
    """
    if not isinstance(status, str):
        raise TypeError(
            f"start_response() takes a status such as '200 OK', not {status!r}"
        )
    code = _code(status)
    if not isinstance(headers, list):
        raise TypeError(
            "start_response() takes the headers as a list of (name, value) pairs, not "
            f"{headers!r}"
        )
    length: int | None = None
    encoded: list[tuple[bytes, bytes]] = []
    for header in headers:
        name, value = _encoded(header)
        if name == b"content-length":
            length = _length(value, length)
        encoded.append((name, value))
    return Head(code, encoded, length)


# There are few different ones, and each is used again and again.
@lru_cache(maxsize=128)
def _code(status: str) -> int:
    match = _STATUS.fullmatch(status)
    if match is None:
        raise ValueError(
            "start_response() takes a final status such as '200 OK' (three digits, a "
            f"space, a reason), not {status!r}"
        )
    return int(match[1])


@lru_cache(maxsize=512)
def _name(name: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a header")
    if is_hop_by_hop(name):
        raise ValueError(
            f"the header {name!r} is about the connection, which is the server's; an "
            "application must not send it (PEP 3333)"
        )
    return name.lower().encode("ascii")


def _encoded(header: Any) -> tuple[bytes, bytes]:
    try:
        name, value = header
        good = isinstance(name, str) and isinstance(value, str)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise TypeError(
            f"a header is a pair of strings, its name and its value, not {header!r}"
        )
    if not (value.isprintable() or _VALUE.fullmatch(value)):
        raise ValueError(
            f"the header {name!r} has control characters in its value {value!r}"
        )
    try:
        return _name(name), value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            f"the header {name!r} has characters in its value {value!r} that no byte "
            "stands for; encode them (percent-encoding, RFC 8187, ...)"
        ) from None


def _length(value: bytes, known: int | None) -> int:
    text = value.strip(b" \t")
    if not _LENGTH.fullmatch(text):
        raise ValueError(f"Content-Length is a number of bytes, not {value!r}")
    length = int(text)
    if known is not None and known != length:
        raise ValueError(f"two lengths were given, {known} and {length}")
    return length
