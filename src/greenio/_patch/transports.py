"""The sockets that asyncio's transports hand out.

asyncio's own are originals, and so is a duplicate of one. It is the user's, who takes it
for what `socket.socket` makes, and would stop the loop with it.
"""

from __future__ import annotations

from asyncio.trsock import TransportSocket
from functools import wraps
from typing import Any

from .._net.socket import GreenSocket


def make_duplicates_green() -> None:
    """Have ``transport.get_extra_info("socket").dup()`` return a green socket."""
    duplicate = TransportSocket.dup

    @wraps(duplicate)
    def dup(self: TransportSocket) -> Any:
        plain: Any = duplicate(self)
        if isinstance(plain, GreenSocket):
            return plain
        timeout = plain.gettimeout()
        green = GreenSocket(plain.family, plain.type, plain.proto, plain.detach())
        green.settimeout(timeout)
        return green

    TransportSocket.dup = dup  # type: ignore[method-assign]
