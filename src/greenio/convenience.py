"""Servers and clients in a line: `listen`, `serve`, `connect`, `wrap_ssl`."""

from __future__ import annotations

from ._net.serving import ReusePortUnavailableWarning as ReusePortUnavailableWarning
from ._net.serving import ReuseRandomPortWarning as ReuseRandomPortWarning
from ._net.serving import StopServe as StopServe
from ._net.serving import connect as connect
from ._net.serving import listen as listen
from ._net.serving import serve as serve
from ._net.serving import wrap_ssl as wrap_ssl
from ._std.public_names import claim

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
