"""Whether the arguments of a server make sense: said at the call, not by a dead server."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from .._net.base import LONGEST_TIMEOUT
from .._net.constants import SO_ACCEPTCONN, SOL_SOCKET
from .logs import LOG_FIELDS

# Of the seconds that a connection may be kept.
_LONGEST = 1 << 53


def is_async(app: Any) -> bool:
    """Whether an application is of the asynchronous kind, ASGI's."""
    called = app if inspect.isroutine(app) else type(app).__call__
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(called)


def check_application(app: Any) -> None:
    """Raises: TypeError: It cannot be called like one, or is an asynchronous one."""
    if not callable(app):
        raise TypeError(
            "wsgi.server() takes a WSGI application, a function of environ and "
            f"start_response, not {app!r}"
        )
    if is_async(app):
        raise TypeError(
            f"wsgi.server() takes a WSGI application, and {app!r} is an asynchronous "
            "one; serve ASGI applications by uvicorn"
        )
    if not takes_two(app):
        raise TypeError(
            f"wsgi.server() calls its application with environ and start_response, which "
            f"{app!r} does not take; if it makes an application, pass what it returns"
        )


def check_log(log: Any) -> None:
    """Raises: TypeError: It is neither a logger nor a file."""
    if log is None or callable(getattr(log, "write", None)):
        return
    if not (callable(getattr(log, "info", None)) and callable(log.debug)):
        raise TypeError(
            "log is a logging.Logger, a file with write(), or None for standard "
            f"error, not {log!r}"
        )


def check_environ(environ: Any) -> None:
    """Raises: TypeError: It is no dict of texts to something."""
    if environ is None:
        return
    if not isinstance(environ, Mapping) or not all(
        isinstance(name, str) for name in environ
    ):
        raise TypeError(
            "environ is a dict of what is added to each request's environment, such "
            f"as {{'wsgi.multiprocess': True}}, not {environ!r}"
        )


def check_version(version: Any) -> None:
    """Raises: ValueError: It is none that can be spoken."""
    if version not in (None, "HTTP/1.0", "HTTP/1.1"):
        raise ValueError(
            f"max_http_version is 'HTTP/1.1' or 'HTTP/1.0', not {version!r}"
        )


def check_protocol(protocol: Any) -> None:
    """Raises: TypeError: It cannot be called with a connection's state and the server."""
    if not callable(protocol) or not takes_two(protocol):
        raise TypeError(
            f"protocol is a subclass of wsgi.HttpProtocol, not {protocol!r}"
        )


def takes_two(call: Any) -> bool:
    """Whether a call with two arguments may work, and does something of a program's."""
    if isinstance(call, type) and call.__module__ == "builtins":
        return False
    try:
        inspect.signature(call, follow_wrapped=False).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        # It does not say.
        pass
    return True


def check_size(name: str, size: Any, least: int) -> None:
    """Raises: TypeError, ValueError: It is no whole number, or too small a one."""
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"{name} is a whole number, or None, not {size!r}")
    if size < least:
        raise ValueError(f"{name} is {least} or more, not {size!r}")


def check_seconds(
    name: str, seconds: Any, *, zero: bool = True, unit: str = "seconds"
) -> None:
    """Raises: ValueError: It is no number of seconds."""
    if seconds is None:
        return
    good = isinstance(seconds, (int, float)) and seconds >= 0
    if not good or (not zero and seconds == 0):
        raise ValueError(f"{name} is a number of {unit}, or None, not {seconds!r}")


def checked_socket_timeout(seconds: Any) -> Any:
    """Return the limit for a socket: None for one that no clock could count.

    Raises:
        ValueError: It is no number of seconds.
    """
    check_seconds("socket_timeout", seconds, zero=False)
    if seconds is None or seconds < LONGEST_TIMEOUT:
        return seconds
    # As eventlet takes it, whose sockets wait so long without asking the system.
    return None


def idle_limit(
    idle_timeout: float | None, keepalive: bool | float, socket_timeout: float | None
) -> float | None:
    """How long a connection may wait for its next request."""
    if keepalive is not True and keepalive:
        return float(keepalive)
    # Waiting for a request is a read, too.
    limits = [limit for limit in (idle_timeout, socket_timeout) if limit is not None]
    return min(limits, default=None)


def check_chunk_size(size: Any) -> None:
    """Raises: TypeError, ValueError: It is no number of bytes."""
    if isinstance(size, float):
        # As eventlet, which only compares; infinity has all be sent at once.
        if not size >= 0:
            raise ValueError(f"minimum_chunk_size is 0 or more, not {size!r}")
        return
    check_size("minimum_chunk_size", size, 0)


def checked_keepalive(keepalive: Any) -> bool | float:
    """Return how long a connection is kept; no integer that floats cannot count.

    Raises:
        ValueError: It is neither a boolean nor a number of seconds.
    """
    if keepalive is None:
        # As eventlet has it.
        return False
    if not (isinstance(keepalive, (bool, int, float)) and keepalive >= 0):
        raise ValueError(
            f"keepalive is True, False or a number of seconds, not {keepalive!r}"
        )
    return min(keepalive, _LONGEST) if isinstance(keepalive, int) else keepalive


def check_log_format(log_format: Any) -> None:
    """Raises: TypeError, ValueError: It is no format, or names what there is not."""
    if not isinstance(log_format, str):
        raise TypeError(
            f"log_format is a text such as wsgi.DEFAULT_LOG_FORMAT, not {log_format!r}"
        )
    try:
        log_format % LOG_FIELDS
    except (KeyError, TypeError, ValueError) as exc:
        raise ValueError(
            f"log_format knows {', '.join(sorted(LOG_FIELDS))}; "
            f"{log_format!r} does not fit: {exc!r}"
        ) from None


def check_pool(pool: Any) -> None:
    """Raises: AttributeError: It cannot spawn, as in eventlet."""
    if not callable(getattr(pool, "spawn", None)):
        raise AttributeError(
            "custom_pool is a greenio.GreenPool, or something else that has its spawn(), "
            f"not {pool!r}"
        )


def check_event(event: Any) -> None:
    """Raises: TypeError: Nothing can be sent to it."""
    if event is not None and not callable(getattr(event, "send", None)):
        raise TypeError(f"server_event is a greenio.event.Event, not {event!r}")


def check_listening(sock: Any) -> None:
    """Raises: ValueError: Nobody can connect to it."""
    try:
        listens = sock.getsockopt(SOL_SOCKET, SO_ACCEPTCONN)
    except (AttributeError, OSError):
        # Something that is like a socket, or a system that does not say.
        return
    if not listens:
        raise ValueError(
            f"wsgi.server() takes a socket that listens, and nobody has called "
            f"listen() on {sock!r}; greenio.listen((host, port)) makes one"
        )
