"""Pools of items that are lent out: connections, tokens."""

from __future__ import annotations

from ._bridge.item_pool import Channel as Channel
from ._bridge.item_pool import Pool as Pool
from ._bridge.item_pool import PoolStatistics as PoolStatistics
from ._bridge.item_pool import Token as Token
from ._bridge.item_pool import TokenPool as TokenPool
from ._std.public_names import claim

__all__ = ["Channel", "Pool", "PoolStatistics", "Token", "TokenPool"]

claim(globals())
