"""Files over pipes and the like, whose reading and writing park the green thread."""

from __future__ import annotations

import io
import warnings
from types import ModuleType
from typing import Any

from .._greenthread.descriptor_waits import notify_close
from . import os as _os

_open = io.open


class GreenFileIO(io.FileIO):
    """A raw file that waits for its descriptor without blocking the thread."""

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer; 0 means the end."""
        with memoryview(buffer) as view, view.cast("B") as octets:
            data = self.read(len(octets))
            octets[: len(data)] = data
            return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes, or up to the end."""
        if size is None or size < 0:
            return self.readall()
        self._check("readable")
        return _os.read(self.fileno(), size)

    def readall(self) -> bytes:
        """Read up to the end."""
        self._check("readable")
        chunks = []
        while chunk := _os.read(self.fileno(), io.DEFAULT_BUFFER_SIZE * 8):
            chunks.append(chunk)
        return b"".join(chunks)

    def write(self, data: Any, /) -> int:
        """Write bytes; the result is how many."""
        self._check("writable")
        return _os.write(self.fileno(), data)

    def close(self) -> None:
        """Close the file; whoever waits for it gets an error."""
        if not self.closed and self.closefd:
            notify_close(self.fileno())
        super().close()

    def _check(self, what: str) -> None:
        if not getattr(self, what)():
            raise io.UnsupportedOperation(f"File not open: not {what}")


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
    """Open a file as `open` does; one made of a descriptor waits without blocking.

    What is opened by its name is opened as ever: regular files never wait.
    """
    kind = mode.replace("b", "").replace("t", "")
    if not isinstance(file, int) or isinstance(file, bool) or kind not in ("r", "w"):
        return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    binary = "b" in mode
    if buffering == 0 and not binary:
        raise ValueError("can't have unbuffered text I/O")
    raw = GreenFileIO(file, kind, closefd, opener)
    if buffering == 0:
        return raw
    if buffering == 1 and binary:
        warnings.warn(
            "line buffering (buffering=1) isn't supported in binary mode, the default "
            "buffer size will be used",
            RuntimeWarning,
            stacklevel=2,
        )
    line_buffering = buffering == 1 and not binary
    size = io.DEFAULT_BUFFER_SIZE if buffering < 2 else buffering
    buffer: Any
    buffer = (
        io.BufferedReader(raw, size) if kind == "r" else io.BufferedWriter(raw, size)
    )
    if binary:
        return buffer
    text = io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering)
    text.mode = mode  # type: ignore[misc]
    return text


def green_io() -> ModuleType:
    """Return an `io` module whose `open` makes green files of descriptors."""
    module = ModuleType("io")
    vars(module).update(vars(io), open=open_green)
    return module
