"""Calls that were due when an interrupt came before them."""

from __future__ import annotations

import asyncio
import gc

from .._reactor.calls import LostCall, is_lost
from .._reactor.moments import Moment
from .._reactor.timers import LocalTimer, Timer
from .run_queue import RunQueue


def resume_overdue(hub: RunQueue) -> None:
    """Have them made after all.

    The loop has forgotten them. Finding them is slow, and so rare that nothing is to
    be kept for it.
    """
    loop = hub.loop
    now = loop.time()
    for timer in gc.get_objects():
        if type(timer) is asyncio.TimerHandle:
            if is_lost(timer, loop, now):
                hub.wake(LostCall(timer))
        elif type(timer) in (Moment, LocalTimer, Timer):
            try:
                overdue = timer.is_overdue(hub, now)
            except AttributeError:
                # Whoever was making it has been interrupted.
                continue
            if overdue:
                timer.make_due()
