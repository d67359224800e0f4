"""eventlet's name for its hub on select: here, every hub is one on asyncio."""

from __future__ import annotations

import errno

from .._kernel.hub import Hub as Hub

__all__ = ["BAD_SOCK", "Hub", "is_available"]

# Error numbers: the descriptor is none.
BAD_SOCK = {errno.EBADF}


def is_available() -> bool:
    """Whether the system has select: every one has."""
    return True
