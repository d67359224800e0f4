"""Timers, as `Hub.schedule_call_global` and `Hub.schedule_call_local` return them."""

from __future__ import annotations

from .._kernel.timers import Timer as Timer
from .._std.public_names import claim

LocalTimer = Timer

__all__ = ["LocalTimer", "Timer"]

claim(globals())
