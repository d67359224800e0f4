"""Timers, as `Hub.schedule_call_global` and `Hub.schedule_call_local` return them."""

from __future__ import annotations

from .._kernel.timers import Timer as Timer

LocalTimer = Timer

__all__ = ["LocalTimer", "Timer"]
