"""Files over pipes, terminals and the like, whose reading and writing park.

A regular file never waits, so it is read and written directly. Anything else is made
non-blocking if the file owns the descriptor, and is waited for when the system says that
it would block. A descriptor that stays somebody else's (``closefd=False``: 0, 1, 2)
keeps its flags, which other processes may share; there readiness is asked for first,
and a write is cut into pieces that a ready descriptor takes at once.
"""

from __future__ import annotations

import errno
import io
import os
import select as _select  # noqa: TID251 - a constant
import stat
from typing import Any

from .._greenthread.descriptor_waits import (
    block_natively,
    notify_close,
    wait_descriptor,
)
from .._kernel.descriptors import READ, WRITE
from .._std.originals import (
    os_fstat,
    os_get_blocking,
    os_read,
    os_set_blocking,
    os_write,
)

_CHUNK = 64 * 1024
# What a pipe that is ready for writing takes without blocking (POSIX).
_PIPE_BUF = getattr(_select, "PIPE_BUF", 512)


class GreenFileIO(io.FileIO):
    """A raw file that parks the green thread where a plain one would block.

    Args:
        name: A descriptor, a path, or an open file, whose descriptor is duplicated.
        mode: As for `io.FileIO`: ``"r"``, ``"w"``, ``"r+"``...
        closefd: Whether closing the file closes the descriptor that was given.
        opener: As for `open`.
    """

    def __init__(
        self, name: Any, mode: str = "r", closefd: bool = True, opener: Any = None
    ) -> None:
        if hasattr(name, "fileno"):
            name = os.dup(name.fileno())
            closefd = True
        super().__init__(name, mode, closefd, opener)
        fd = self.fileno()
        kind = os_fstat(fd).st_mode
        # Whether the system never says that it would block.
        self._direct = stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISBLK(kind)
        if not self._direct and closefd:
            os_set_blocking(fd, False)
        self._asks_first = not self._direct and os_get_blocking(fd)

    def _await(self, event: str) -> None:
        wait_descriptor(self.fileno(), event, None, f"waiting to {event} a file")

    def _await_if_blocking(self, event: str) -> None:
        if self._asks_first:
            while not block_natively(self.fileno(), event, 0):
                self._await(event)

    def _check(self, able: bool, what: str) -> None:
        if not able:
            raise io.UnsupportedOperation(f"File not open for {what}")

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes, at least one; ``b""`` means the end."""
        if size is None or size < 0:
            return self.readall()
        self._check(self.readable(), "reading")
        while True:
            self._await_if_blocking(READ)
            try:
                return os_read(self.fileno(), size)
            except BlockingIOError:
                pass
            self._await(READ)

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer; 0 means the end."""
        with memoryview(buffer) as view, view.cast("B") as octets:
            data = self.read(len(octets))
            octets[: len(data)] = data
            return len(data)

    def readall(self) -> bytes:
        """Read up to the end."""
        chunks = []
        while chunk := self.read(_CHUNK):
            chunks.append(chunk)
        return b"".join(chunks)

    def write(self, data: Any, /) -> int:
        """Write all of the data; the result is how many bytes that were."""
        self._check(self.writable(), "writing")
        with memoryview(data) as view, view.cast("B") as octets:
            size = len(octets)
            written = 0
            while written < size:
                self._await_if_blocking(WRITE)
                end = written + _PIPE_BUF if self._asks_first else size
                with octets[written:end] as rest:
                    try:
                        written += os_write(self.fileno(), rest)
                        continue
                    except BlockingIOError:
                        pass
                self._await(WRITE)
            return size

    def close(self) -> None:
        """Close the file; whoever waits for it gets EBADF."""
        if not self.closed and self.closefd:
            notify_close(self.fileno())
        super().close()


def open_pipe(
    name: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """Open a file whose reading and writing park the green thread.

    Args:
        name: A descriptor, a path, or an open file, whose descriptor is duplicated.
        mode: As for `open`.
        buffering: As for `open`.
        encoding: As for `open`.
        errors: As for `open`.
        newline: As for `open`.
        closefd: Whether closing the file closes the descriptor that was given.
        opener: As for `open`.

    Returns:
        A text file, a buffered binary file, or a raw one (``"b"`` and no buffering).

    Raises:
        ValueError: The mode makes no sense.
        OSError: The file cannot be opened.
    """
    if not set(mode) <= set("rwxabt+"):
        raise ValueError(f"invalid mode: {mode!r}")
    binary = "b" in mode
    if binary and "t" in mode:
        raise ValueError("can't have text and binary mode at once")
    if binary and (encoding or errors or newline):
        raise ValueError(
            "binary mode doesn't take an encoding, errors or newline argument"
        )
    if buffering == 0 and not binary:
        raise ValueError("can't have unbuffered text I/O")
    raw = GreenFileIO(name, mode.replace("b", "").replace("t", ""), closefd, opener)
    result: Any = raw
    try:
        if buffering == 0:
            return result
        line_buffering = buffering == 1 or (buffering < 0 and raw.isatty())
        size = io.DEFAULT_BUFFER_SIZE if buffering < 2 else buffering
        if "+" in mode:
            if not raw.seekable():
                raise io.UnsupportedOperation("File or stream is not seekable.")
            result = io.BufferedRandom(raw, size)
        elif raw.readable():
            result = io.BufferedReader(raw, size)
        else:
            result = io.BufferedWriter(raw, size)
        if not binary:
            result = io.TextIOWrapper(result, encoding, errors, newline, line_buffering)
            result.mode = mode
    except BaseException:
        result.close()
        raise
    return result


def set_nonblocking(fd: Any) -> None:
    """Make a descriptor non-blocking.

    Args:
        fd: A socket, a file, anything with ``fileno()``, or the number itself.
    """
    if hasattr(fd, "setblocking"):
        fd.setblocking(False)
        return
    number = fd if isinstance(fd, int) else fd.fileno()
    try:
        os_set_blocking(number, False)
    except OSError as exc:
        if exc.errno != errno.ENOTTY:  # regular files on some systems
            raise
