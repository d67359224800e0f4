"""From bytes to messages: the rules of RFC 6455, without I/O.

`Reader.receive` takes what arrived, in whatever pieces, and returns what became whole:
messages (`str` or `bytes`) and control frames (`Ping`, `Pong`, `Close`). A breach of the
rules is kept in `error`, not raised, so that what came before it is delivered first;
after it nothing is read any more.

Checked as soon as a frame's header is there, before any of its payload is kept: reserved
bits, the opcode, the mask, the size. The limit is on the whole message, fragments added up,
before and after inflating.

A message that is not whole yet is unmasked, inflated and checked for UTF-8 as it comes,
in the middle of a frame, too: bytes that are no text end the connection when they
arrive, not when the message does. What it has so far waits in one bytearray, not in a
list of pieces: those would take many times their size if a peer sends them byte by byte.
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


def _long_size(source: bytes | bytearray, start: int, kind: int) -> int:
    """Read the size of a frame's payload that does not fit into its header's 7 bits."""
    size: int
    if kind == 126:
        (size,) = unpack_short(source, start)
        shortest = size >= 126
    else:
        (size,) = unpack_long(source, start)
        shortest = 65536 <= size < 1 << 63
    if not shortest:
        raise ProtocolError("a frame's length is not in its shortest form")
    return size


class Reader:
    """Makes messages of what arrives.

    Args:
        limit: How long a message may be.
        masked: Whether frames must be masked, as a client's, or must not be.
        deflate: The compression that was agreed to.

    Attributes:
        error: Which rule was broken, if one was.
        closed: Whether nothing is read any more.
        left: How many bytes a frame still lacks whose payload is arriving.
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
        # The message that is arriving in parts: its opcode, whether it is compressed,
        # how many bytes of it have come or were announced, and what they are so far.
        self._opcode = 0
        self._compressed = False
        self._size = 0
        self._message = bytearray()
        # Checks the text in it, and forgets it.
        self._decoder: codecs.IncrementalDecoder | None = None
        self.left = 0
        # Whether the frame whose payload is arriving is the message's last, and its mask,
        # beginning with the byte for what comes next.
        self._final = False
        self._mask = b""

    def receive(self, data: bytes) -> list[Any]:
        """Take what arrived; return the messages and control frames it completes."""
        size = len(data) - 6
        if (
            0 < size < 126
            and data[1] == size | 0x80
            and self._masked
            and not (self.left or self._buffer or self._opcode or self.closed)
            and size <= self._limit
        ):
            # One short frame of a client's, whole, and nothing else, as most come. If its
            # message is whole, too, and not compressed, the rules are kept.
            first = data[0]
            if first == 0x82:
                return [apply_mask(data[6:], data[2:6])]
            if first == 0x81:
                try:
                    return [str(apply_mask(data[6:], data[2:6]), "utf-8")]
                except UnicodeDecodeError:
                    # Told below.
                    pass
        return self._receive(data)

    def _receive(self, data: bytes) -> list[Any]:
        events: list[Any] = []
        if self.closed:
            return events
        if self.left:
            try:
                data = self._continue(data, events)
            except ProtocolError as error:
                self.error = error
                self.closed = True
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
        except UnicodeDecodeError:
            self.error = _not_text()
            self.closed = True
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
            if size > 125:
                start += 2 if size == 126 else 8
                if start > end:
                    self._need = start - position
                    break
                size = _long_size(source, position + 2, size)
            if opcode < CLOSE and size + self._size > self._limit:
                raise ProtocolError(
                    f"the message is longer than the limit of {self._limit} bytes", 1009
                )
            if masked:
                start += 4
            stop = start + size
            if stop > end:
                return self._wait_for_rest(source, position, first, start, stop)
            payload: Any
            if size > _WORTH_A_VIEW:
                payload = memoryview(source)[start:stop]
            else:
                payload = source[start:stop]
            if masked and size:
                payload = apply_mask(payload, bytes(source[start - 4 : start]))
            position = stop
            if first == 0x81:
                # A message in one frame, not compressed: nearly all are.
                events.append(str(payload, "utf-8"))
            elif first == 0x82:
                events.append(bytes(payload))
            else:
                self._other(first, opcode, payload, events)
        return position

    def _wait_for_rest(
        self,
        source: bytes | bytearray,
        position: int,
        first: int,
        start: int,
        stop: int,
    ) -> int:
        """Note what a frame lacks; return where what is not read yet begins.

        Args:
            source: What has come.
            position: Where in it the frame begins.
            first: The frame's first byte.
            start: Where its payload begins, if that has come.
            stop: Where it ends.
        """
        control = first & 0x0F >= CLOSE
        if control or start > len(source):
            self._need = (stop if control else start) - position
            return position
        self._begin(source, first, start, stop)
        return len(source)

    def _other(self, first: int, opcode: int, payload: Any, events: list[Any]) -> None:
        """Take a frame that is not a whole message by itself."""
        if opcode >= CLOSE:
            events.append(self._control(opcode, bytes(payload)))
        else:
            self._fragment(first, opcode, payload, events)

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
        final = bool(first & 0x80)
        if opcode:
            self._open(first, opcode, whole=final)
        self._size += len(payload)
        self._take(payload, final, events)

    def _open(self, first: int, opcode: int, *, whole: bool) -> None:
        """Begin a message."""
        self._opcode = opcode
        self._compressed = bool(first & RSV1)
        if opcode == TEXT and not whole:
            self._decoder = _new_decoder()

    def _begin(
        self, source: bytes | bytearray, first: int, start: int, stop: int
    ) -> None:
        """Take the part that is there of a frame's payload."""
        opcode = first & 0x0F
        if opcode:
            self._open(first, opcode, whole=False)
        part: Any = memoryview(source)[start:]
        come = len(part)
        self._size += stop - start
        self.left = stop - start - come
        self._final = bool(first & 0x80)
        if self._masked:
            mask = bytes(source[start - 4 : start])
            turn = come & 3
            self._mask = mask[turn:] + mask[:turn]
            part = apply_mask(part, mask)
        # What is behind it in `source` is nothing, so nothing can be whole.
        self._take(part, False, [])

    def _continue(self, data: bytes, events: list[Any]) -> bytes:
        """Take more of a frame's payload; return what is behind it."""
        left = self.left
        part, rest = (data, b"") if len(data) <= left else (data[:left], data[left:])
        self.left = left = left - len(part)
        if self._masked:
            mask = self._mask
            if left:
                turn = len(part) & 3
                self._mask = mask[turn:] + mask[:turn]
            part = apply_mask(part, mask)
        if left:
            self._take(part, False, events)
        else:
            self._need = 2
            self._take(part, self._final, events)
        return rest

    def _take(self, part: Any, final: bool, events: list[Any]) -> None:
        """Put a part to the message that is arriving."""
        message = self._message
        if self._compressed:
            assert self._deflate is not None
            part = self._deflate.inflate(part, self._limit, message, final)
        decoder = self._decoder
        if decoder is not None:
            try:
                decoder.decode(bytes(part), final)
            except UnicodeDecodeError:
                raise _not_text() from None
        message += part
        if final:
            events.append(self._assembled())

    def _assembled(self) -> str | bytes:
        kind, message = self._opcode, self._message
        self._opcode = self._size = 0
        self._compressed = False
        self._message = bytearray()
        self._decoder = None
        if kind == BINARY:
            return bytes(message)
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
