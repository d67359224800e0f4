"""Servers and clients in a line: `listen`, `serve`, `connect`, `wrap_ssl`."""

from __future__ import annotations

from importlib import import_module as _import_module
from types import ModuleType

from . import greenpool as greenpool
from . import greenthread as greenthread
from . import support as support
from ._net.serving import ReusePortUnavailableWarning as ReusePortUnavailableWarning
from ._net.serving import ReuseRandomPortWarning as ReuseRandomPortWarning
from ._net.serving import StopServe as StopServe
from ._net.serving import connect as connect
from ._net.serving import listen as listen
from ._net.serving import serve as serve
from ._net.serving import wrap_ssl as wrap_ssl
from ._net.ssl import wrap_socket as wrap_ssl_impl  # noqa: F401 - eventlet's name
from ._std.public_names import claim

# The sockets that are returned name it as their home.
from .greenio import base as _home_of_sockets  # noqa: F401

__all__ = [
    "ReusePortUnavailableWarning",
    "ReuseRandomPortWarning",
    "StopServe",
    "connect",
    "listen",
    "serve",
    "wrap_ssl",
]

claim(globals())


def __getattr__(name: str) -> ModuleType:
    # eventlet's has imported them. Here they take a while, and are not needed.
    if name in ("socket", "ssl"):
        return _import_module(f"greenio.green.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
