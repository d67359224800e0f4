"""Numbers about a hub. Nothing is counted for them while a program runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._reactor.descriptors import READ, WRITE
from .._std.originals import all_tasks


@dataclass(frozen=True)
class HubStatistics:
    """What `Hub.statistics` returns.

    Attributes:
        green_threads: How many have not ended.
        tasks: How many tasks of the loop have not ended, without greenio's own.
        ready: How many green threads and calls are on the run queue.
        turns: How often the run queue has been drained. Each time, all that were ready
            are switched to.
        readers: How many descriptors somebody waits to read from.
        writers: How many descriptors somebody waits to write to.
        registered: How many (descriptor, direction) are registered with the loop; they
            stay so between two waits.
        timers: How many time limits, calls and ends of sleeps are to come: `Timeout`,
            `spawn_after`, `sleep`.
        lag: By how many seconds the timer of the loop is late that was due first; 0.0 if
            none is. None where the loop does not show its timers, as uvloop;
            `greenio.debug.measure_lag` measures on every loop.
    """

    green_threads: int
    tasks: int
    ready: int
    turns: int
    readers: int
    writers: int
    registered: int
    timers: int
    lag: float | None


def statistics_of(hub: Any) -> HubStatistics:
    """Return numbers about a hub."""
    halves = (hub,) if hub.twin is None else (hub, hub.twin)
    listeners = hub.descriptors
    tasks = [task for task in all_tasks(hub.loop) if task is not hub._supervisor]
    return HubStatistics(
        green_threads=len(hub.green_threads()),
        tasks=len(tasks),
        ready=sum(len(half.ready) + len(half.batch) for half in halves),
        turns=sum(half.drains for half in halves),
        readers=len(listeners.waiting(READ)),
        writers=len(listeners.waiting(WRITE)),
        registered=len(listeners.registered()),
        timers=hub.timers,
        lag=_lag(hub.loop),
    )


def _lag(loop: Any) -> float | None:
    scheduled = getattr(loop, "_scheduled", None)
    if not isinstance(scheduled, list):
        return None
    # A heap, in which those that were called off stay for a while.
    due = [timer.when() for timer in scheduled.copy() if not timer.cancelled()]
    return max(0.0, loop.time() - min(due)) if due else 0.0
