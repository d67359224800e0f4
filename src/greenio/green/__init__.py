"""Green versions of standard modules: what blocks there parks the green thread here."""

from __future__ import annotations

import importlib
from types import ModuleType

from .._std.absences import attribute_error as _attribute_error

# The modules in here, as attributes too: each is loaded when it is first asked for.
_MODULES = frozenset(
    {
        "BaseHTTPServer",
        "CGIHTTPServer",
        "MySQLdb",
        "OpenSSL",
        "Queue",
        "SimpleHTTPServer",
        "SocketServer",
        "_socket_nodns",
        "asynchat",
        "asyncore",
        "builtin",
        "ftplib",
        "http",
        "httplib",
        "imaplib",
        "os",
        "poplib",
        "profile",
        "queue",
        "select",
        "selectors",
        "signal",
        "smtplib",
        "socket",
        "socketserver",
        "ssl",
        "subprocess",
        "thread",
        "threading",
        "time",
        "urllib",
        "xmlrpc",
        "zmq",
    }
)


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ImportError as exc:
            # Of a package that is not installed, or that this Python does not have.
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}: {exc}"
            ) from exc
    raise _attribute_error(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
