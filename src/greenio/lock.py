"""Locks and conditions."""

from __future__ import annotations

from ._std.public_names import claim
from ._sync.condition import Condition as Condition
from ._sync.condition import ConditionStatistics as ConditionStatistics
from ._sync.lock import Lock as Lock
from ._sync.lock import LockStatistics as LockStatistics
from ._sync.lock import RLock as RLock

__all__ = ["Condition", "ConditionStatistics", "Lock", "LockStatistics", "RLock"]

claim(globals())
