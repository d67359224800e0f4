"""Timers, as `Hub.schedule_call_global` and `Hub.schedule_call_local` return them."""

from __future__ import annotations

from .._reactor.timers import LocalTimer as LocalTimer
from .._reactor.timers import Timer as Timer
from .._std.public_names import claim

__all__ = ["LocalTimer", "Timer"]

claim(globals())
