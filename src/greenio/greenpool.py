"""Pools of green threads, and piles of their results."""

from __future__ import annotations

from ._greenthread.pile import GreenMap as GreenMap
from ._greenthread.pile import GreenPile as GreenPile
from ._greenthread.pool import GreenPool as GreenPool
from ._std.public_names import claim

__all__ = ["GreenMap", "GreenPile", "GreenPool"]

claim(globals())
