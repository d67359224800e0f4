"""eventlet's name for the hub on asyncio: here, every hub is one."""

from __future__ import annotations

from .._kernel.hub import Hub as Hub
from .._std.public_names import claim

__all__ = ["Hub", "is_available"]

claim(globals())


def is_available() -> bool:
    """Whether this hub can be used: always."""
    return True
