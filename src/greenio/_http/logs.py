"""Where servers write, and lines of access logs in the common formats."""

from __future__ import annotations

import sys
import time  # noqa: TID251 - the wall clock, which nobody patches
from typing import Any

_MONTHS = [
    "",
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]
_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_monotonic = time.perf_counter

# By name, for the command line.
COMMON = '%(client_ip)s - - [%(log_time)s] "%(request_line)s" %(status_code)s %(body_length)s'
FORMATS = {
    "common": COMMON,
    "combined": COMMON + ' "%(referer)s" "%(user_agent)s"',
}


class LoggerNull:
    """A logger that drops everything."""

    def error(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Drop a message."""

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Drop a message."""

    def debug(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Drop a message."""

    def write(self, msg: str, *args: Any) -> None:
        """Drop a message."""


class LoggerFileWrapper(LoggerNull):
    """A logger that writes lines to a file.

    Args:
        log: The file; anything with ``write``.
        debug: Whether messages for debugging are written too.
    """

    def __init__(self, log: Any, debug: bool) -> None:
        self.log = log
        self._debug = debug

    def error(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Write a message."""
        self.write(msg, *args)

    def info(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Write a message."""
        self.write(msg, *args)

    def debug(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Write a message, if it is wanted."""
        if self._debug:
            self.write(msg, *args)

    def write(self, msg: str, *args: Any) -> None:
        """Write a message, with its arguments put in, as a line."""
        text = msg + "\n"
        if args:
            text = text % args
        self.log.write(text)

    def flush(self) -> None:
        """Flush the file, if it can be."""
        flush = getattr(self.log, "flush", None)
        if flush is not None:
            flush()


def get_logger(log: Any, debug: bool) -> Any:
    """Return a logger that writes to `log`.

    Args:
        log: A logger (with ``info`` and ``debug``), a file, or None for standard error.
        debug: Whether messages for debugging are written too.
    """
    if callable(getattr(log, "info", None)) and callable(getattr(log, "debug", None)):
        return log
    return LoggerFileWrapper(log or sys.stderr, debug)


def format_date_time(timestamp: float) -> str:
    """A time as HTTP writes it."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(timestamp)
    return (
        f"{_DAYS[weekday]}, {day:02d} {_MONTHS[month]} {year:04d} "
        f"{hour:02d}:{minute:02d}:{second:02d} GMT"
    )


class Clock:
    """The dates of answers and log lines, made once a second."""

    __slots__ = ("_second", "header", "line", "line_with_zone")

    def __init__(self) -> None:
        self._second = -1
        self.header = b""
        self.line = ""
        self.line_with_zone = ""

    def update(self) -> None:
        """Look at the time."""
        now = int(time.time())
        if now == self._second:
            return
        self._second = now
        self.header = f"Date: {format_date_time(now)}\r\n".encode("ascii")
        local = time.localtime(now)
        self.line = (
            f"{local.tm_mday:02d}/{_MONTHS[local.tm_mon]}/{local.tm_year:04d} "
            f"{local.tm_hour:02d}:{local.tm_min:02d}:{local.tm_sec:02d}"
        )
        sign = "-" if local.tm_gmtoff < 0 else "+"
        minutes = abs(local.tm_gmtoff) // 60
        self.line_with_zone = (
            f"{self.line.replace(' ', ':', 1)} "
            f"{sign}{minutes // 60:02d}{minutes % 60:02d}"
        )


def timer() -> float:
    """The clock that requests are measured with."""
    return _monotonic()


def printable(text: str) -> str:
    """A text of the client's, harmless in a log."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in quoted
    )
