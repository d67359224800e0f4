"""Pools of green threads, and piles of their results."""

from __future__ import annotations

from ._greenthread.pile import GreenMap as GreenMap
from ._greenthread.pile import GreenPile as GreenPile
from ._greenthread.pile import GreenPileStatistics as GreenPileStatistics
from ._greenthread.pool import GreenPool as GreenPool
from ._greenthread.pool import GreenPoolStatistics as GreenPoolStatistics
from ._std.errors import WaitingForItselfError as WaitingForItselfError
from ._std.protocols import PoolIdleness as PoolIdleness
from ._std.protocols import PoolSlots as PoolSlots
from ._std.public_names import claim

__all__ = [
    "DEBUG",
    "GreenMap",
    "GreenPile",
    "GreenPileStatistics",
    "GreenPool",
    "GreenPoolStatistics",
    "PoolIdleness",
    "PoolSlots",
    "WaitingForItselfError",
]

# eventlet prints what functions of a pool raise while this is true. Here they are
# reported in any case, if nobody asks for them.
DEBUG = True

claim(globals())
