"""Green threads that wait for each other's results: a directed acyclic graph."""

from __future__ import annotations

from ._greenthread.dag import Collision as Collision
from ._greenthread.dag import DAGPool as DAGPool
from ._greenthread.dag import DAGPoolStatistics as DAGPoolStatistics
from ._greenthread.dag import PropagateError as PropagateError
from ._std.public_names import claim

__all__ = ["Collision", "DAGPool", "DAGPoolStatistics", "PropagateError"]

claim(globals())
