"""Semaphores: so many at a time, first come, first served."""

from __future__ import annotations

from ._std.public_names import claim
from ._sync.semaphore import BoundedSemaphore as BoundedSemaphore
from ._sync.semaphore import CappedSemaphore as CappedSemaphore
from ._sync.semaphore import CappedSemaphoreStatistics as CappedSemaphoreStatistics
from ._sync.semaphore import Semaphore as Semaphore
from ._sync.semaphore import SemaphoreStatistics as SemaphoreStatistics

__all__ = [
    "BoundedSemaphore",
    "CappedSemaphore",
    "CappedSemaphoreStatistics",
    "Semaphore",
    "SemaphoreStatistics",
]

claim(globals())
