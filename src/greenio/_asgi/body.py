"""The request's body: messages on one side, a file (``wsgi.input``) on the other.

The listener, a coroutine, receives a little ahead of the application, then it waits for
the reader. So the client is slowed down to the pace of the application, and a client who
goes away is noticed also when the application does something else than read, if its body
is a short one. Where the client waits to be told that its body is wanted ("Expect:
100-continue"), nothing is received before the application reads.
"""

from __future__ import annotations

import errno
import io
from typing import Any

from .._kernel.waiters import mutex
from .._sync.light_queue import LightQueue
from .._sync.semaphore import Semaphore

# How many bytes of the body are enough for the time being.
AHEAD = 64 * 1024
# What has come, and how often some of it was taken.
_Pipe = tuple[LightQueue[Any], Semaphore]


class Body:
    """What the listener has received and nobody has read yet.

    Args:
        on_demand: Whether nothing is to be received before somebody reads.
    """

    def __init__(self, on_demand: bool) -> None:
        # Made with the first use: many requests have no body, or none that is read.
        self._both: _Pipe | None = None
        self._on_demand = on_demand
        # How many bytes there are. Pretending that there are too many holds the
        # listener up.
        self._ahead = AHEAD if on_demand else 0
        self._end: bytes | BaseException | None = None

    def _pipe(self) -> _Pipe:
        """What both sides use."""
        with mutex:
            pipe = self._both
            if pipe is None:
                pipe = self._both = (LightQueue(), Semaphore(0))
        return pipe

    # -- the listener's side -----------------------------------------------------

    async def room(self) -> None:
        """Wait until more is wanted."""
        while self._ahead >= AHEAD:
            await self._pipe()[1].acquire_async()

    def feed(self, chunk: bytes) -> None:
        """Hand in a part of the body."""
        with mutex:
            self._ahead += len(chunk)
        self._pipe()[0].put(chunk)

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes.

        Args:
            error: Why not, if it isn't the end of the body; readers get it.
        """
        self._pipe()[0].put(b"" if error is None else error)

    def client_gone(self) -> None:
        """Say that nothing more comes because the client has gone."""
        self.end(
            ConnectionResetError(
                errno.ECONNRESET, "the client went away before its request was complete"
            )
        )

    # -- the reader's side -------------------------------------------------------

    def take(self) -> bytes:
        """Wait for a part of the body, and take it; empty at the end.

        Raises:
            ConnectionResetError: The client went away.
            BaseException: What the server's ``receive`` raised.
        """
        end = self._end
        if end is None:
            if self._on_demand:
                self._on_demand = False
                self._take_away(AHEAD)
            chunk = self._pipe()[0].get()
            if chunk and isinstance(chunk, bytes):
                self._take_away(len(chunk))
                return chunk
            self._end = end = chunk
        if isinstance(end, bytes):
            return end
        raise end.with_traceback(None)

    def _take_away(self, count: int) -> None:
        # Readers may be in other OS threads.
        with mutex:
            self._ahead -= count
        self._pipe()[1].release()


class BodyFile(io.BufferedIOBase):
    """``wsgi.input``: the body as a file that waits for what has not come yet.

    Args:
        body: Where it comes from.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._buffer = b""
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Read until so many bytes are there, or the end."""
        if size is None or size < 0:
            return self._collect(None, None)
        return self._collect(size, None)

    def read1(self, size: int = -1, /) -> bytes:
        """Read what is there; wait only if nothing is."""
        if size == 0 or not (self._position < len(self._buffer) or self._fill()):
            return b""
        start = self._position
        end = len(self._buffer) if size < 0 else start + size
        chunk = self._buffer[start:end]
        self._position += len(chunk)
        return chunk

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read to the end of the line, but not more than so many bytes."""
        if size is None or size < 0:
            return self._collect(None, b"\n")
        return self._collect(size, b"\n")

    def _fill(self) -> bool:
        """Wait for more, the buffer being used up; False at the end."""
        self._buffer = self._body.take()
        self._position = 0
        return bool(self._buffer)

    def _collect(self, size: int | None, stop: bytes | None) -> bytes:
        parts: list[bytes] = []
        left = size
        try:
            while left is None or left > 0:
                start = self._position
                buffer = self._buffer
                if start == len(buffer):
                    if not self._fill():
                        break
                    continue
                end = len(buffer) if left is None else min(len(buffer), start + left)
                found = -1 if stop is None else buffer.find(stop, start, end)
                if found >= 0:
                    end = found + 1
                parts.append(
                    buffer if end - start == len(buffer) else buffer[start:end]
                )
                self._position = end
                if found >= 0:
                    break
                if left is not None:
                    left -= end - start
        except BaseException:
            # A time limit, say: whoever reads next goes on where this one began.
            self._buffer = b"".join(parts)
            self._position = 0
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)
