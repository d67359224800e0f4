"""gunicorn's access log, given no more than its format names.

gunicorn's logger makes an entry of every header and every key of the environment, and then
writes a few of them. It is given these only, and not in the green thread of the request but
in one that writes for all: `logging` makes a thread object for whoever logs, which costs
more than a short request, and a green thread that has one cannot serve another request.

Nobody can tell, where the logger and its handlers are gunicorn's own. Others are given
everything, where the request runs.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger, SafeAtoms

from .._greenthread.spawning import spawn
from .._sync.light_queue import LightQueue

# What `Logger.atoms` itself asks the environment for.
_ALWAYS = frozenset(
    {
        "HTTP_AUTHORIZATION",
        "HTTP_REFERER",
        "HTTP_USER_AGENT",
        "PATH_INFO",
        "QUERY_STRING",
        "RAW_URI",
        "REMOTE_ADDR",
        "REQUEST_METHOD",
        "SERVER_PROTOCOL",
    }
)
_NAMED = re.compile(r"%\(\{([^}]+)\}([ioe])\)")


class _Answered:
    """An answer, as far as the log asks for it."""

    __slots__ = ("headers", "sent", "status")

    def __init__(self, status: str, sent: int, headers: list[tuple[str, str]]) -> None:
        self.status = status
        self.sent = sent
        self.headers = headers


class AccessLog:
    """The access log of a worker.

    Args:
        log: gunicorn's logger.
        cfg: gunicorn's configuration.

    Attributes:
        is_on: Whether requests are to be logged.
    """

    def __init__(self, log: Any, cfg: Any) -> None:
        self._log = log
        self._entries: LightQueue[tuple[Any, Any, Any, timedelta]] = LightQueue()
        self._writer: Any = None
        kind = type(log)
        own_access = kind.access is Logger.access
        # Another logger counts requests, for all we know.
        self.is_on = not own_access or _is_enabled(log, cfg)
        self._all = not (
            own_access
            and kind.atoms is Logger.atoms
            and log.atoms_wrapper_class is SafeAtoms
        )
        self._later = not self._all and _are_gunicorns(log.access_log)
        named = [
            (kind, name.lower())
            for name, kind in _NAMED.findall(str(cfg.access_log_format))
        ]
        self._headers = frozenset(name for kind, name in named if kind == "i")
        self._answered = frozenset(name for kind, name in named if kind == "o")
        self._variables = frozenset(name for kind, name in named if kind == "e")

    def write(self, exchange: Any, seconds: float) -> None:
        """Log a request.

        Args:
            exchange: The request and its answer.
            seconds: How long it took.
        """
        if exchange.head is None:
            # The application has answered by itself.
            return
        took = timedelta(seconds=seconds)
        if self._all:
            self._log.access(exchange.resp, exchange.req, exchange.environ, took)
            return
        environ = exchange.environ
        variables = {key: environ[key] for key in _ALWAYS if key in environ}
        if self._variables:
            variables.update(
                (key, value)
                for key, value in environ.items()
                if key.lower() in self._variables
            )
        answer = _Answered(
            exchange.head.status,
            exchange.sent,
            _chosen(exchange.headers, self._answered),
        )
        headers = _chosen(environ["headers_raw"], self._headers)
        if not self._later:
            self._log.access(answer, headers, variables, took)
            return
        self._entries.put((answer, headers, variables, took))
        if self._writer is None:
            self._writer = spawn(self._write_all)

    def _write_all(self) -> None:
        while True:
            self._log.access(*self._entries.get())

    def flush(self) -> None:
        """Write what has not been written yet."""
        if self._writer is not None:
            self._writer.kill()
            self._writer = None
        while self._entries.qsize():
            self._log.access(*self._entries.get())


def _chosen(
    headers: Iterable[tuple[str, str]], names: frozenset[str]
) -> list[tuple[str, str]]:
    if not names:
        return []
    return [each for each in headers if each[0].lower() in names]


def _are_gunicorns(log: logging.Logger) -> bool:
    """Whether only gunicorn's own handlers see what is logged."""
    return (
        not log.filters
        and not log.propagate
        and all(
            hasattr(handler, "_gunicorn") and not handler.filters
            for handler in log.handlers
        )
    )


def _is_enabled(log: Any, cfg: Any) -> bool:
    """Whether gunicorn's logger writes what it is given."""
    enabled = getattr(log, "access_log_enabled", None)
    if enabled is not None:
        return bool(enabled)
    # gunicorn 24 and before.
    return bool(
        cfg.accesslog
        or cfg.logconfig
        or cfg.logconfig_dict
        or cfg.logconfig_json
        or (cfg.syslog and not cfg.disable_redirect_access_to_syslog)
    )
