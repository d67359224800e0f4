"""Name resolution that parks the green thread instead of blocking the loop.

A numeric address is answered at once. Names are looked up by the loop: the standard
loop asks its executor's threads, uvloop its own.
"""

from __future__ import annotations

import socket as _types  # noqa: TID251 - constants and the error class
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._core._bridge import await_
from .._core._current import hub_to_park_in
from .._core._originals import (
    getaddrinfo as _getaddrinfo,
)
from .._core._originals import (
    gethostbyaddr as _gethostbyaddr,
)
from .._core._originals import (
    gethostbyname_ex as _gethostbyname_ex,
)
from .._core._originals import (
    getnameinfo as _getnameinfo,
)

if TYPE_CHECKING:
    from ._socket import GreenSocket

_NUMERIC = int(_types.AI_NUMERICHOST)
_INET = int(_types.AF_INET)
_INET6 = int(_types.AF_INET6)


def _in_executor(what: str, func: Callable[..., Any], *args: Any) -> Any:
    """Make a blocking library call in one of the loop's threads."""
    hub = hub_to_park_in(what)
    if hub is None:
        return func(*args)
    return await_(hub.loop.run_in_executor(None, func, *args))


def getaddrinfo(
    host: str | bytes | None,
    port: str | bytes | int | None,
    family: int = 0,
    type: int = 0,  # noqa: A002 - the name socket.getaddrinfo gives it
    proto: int = 0,
    flags: int = 0,
) -> list[Any]:
    """Resolve host and port, as `socket.getaddrinfo`.

    Raises:
        OSError: The name cannot be resolved (`socket.gaierror`).
    """
    if not host or isinstance(host, (str, bytes)):
        try:
            return _getaddrinfo(host, port, family, type, proto, flags | _NUMERIC)
        except _types.gaierror as exc:
            if exc.errno not in _NOT_NUMERIC:
                raise
    return list(
        _in_executor(
            "getaddrinfo()", _getaddrinfo, host, port, family, type, proto, flags
        )
    )


# What a look-up restricted to numeric hosts answers for a name, or for a service name
# that it may not look up either.
_NOT_NUMERIC = frozenset(
    getattr(_types, name)
    for name in ("EAI_NONAME", "EAI_SERVICE", "EAI_NODATA", "EAI_FAMILY")
    if hasattr(_types, name)
)


def gethostbyname(hostname: str) -> str:
    """Resolve a name to an IPv4 address, as `socket.gethostbyname`."""
    if hostname == "<broadcast>":
        return "255.255.255.255"
    for entry in getaddrinfo(hostname or "0.0.0.0", None, _INET, _types.SOCK_STREAM):  # noqa: S104
        return str(entry[4][0])
    raise _types.gaierror(_types.EAI_NONAME, "Name or service not known")


def gethostbyname_ex(hostname: str) -> tuple[str, list[str], list[str]]:
    """Resolve a name to its aliases and addresses, as `socket.gethostbyname_ex`."""
    result: tuple[str, list[str], list[str]] = _in_executor(
        "gethostbyname_ex()", _gethostbyname_ex, hostname
    )
    return result


def gethostbyaddr(ip_address: str) -> tuple[str, list[str], list[str]]:
    """Resolve an address to its names, as `socket.gethostbyaddr`."""
    result: tuple[str, list[str], list[str]] = _in_executor(
        "gethostbyaddr()", _gethostbyaddr, ip_address
    )
    return result


def getnameinfo(sockaddr: Any, flags: int) -> tuple[str, str]:
    """Resolve a socket address to host and port names, as `socket.getnameinfo`."""
    result: tuple[str, str] = _in_executor(
        "getnameinfo()", _getnameinfo, sockaddr, flags
    )
    return result


def getfqdn(name: str = "") -> str:
    """Return the fully qualified name of a host, as `socket.getfqdn`."""
    result: str = _in_executor("getfqdn()", _types.getfqdn, name)
    return result


def resolved(sock: GreenSocket, address: Any) -> Any:
    """Return an address with its host resolved, so that no system call has to.

    The first address of the socket's family is taken, as the plain socket does.
    """
    family = int(sock.family)
    if family not in (_INET, _INET6) or not isinstance(address, tuple) or not address:
        return address
    host = address[0]
    if not isinstance(host, (str, bytes, bytearray)) or not host:
        return address
    text = host if isinstance(host, str) else bytes(host).decode("idna")
    if text == "<broadcast>" or _is_numeric(text, family):
        return address
    entries = getaddrinfo(text, None, family, int(sock.type), int(sock.proto))
    host = entries[0][4][0]
    return (host, *address[1:])


def _is_numeric(host: str, family: int) -> bool:
    try:
        _types.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True
