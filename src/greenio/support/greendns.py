"""eventlet's names for name resolution.

greenio resolves names by the loop's own resolver, which needs no other package and does
what the system does: `getaddrinfo`, `gethostbyname`, `gethostbyname_ex` and
`getnameinfo` here are those of green sockets. The rest asks name servers by dnspython,
on the loop: ``pip install "greenio-asyncio[dns]"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._net.dns import getaddrinfo as getaddrinfo
from .._net.dns import gethostbyname as gethostbyname
from .._net.dns import gethostbyname_ex as gethostbyname_ex
from .._net.dns import getnameinfo as getnameinfo
from .._std.public_names import claim
from ._addresses import is_ip_addr as is_ip_addr
from ._addresses import is_ipv4_addr as is_ipv4_addr
from ._addresses import is_ipv6_addr as is_ipv6_addr

if TYPE_CHECKING:
    from ._dnspython import HostsAnswer as HostsAnswer
    from ._dnspython import HostsResolver as HostsResolver
    from ._dnspython import ResolverProxy as ResolverProxy
    from ._dnspython import compute_expiration as compute_expiration
    from ._dnspython import getaliases as getaliases
    from ._dnspython import reset as reset
    from ._dnspython import resolve as resolve
    from ._dnspython import resolve_cname as resolve_cname
    from ._dnspython import tcp as tcp
    from ._dnspython import udp as udp

# Seconds; how long name servers are asked, and how long a hosts file's entries count.
DNS_QUERY_TIMEOUT = 10.0
HOSTS_TTL = 10.0
# The package that asks name servers.
pkg = "dns"

__all__ = [
    "DNS_QUERY_TIMEOUT",
    "HOSTS_TTL",
    "HostsAnswer",
    "HostsResolver",
    "ResolverProxy",
    "compute_expiration",
    "getaddrinfo",
    "getaliases",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
    "is_ip_addr",
    "is_ipv4_addr",
    "is_ipv6_addr",
    "pkg",
    "reset",
    "resolve",
    "resolve_cname",
    "tcp",
    "udp",
]


def __getattr__(name: str) -> Any:
    if name != "resolver" and name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from . import _dnspython
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("dns"):
            raise
        raise ImportError(
            f"{__name__}.{name} needs dnspython to ask name servers: pip install "
            '"greenio-asyncio[dns]"; getaddrinfo() and gethostbyname() do without',
            name="dns",
        ) from None
    # What is assigned here counts there.
    if _dnspython.settings is not globals():
        _dnspython.settings = globals()
        claim({**vars(_dnspython), "__name__": __name__, "__all__": __all__})
    return getattr(_dnspython, name)


claim(globals())
