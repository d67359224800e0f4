r"""The chunked coding of a request's body, read strictly.

A chunk begins with 1 to 16 hexadecimal digits; signs, prefixes, underscores and spaces
are errors, since another reader in front may see another number in them. Every line ends
with CRLF. Extensions are read over, trailers too, and both are bounded. After an error
nothing more is read: where the next request would begin, nobody can tell.

The source offers ``read(n)``, which returns less only at the end, and
``readline(limit)``.
"""

from __future__ import annotations

import re
from typing import Any

from . import settings
from .errors import ChunkReadError, ChunksCutShortError

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n")


class ChunkReader:
    """Reads what chunks hold.

    Args:
        source: Where the chunks come from.
    """

    __slots__ = ("_left", "_source", "broken", "done")

    def __init__(self, source: Any) -> None:
        self._source = source
        # What is still to come of the present chunk.
        self._left = 0
        self.done = False
        self.broken = False

    def _fail(self, why: str) -> ChunkReadError:
        self.broken = True
        return ChunkReadError(why)

    def _cut_short(self) -> ChunksCutShortError:
        self.broken = True
        return ChunksCutShortError("the client ended in the middle of a chunked body")

    def _next_chunk(self) -> None:
        limit = settings.MAX_CHUNK_LINE
        line = self._source.readline(limit)
        match = _SIZE.fullmatch(line)
        if match is None:
            if not line:
                raise self._cut_short()
            if len(line) >= limit:
                raise self._fail("a chunk's first line is too long")
            raise self._fail(f"this begins no chunk: {line[:40]!r}")
        self._left = int(match[1], 16)
        if not self._left:
            self._read_trailers()
            self.done = True

    def _end_chunk(self) -> None:
        end = self._source.read(2)
        if len(end) < 2:
            raise self._cut_short()
        if end != b"\r\n":
            raise self._fail("a chunk does not end where it should")

    def _read_trailers(self) -> None:
        left = settings.MAX_TRAILER_SIZE
        while True:
            line = self._source.readline(left)
            if line == b"\r\n":
                return
            if not line:
                raise self._cut_short()
            if len(line) >= left:
                raise self._fail("the trailers are too large")
            if _TRAILER.fullmatch(line) is None:
                raise self._fail(f"this is no trailer: {line[:40]!r}")
            left -= len(line)

    def read(self, size: int) -> bytes:
        """Read up to so many bytes; less only at the end of the body.

        Raises:
            ChunkReadError: This is no chunked body.
        """
        if self.broken:
            raise ChunkReadError("the chunked body was broken before")
        pieces: list[bytes] = []
        while size > 0 and not self.done:
            if not self._left:
                self._next_chunk()
                continue
            wanted = min(size, self._left)
            try:
                data = self._source.read(wanted)
            except BaseException:
                self.broken = True
                raise
            if len(data) < wanted:
                raise self._cut_short()
            pieces.append(data)
            size -= wanted
            self._left -= wanted
            if not self._left:
                self._end_chunk()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_line(self, limit: int) -> bytes:
        """Read up to and with the next LF, at most so many bytes."""
        # Bytes that are read too far cannot be put back, so it goes by small steps
        # only where the chunk has to be searched.
        pieces: list[bytes] = []
        while limit > 0 and not self.done:
            if not self._left:
                if self.broken:
                    raise ChunkReadError("the chunked body was broken before")
                self._next_chunk()
                continue
            wanted = min(limit, self._left)
            line = self._source.readline(wanted)
            if not line:
                raise self._cut_short()
            self._left -= len(line)
            limit -= len(line)
            pieces.append(line)
            if not self._left:
                self._end_chunk()
            if line.endswith(b"\n"):
                break
        return b"".join(pieces)
