"""eventlet's name for its hub on kqueue: here, every hub is one on asyncio."""

from __future__ import annotations

from .._kernel.hub import Hub as Hub
from .._std import originals as _originals

__all__ = ["Hub", "is_available"]


def is_available() -> bool:
    """Whether the system has kqueue, which the standard loop then uses."""
    return _originals.kqueue is not None
