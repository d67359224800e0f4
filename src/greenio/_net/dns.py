"""Name resolution that parks the green thread instead of blocking the loop.

What needs no look-up (a numeric address) is answered at once. Names are looked up by
the loop's own `getaddrinfo`, so a loop with a resolver of its own resolves for green
threads too. uvloop asks libuv's threads, which costs half the processor time of a
Python executor. The standard loop's `getaddrinfo` is its executor behind a Task; there
the executor is asked directly, which saves the Task, a quarter of the cost.

The other calls have no counterpart on loops, or one with other arguments, and go to the
executor. In an OS thread without a hub, everything is the plain blocking call.
"""

from __future__ import annotations

import asyncio
import socket as _types  # noqa: TID251 - constants and the error class
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from .._bridge.await_ import await_
from .._greenthread.holding_up import hub_to_wait_in
from .._std.errors import BlockingInLoopError
from .._std.originals import getaddrinfo as _getaddrinfo
from .._std.originals import gethostbyaddr as _gethostbyaddr
from .._std.originals import gethostbyname as _gethostbyname
from .._std.originals import gethostbyname_ex as _gethostbyname_ex
from .._std.originals import getnameinfo as _getnameinfo
from .._std.originals import raw_socket
from .._std.with_globals import with_globals

if TYPE_CHECKING:
    from .base import SocketBase

_AI_NUMERICHOST = int(_types.AI_NUMERICHOST)
_INET = int(_types.AF_INET)
_INET6 = int(_types.AF_INET6)
_NI_NUMERIC = int(_types.NI_NUMERICHOST | _types.NI_NUMERICSERV)
_BROADCAST = ("<broadcast>", b"<broadcast>")

# What a look-up restricted to numeric hosts answers for a name, or for a service name
# that it may not look up either.
_NOT_NUMERIC = frozenset(
    getattr(_types, name)
    for name in ("EAI_NONAME", "EAI_SERVICE", "EAI_NODATA", "EAI_FAMILY")
    if hasattr(_types, name)
)

_raw_family = raw_socket.family.__get__


def _in_executor(what: str, func: Callable[..., Any], *args: Any) -> Any:
    """Make a blocking library call in one of the loop's threads."""
    hub = hub_to_wait_in(what)
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
        BlockingInLoopError: Called in the loop greenlet with a name; a coroutine
            awaits ``loop.getaddrinfo``.
    """
    if host is not None and not isinstance(host, (str, bytes)):
        # Whatever that is, the plain function knows what to say about it.
        return _getaddrinfo(host, port, family, type, proto, flags)
    try:
        return _getaddrinfo(host, port, family, type, proto, flags | _AI_NUMERICHOST)
    except _types.gaierror as exc:
        if flags & _AI_NUMERICHOST or exc.errno not in _NOT_NUMERIC:
            raise
    hub = hub_to_wait_in("getaddrinfo()")
    if hub is None:
        return _getaddrinfo(host, port, family, type, proto, flags)
    loop = hub.loop
    found: Any
    if getattr(loop.getaddrinfo, "__func__", None) is _STANDARD:
        found = loop.run_in_executor(
            None, _getaddrinfo, host, port, family, type, proto, flags
        )
    else:
        found = loop.getaddrinfo(
            host, port, family=family, type=type, proto=proto, flags=flags
        )
    return list(await_(found))


_STANDARD = asyncio.BaseEventLoop.getaddrinfo


def gethostbyname(hostname: Any) -> str:
    """Resolve a name to an IPv4 address, as `socket.gethostbyname`."""
    if isinstance(hostname, bytearray):
        hostname = bytes(hostname)
    if not isinstance(hostname, (str, bytes)) or _has_null(hostname):
        # The plain function says what is wrong with it.
        return _gethostbyname(hostname)
    if hostname in _BROADCAST:
        return "255.255.255.255"
    entries = getaddrinfo(hostname or "0.0.0.0", None, _INET, _types.SOCK_STREAM)  # noqa: S104
    return str(entries[0][4][0])


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
    if flags & _NI_NUMERIC == _NI_NUMERIC:
        return _getnameinfo(sockaddr, flags)
    result: tuple[str, str] = _in_executor(
        "getnameinfo()", _getnameinfo, sockaddr, flags
    )
    return result


# The standard function, looking its addresses up here.
getfqdn: Callable[..., str] = with_globals(
    cast("FunctionType", _types.getfqdn),
    {**vars(_types), "gethostbyaddr": gethostbyaddr},
)


def resolved(sock: SocketBase, address: Any, must: bool = True) -> Any:
    """Return an address with its host resolved, so that no system call has to.

    The first address of the socket's family is taken, as the plain socket does.

    Args:
        sock: The socket that the address is for.
        address: The address, of any family.
        must: Whether it is an error if nobody may wait for the answer here; otherwise
            the system call will look the name up itself.
    """
    family = _raw_family(sock)
    if family not in (_INET, _INET6) or not isinstance(address, tuple):
        return address
    if len(address) < 2 or not hasattr(address[1], "__index__"):
        # The system call refuses it, whatever the name means.
        return address
    host = address[0]
    if isinstance(host, bytearray):
        host = bytes(host)
    if not isinstance(host, (str, bytes)) or not host or host in _BROADCAST:
        return address
    if _has_null(host) or _is_numeric(host, family):
        # The former the system call refuses; a look-up would end at the null.
        return address
    try:
        entries = getaddrinfo(host, None, family)
    except UnicodeError:
        # No name, which the system call says as an error of the network's.
        return address
    except BlockingInLoopError:
        if must:
            raise
        return address
    found = entries[0][4]
    if family == _INET6 and 2 <= len(address) < 4:
        # A link-local address comes with the interface that it is valid on.
        flow = address[2] if len(address) > 2 else 0
        return (found[0], address[1], flow, found[3])
    return (found[0], *address[1:])


def _has_null(host: str | bytes) -> bool:
    return ("\0" if isinstance(host, str) else b"\0") in host  # type: ignore[operator]


def _is_numeric(host: str | bytes, family: int) -> bool:
    try:
        text = host if isinstance(host, str) else host.decode("ascii")
        _types.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True
