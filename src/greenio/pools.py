"""Pools of items that are lent out: connections, tokens."""

from __future__ import annotations

from ._bridge.item_pool import Pool as Pool
from ._bridge.item_pool import Token as Token
from ._bridge.item_pool import TokenPool as TokenPool
from ._std.public_names import claim

__all__ = ["Pool", "Token", "TokenPool"]

claim(globals())
