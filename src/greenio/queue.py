"""Queues: first in, first out, last out, by priority, and without a limit."""

from __future__ import annotations

from queue import Empty as Empty  # noqa: TID251 - a class; nothing of it is patched
from queue import Full as Full  # noqa: TID251

from ._std.public_names import claim
from ._sync.light_queue import LightQueue as LightQueue
from ._sync.light_queue import QueueStatistics as QueueStatistics
from ._sync.light_queue import SimpleQueue as SimpleQueue
from ._sync.ordered_queues import LifoQueue as LifoQueue
from ._sync.ordered_queues import PriorityQueue as PriorityQueue
from ._sync.queue import Queue as Queue
from ._sync.single_waiter import ItemWaiter as ItemWaiter
from ._sync.single_waiter import Waiter as Waiter

__all__ = [
    "Empty",
    "Full",
    "ItemWaiter",
    "LifoQueue",
    "LightQueue",
    "PriorityQueue",
    "Queue",
    "QueueStatistics",
    "SimpleQueue",
    "Waiter",
]

claim(globals())
