"""Where servers write, and lines of access logs in the common formats."""

from __future__ import annotations

import sys
import time  # noqa: TID251 - the wall clock, which nobody patches
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._std.originals import os_write

if TYPE_CHECKING:
    from .exchange import Exchange
    from .server import Server

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
        self._failed = False

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
        try:
            self.log.write(text)
        except (OSError, ValueError) as exc:
            self._say_once(exc)

    def _say_once(self, exc: Exception) -> None:
        """Say that the log is full, or closed: that is no reason to serve nobody."""
        if self._failed:
            return
        self._failed = True
        line = f"greenio.wsgi cannot write to its log {self.log!r}: {exc!r}\n"
        try:
            os_write(2, line.encode(errors="backslashreplace"))
        except OSError:
            pass

    def flush(self) -> None:
        """Flush the file, if it can be."""
        flush = getattr(self.log, "flush", None)
        if flush is not None:
            flush()


class ErrorsOnly(LoggerNull):
    """A logger of which only errors get through.

    Args:
        log: The logger that they go to.
    """

    def __init__(self, log: Any) -> None:
        self.log = log

    def error(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Write a message."""
        self.log.error(msg, *args, **kwargs)


def get_logger(log: Any, debug: bool, *, log_output: bool = True) -> Any:
    """Return a logger that writes to `log`.

    Args:
        log: A logger (with ``info`` and ``debug``), a file, or None for standard error.
        debug: Whether messages for debugging are written too.
        log_output: Whether anything but errors is.
    """
    if not (callable(getattr(log, "info", None)) and callable(log.debug)):
        log = LoggerFileWrapper(log or sys.stderr, debug)
    return log if log_output else ErrorsOnly(log)


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
        self.header: bytes = b""
        self.line: str = ""
        self.line_with_zone: str = ""

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


class _NoNumber(str):
    """What stands for a number where there is none, and is 0 to ``%d``."""

    __slots__ = ()

    def __int__(self) -> int:
        return 0


_NO_PORT = _NoNumber("")
_NO_STATUS = _NoNumber("-")

# What a log format may name.
LOG_FIELDS: dict[str, Any] = {
    "client_ip": "",
    "client_port": 0,
    "date_time": "",
    "log_time": "",
    "request_line": "",
    "status_code": 0,
    "body_length": 0,
    "wall_seconds": 0.0,
    "referer": "",
    "user_agent": "",
}


class ErrorFile:
    """``wsgi.errors``: what is written there goes into the log, in whole lines.

    Args:
        log: The log.

    Attributes:
        begun: A line that has not ended. It goes into the log at the latest at the end
            of a request.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self.begun: str = ""

    def write(self, text: str) -> int:
        """Write to the log."""
        lines, end, rest = (self.begun + text).rpartition("\n")
        self.begun = rest
        lines = lines.rstrip("\n")
        if end and lines:
            self._log.error(lines)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write the line that has not ended."""
        line, self.begun = self.begun, ""
        if line:
            self._log.error(line)


def note_request(exchange: Exchange) -> None:
    """Note what the log will say of a request, before the application can change it."""
    environ = exchange.environ
    exchange.forwarded = environ.get("HTTP_X_FORWARDED_FOR")
    if exchange.request_line is None:
        query = environ.get("QUERY_STRING")
        exchange.request_line = (
            f"{environ['REQUEST_METHOD']} {environ.get('RAW_PATH_INFO', '')}"
            f"{'?' if query else ''}{query} {environ['SERVER_PROTOCOL']}"
        )


def access_line(server: Server, exchange: Exchange, seconds: float) -> str:
    """What the log says of a request."""
    client = exchange.client
    if client is not None:
        host, port = client
        host = printable(str(host))
    else:
        address = exchange.connection.address
        host, port = address[:2] if type(address) is tuple else ("unix", _NO_PORT)
        forwarded = exchange.forwarded
        if forwarded and server.log_x_forwarded_for:
            host = printable(f"{forwarded.replace(' ', '')},{host}")
    line = printable(exchange.request_line or "-")
    clock = server.clock
    if server.uses_default_format:
        return (
            f'{host} - - [{clock.line}] "{line}" {exchange.status_code} '
            f"{exchange.sent} {seconds:.6f}"
        )
    environ = exchange.environ
    status = exchange.status_code
    return server.log_format % {
        "client_ip": host,
        "client_port": port,
        "date_time": clock.line,
        "log_time": clock.line_with_zone,
        "request_line": line,
        "status_code": int(status) if status.isdigit() else _NO_STATUS,
        "body_length": exchange.sent,
        "wall_seconds": seconds,
        "referer": printable(environ.get("HTTP_REFERER", "-")),
        "user_agent": printable(environ.get("HTTP_USER_AGENT", "-")),
    }
