"""Files over pipes, terminals and the like, whose reading and writing park.

A regular file never waits, so it is read and written directly. Anything else is waited
for when the system says that it would block, if its descriptor is non-blocking; else
readiness is asked for first, and a write is cut into pieces that a ready descriptor
takes at once. eventlet's `GreenPipe` makes a descriptor that it owns non-blocking. In a
patched program `open` and `os.fdopen` keep the flags, which other processes may share.
"""

from __future__ import annotations

import errno
import io
import os
import warnings
from types import ModuleType
from typing import Any

from .._greenthread.descriptor_waits import (
    block_natively,
    notify_close,
    wait_descriptor,
)
from .._reactor.descriptors import READ, WRITE
from .._std.originals import os_get_blocking, os_read, os_set_blocking, os_write
from .._std.public_names import claim_as
from .descriptor_io import PIPE_BUF, is_wrong_end, never_waits
from .fifo import is_fifo, open_descriptor

_CHUNK = 64 * 1024
_STDERR = 2
_open = io.open


class GreenFileIO(io.FileIO):
    """A raw file that parks the green thread where a plain one would block.

    Args:
        name: A descriptor, a path, or an open file, whose descriptor is duplicated.
        mode: As for `io.FileIO`: ``"r"``, ``"w"``, ``"r+"``...
        closefd: Whether closing the file closes the descriptor that was given.
        opener: As for `open`.
        keep_flags: Whether the descriptor stays as it is, though the file owns it.
    """

    def __init__(
        self,
        name: Any,
        mode: str = "r",
        closefd: bool = True,
        opener: Any = None,
        *,
        keep_flags: bool = False,
    ) -> None:
        if hasattr(name, "fileno"):
            name = os.dup(name.fileno())
            closefd = True
        super().__init__(name, mode, closefd, opener or open_descriptor)
        fd = self.fileno()
        # Whether the system never says that it would block.
        self._direct = never_waits(fd)
        if not self._direct and closefd and not keep_flags:
            os_set_blocking(fd, False)
        self._asks_first = not self._direct and os_get_blocking(fd)

    def _await(self, event: str) -> None:
        wait_descriptor(self.fileno(), event, None, f"waiting to {event} a file")

    def _await_if_blocking(self, event: str) -> None:
        if self._asks_first:
            while not block_natively(self.fileno(), event, 0):
                if is_wrong_end(self.fileno(), event):
                    return  # which the system call says, too
                self._await(event)

    def _check(self, able: bool, what: str) -> None:
        if not able:
            raise io.UnsupportedOperation(f"File not open for {what}")

    def read(self, size: int | None = -1) -> bytes:
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

    def readinto(self, b: Any) -> int:
        """Read into a buffer; 0 means the end."""
        with memoryview(b) as view, view.cast("B") as octets:
            data = self.read(len(octets))
            octets[: len(data)] = data
            return len(data)

    def readall(self) -> bytes:
        """Read up to the end."""
        chunks = []
        while chunk := self.read(_CHUNK):
            chunks.append(chunk)
        return b"".join(chunks)

    def write(self, data: Any) -> int:
        """Write all of the data; the result is how many bytes that were."""
        self._check(self.writable(), "writing")
        with memoryview(data) as view, view.cast("B") as octets:
            size = len(octets)
            written = 0
            while written < size:
                self._await_if_blocking(WRITE)
                end = written + PIPE_BUF if self._asks_first else size
                with octets[written:end] as rest:
                    try:
                        written += os_write(self.fileno(), rest)
                        continue
                    except BlockingIOError:
                        pass
                self._await(WRITE)
            return size

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place in the file; see `io.FileIO.seek`."""
        return super().seek(offset, whence)

    def truncate(self, size: int | None = -1) -> int:
        """Cut the file to so many bytes; None or less than 0 for as far as it was read."""
        return super().truncate(None if size is None or size < 0 else size)

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
        name: A descriptor, a path, or an open file, which is closed in favour of this
            one; only the process's standard streams stay open.
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
    _check_mode(mode, buffering, encoding, errors, newline)
    raw = GreenFileIO(name, _raw_mode(mode), closefd, opener)
    if hasattr(name, "fileno"):
        _give_up(name)
    return _layered(raw, mode, buffering, encoding, errors, newline)


def _give_up(file: Any) -> None:
    """Close a file that another one goes on for, with what was written to it so far."""
    if file.fileno() > _STDERR:
        file.close()
    elif hasattr(file, "flush"):
        # Children find the standard streams by their numbers.
        file.flush()


def open_green(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """Open a file as `open` does; descriptors and named pipes wait without blocking.

    Anything else is what `open` makes of it: regular files never wait.
    """
    if opener is not None or not _may_wait(file):
        return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    _check_mode(mode, buffering, encoding, errors, newline)
    raw = GreenFileIO(file, _raw_mode(mode), closefd, keep_flags=True)
    return _layered(raw, mode, buffering, encoding, errors, newline)


def fdopen(
    fd: int,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Make a file of a descriptor; see `os.fdopen`."""
    if not isinstance(fd, int):
        raise TypeError(f"invalid fd type ({type(fd)}, expected integer)")
    if "b" not in mode:
        encoding = io.text_encoding(encoding)  # type: ignore[attr-defined, unused-ignore]
    return open_green(fd, mode, buffering, encoding, *args, **kwargs)


def _may_wait(file: Any) -> bool:
    if not isinstance(file, int):
        return is_fifo(file)
    try:
        return not isinstance(file, bool) and not never_waits(file)
    except OSError:
        # `open` says so better.
        return False


def _raw_mode(mode: str) -> str:
    return mode.replace("b", "").replace("t", "")


def _check_mode(
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> None:
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
    if buffering == 1 and binary:
        warnings.warn(
            "line buffering (buffering=1) isn't supported in binary mode, the default "
            "buffer size will be used",
            RuntimeWarning,
            stacklevel=3,
        )


def _layered(
    raw: GreenFileIO,
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> Any:
    """Put a buffer and an encoding around a raw file, as its mode asks for."""
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
        if "b" not in mode:
            result = io.TextIOWrapper(result, encoding, errors, newline, line_buffering)
            result.mode = mode
    except BaseException:
        result.close()
        raise
    return result


def green_io() -> ModuleType:
    """Return an `io` module whose `open` makes green files of descriptors."""
    module = ModuleType("io")
    vars(module).update(vars(io), open=open_green)
    return module


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


# In a patched program it is the builtin.
claim_as("greenio.green.builtin", "open", open_green)
