"""From bytes to messages: the rules of RFC 6455, without I/O.

`Reader.receive` takes what arrived, in whatever pieces, and returns what became whole:
messages (`str` or `bytes`) and control frames (`Ping`, `Pong`, `Close`). A breach of the
rules is kept in `error`, not raised, so that what came before it is delivered first;
after it nothing is read any more.

Checked as soon as a frame's header is there, before any of its payload is kept: reserved
bits, the opcode, the mask, the size. The limit is on the whole message, fragments added up,
before and after inflating. Text is checked as it comes, frame by frame, if it is not
compressed.

A frame that is not whole yet waits in one bytearray, not in a list of pieces: those
would take many times their size if a peer sends them byte by byte.
"""

from __future__ import annotations

import codecs
from typing import Any, Final, NamedTuple

from .deflate import Deflate
from .errors import ProtocolError
from .frames import (
    BINARY,
    CLOSE,
    CLOSE_CODES,
    PING,
    RSV1,
    TEXT,
    apply_mask,
    unpack_long,
    unpack_short,
)

NO_STATUS: Final = 1005
# Larger payloads are not copied before they are unmasked.
_WORTH_A_VIEW: Final = 4096

_new_decoder = codecs.getincrementaldecoder("utf-8")


class Ping(NamedTuple):
    """A ping, to be answered with a pong of the same payload."""

    payload: bytes


class Pong(NamedTuple):
    """A pong."""

    payload: bytes


class Close(NamedTuple):
    """A close frame; the code is `NO_STATUS` if it has none."""

    code: int
    reason: str


