"""Measuring how late a loop is."""

from __future__ import annotations

import asyncio

from .._greenthread.sleeping import sleep
from .._std.originals import monotonic


def measure_lag(seconds: float = 0.0) -> float:
    """Sleep, and return how many seconds too late that ended.

    That is how long what runs on the loop keeps others waiting. Call it now and then in a
    green thread of its own, for a metric; coroutines use `measure_lag_async`.

    Args:
        seconds: How long to sleep; the default is one turn of the loop.
    """
    began = monotonic()
    sleep(seconds)
    return max(0.0, monotonic() - began - seconds)


async def measure_lag_async(seconds: float = 0.0) -> float:
    """Measure the lag as a coroutine; see `measure_lag`."""
    began = monotonic()
    await asyncio.sleep(seconds)
    return max(0.0, monotonic() - began - seconds)
