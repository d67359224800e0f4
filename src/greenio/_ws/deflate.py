"""The extension permessage-deflate (RFC 7692).

A message is compressed as a whole; what a flush leaves at its end (`00 00 ff ff`) is not
sent. Both sides may keep their window from one message to the next, which is worth most
for many small messages, and costs memory as long as the connection lives: with 15 bits,
zlib takes 256 KiB to compress and 32 KiB to inflate. So 12 bits are asked for, and
zlib's tables kept small: 18 and 4 KiB.

A bomb is not inflated further than one byte more than the limit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .errors import ProtocolError

NAME: Final = "permessage-deflate"
_TAIL: Final = b"\x00\x00\xff\xff"
_BITS: Final = 12
_MEMORY_LEVEL: Final = 5
# zlib's largest window.
_MOST: Final = 32768
# A last block ends a stream, and each new one costs more than the bytes of an empty one.
_MOST_STREAMS: Final = 16
# Shorter messages are sent as they are.
SMALLEST: Final = 64

_FLAGS: Final = frozenset({"server_no_context_takeover", "client_no_context_takeover"})
_BIT_COUNTS: Final = frozenset({"server_max_window_bits", "client_max_window_bits"})

Parameters = dict[str, Any]


def parse_offers(header: str) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """Return what ``Sec-WebSocket-Extensions`` offers: names with their parameters."""
    for offer in header.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        pairs: list[tuple[str, str | None]] = []
        for parameter in parameters:
            key, equals, value = (part.strip() for part in parameter.partition("="))
            pairs.append((key, value.strip('"') if equals else None))
        yield name, pairs


def accept(header: str) -> Parameters | None:
    """Choose among a client's offers.

    Returns:
        What was agreed to, or None if none can be accepted.
    """
    for name, pairs in parse_offers(header):
        if name == NAME:
            agreed = _agreed(pairs)
            if agreed is not None:
                return agreed
    return None


def _agreed(pairs: list[tuple[str, str | None]]) -> Parameters | None:
    offered: Parameters = {}
    for key, value in pairs:
        if key in offered:
            return None
        if key in _FLAGS:
            if value is not None:
                return None
            offered[key] = True
        elif key in _BIT_COUNTS:
            if value is None:
                if key != "client_max_window_bits":
                    return None
                offered[key] = True
                continue
            if value not in {"8", "9", "10", "11", "12", "13", "14", "15"}:
                return None
            offered[key] = int(value)
        else:
            return None
    if offered.get("server_max_window_bits") == 8:
        # zlib has no such window.
        return None
    agreed: Parameters = {key: True for key in offered if key in _FLAGS}
    agreed["server_max_window_bits"] = min(
        _BITS, offered.get("server_max_window_bits", 15)
    )
    bits = offered.get("client_max_window_bits")
    if bits is not None:
        agreed["client_max_window_bits"] = _BITS if bits is True else min(_BITS, bits)
    return agreed


def header_value(agreed: Mapping[str, Any]) -> str:
    """Return what the answer says was agreed to."""
    parts = [NAME]
    for key, value in agreed.items():
        if value is True:
            parts.append(key)
        elif value is not False:
            parts.append(f"{key}={value}")
    return "; ".join(parts)


class Deflate:
    """Compresses one side's messages and inflates the other's.

    Args:
        agreed: What was agreed to.
        client: Whether this is the client's side.
    """

    def __init__(self, agreed: Mapping[str, Any], client: bool = False) -> None:
        mine, theirs = ("client", "server") if client else ("server", "client")
        self._my_bits = _bits(agreed, mine)
        self._their_bits = _bits(agreed, theirs)
        self._keep_mine = not agreed.get(f"{mine}_no_context_takeover")
        self._keep_theirs = not agreed.get(f"{theirs}_no_context_takeover")
        self._compressor: Any = None
        self._inflater: Any = None
        # What a new inflater knows of what came before.
        self._window = b""
        # How many streams the message that is arriving has ended.
        self._streams = 0

    def compress(self, payload: Any) -> bytes:
        """Compress a message."""
        compressor = self._compressor
        if compressor is None:
            compressor = zlib.compressobj(wbits=-self._my_bits, memLevel=_MEMORY_LEVEL)
            if self._keep_mine:
                self._compressor = compressor
        data: bytes = compressor.compress(payload)
        data += compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4]

    def inflate(
        self,
        payload: Any,
        limit: int,
        so_far: bytes | bytearray = b"",
        final: bool = True,
    ) -> bytes:
        """Inflate a message, or the next part of it.

        Args:
            payload: The message, or the part.
            limit: How long the whole message may become.
            so_far: What the parts before have become.
            final: Whether this is the last one.

        Raises:
            ProtocolError: It becomes longer, or is not compressed right.
        """
        if final:
            payload = bytes(payload) + _TAIL
        pieces = []
        room = limit - len(so_far) + 1
        while payload:
            inflater = self._inflater
            if inflater is None:
                # Between the last block of a stream, which a message may have in it,
                # and what the flush at its end leaves, there may be nothing.
                if self._window and payload == _TAIL:
                    break
                inflater = zlib.decompressobj(-self._their_bits, zdict=self._window)
                self._inflater = inflater
            try:
                data = inflater.decompress(payload, room)
            except zlib.error as error:
                raise ProtocolError(
                    f"the message cannot be inflated: {error}"
                ) from None
            pieces.append(data)
            room -= len(data)
            if room <= 0 or inflater.unconsumed_tail:
                raise ProtocolError(
                    f"the message inflates to more than the limit of {limit} bytes",
                    1009,
                )
            payload = b""
            if inflater.eof:
                payload = inflater.unused_data
                self._inflater = None
                self._streams += 1
                if self._streams > _MOST_STREAMS:
                    raise ProtocolError("the message is of too many streams")
                known = (self._window, bytes(so_far[-_MOST:]), *pieces)
                self._window = b"".join(known)[-_MOST:]
        if final:
            self._streams = 0
            if not self._keep_theirs:
                self._inflater = None
                self._window = b""
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _bits(agreed: Mapping[str, Any], side: str) -> int:
    bits = agreed.get(f"{side}_max_window_bits", 15)
    return 15 if bits is True or bits is None else int(bits)