class Reader:
    """Makes messages of what arrives.

    Args:
        limit: How long a message may be.
        masked: Whether frames must be masked, as a client's, or must not be.
        deflate: The compression that was agreed to.
    """

    def __init__(
        self, limit: int, masked: bool = True, deflate: Deflate | None = None
    ) -> None:
        self.error: ProtocolError | None = None
        self.closed = False
        self._limit = limit
        self._masked = masked
        self._deflate = deflate
        self._buffer = bytearray()
        # How long the buffer has to be before it is worth looking at.
        self._need = 2
        # The message whose fragments are arriving: its opcode, whether it is
        # compressed, and what it has so far. One bytearray for the same reason.
        self._opcode = 0
        self._compressed = False
        self._message = bytearray()
        # Checks the text in it, and forgets it.
        self._decoder: codecs.IncrementalDecoder | None = None

    @property
    def missing(self) -> int:
        """How many bytes the frame that is arriving lacks at least."""
        return max(self._need - len(self._buffer), 1)

    def receive(self, data: bytes) -> list[Any]:
        """Take what arrived; return the messages and control frames it completes."""
        events: list[Any] = []
        if self.closed:
            return events
        source: bytes | bytearray = data
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._need:
                return events
            source = buffer
            self._buffer = bytearray()
        position = 0
        try:
            position = self._read_frames(source, events)
        except ProtocolError as error:
            self.error = error
            self.closed = True
        if not self.closed and position < len(source):
            if position or source is data:
                self._buffer += memoryview(source)[position:]
            else:
                self._buffer = buffer
        return events

    def _read_frames(self, source: bytes | bytearray, events: list[Any]) -> int:
        """Read all whole frames; return where the rest begins."""
        position = 0
        end = len(source)
        masked = self._masked
        while not self.closed:
            start = position + 2
            if start > end:
                self._need = 2
                break
            first = source[position]
            second = source[position + 1]
            size = second & 0x7F
            opcode = first & 0x0F
            self._check(first, opcode, second, size)
            if size == 126:
                start += 2
                if start > end:
                    self._need = start - position
                    break
                (size,) = unpack_short(source, start - 2)
                if size < 126:
                    raise ProtocolError("a frame's length is not in its shortest form")
            elif size == 127:
                start += 8
                if start > end:
                    self._need = start - position
                    break
                (size,) = unpack_long(source, start - 8)
                if size < 65536 or size >> 63:
                    raise ProtocolError("a frame's length is not in its shortest form")
            if opcode < CLOSE and size + len(self._message) > self._limit:
                raise ProtocolError(
                    f"the message is longer than the limit of {self._limit} bytes", 1009
                )
            if masked:
                start += 4
            stop = start + size
            if stop > end:
                self._need = stop - position
                break
            payload: Any
            if size > _WORTH_A_VIEW:
                payload = memoryview(source)[start:stop]
            else:
                payload = source[start:stop]
            if masked and size:
                payload = apply_mask(payload, bytes(source[start - 4 : start]))
            position = stop
            if opcode >= CLOSE:
                events.append(self._control(opcode, bytes(payload)))
            elif first == 0x81:
                # A message in one frame, not compressed: nearly all are.
                try:
                    events.append(str(payload, "utf-8"))
                except UnicodeDecodeError:
                    raise _not_text() from None
            elif first == 0x82:
                events.append(bytes(payload))
            else:
                self._fragment(first, opcode, payload, events)
        return position

    def _check(self, first: int, opcode: int, second: int, size: int) -> None:
        """Refuse a frame that its first two bytes tell to be wrong."""
        if first & 0x70:
            compressed = first & 0x70 == RSV1 and opcode in {TEXT, BINARY}
            if not (compressed and self._deflate is not None):
                raise ProtocolError("a reserved bit is set without an extension for it")
        if (second & 0x80 != 0) is not self._masked:
            raise ProtocolError(
                "a client masks every frame"
                if self._masked
                else "a server masks no frame"
            )
        if opcode >= CLOSE:
            if opcode > 0xA:
                raise ProtocolError(f"there is no opcode {opcode}")
            if not first & 0x80:
                raise ProtocolError("a control frame is not fragmented")
            if size > 125:
                raise ProtocolError("a control frame carries 125 bytes at most")
        elif opcode > BINARY:
            raise ProtocolError(f"there is no opcode {opcode}")
        elif opcode:
            if self._opcode:
                raise ProtocolError("a new message begins before the last one ended")
        elif not self._opcode:
            raise ProtocolError("a continuation without a message that it continues")

    def _fragment(
        self, first: int, opcode: int, payload: Any, events: list[Any]
    ) -> None:
        """Take a fragment, or a message that is compressed."""
        if opcode:
            self._opcode = opcode
            self._compressed = bool(first & RSV1)
            if opcode == TEXT and not self._compressed:
                self._decoder = _new_decoder()
        final = bool(first & 0x80)
        if self._decoder is not None:
            try:
                self._decoder.decode(bytes(payload), final)
            except UnicodeDecodeError:
                raise _not_text() from None
        self._message += payload
        if final:
            events.append(self._assembled())

    def _assembled(self) -> str | bytes:
        kind, message = self._opcode, bytes(self._message)
        self._opcode = 0
        self._message = bytearray()
        self._decoder = None
        if self._compressed:
            self._compressed = False
            assert self._deflate is not None
            message = self._deflate.inflate(message, self._limit)
        if kind == BINARY:
            return message
        try:
            return message.decode()
        except UnicodeDecodeError:
            raise _not_text() from None

    def _control(self, opcode: int, payload: bytes) -> Ping | Pong | Close:
        if opcode == PING:
            return Ping(payload)
        if opcode != CLOSE:
            return Pong(payload)
        if not payload:
            close = Close(NO_STATUS, "")
        elif len(payload) == 1:
            raise ProtocolError("a close frame has a code of two bytes, or none")
        else:
            (code,) = unpack_short(payload)
            if code not in CLOSE_CODES:
                raise ProtocolError(f"{code} is no code to close with")
            try:
                close = Close(code, payload[2:].decode())
            except UnicodeDecodeError:
                raise _not_text() from None
        self.closed = True
        return close


def _not_text() -> ProtocolError:
    return ProtocolError("text is not in UTF-8", 1007)
