"""Interrupting who blocks the loop, by a signal."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from .monitor import Blocking, monitor


class _Alarm:
    """A monitor that has the blocking code interrupted, and what it replaced."""

    def __init__(self, resolution: float) -> None:
        self._before: Any = signal.signal(signal.SIGALRM, self._interrupt)
        self._monitor = monitor(resolution, self._ring)
        self._blocking: Blocking | None = None

    def end(self) -> None:
        self._monitor.close()
        signal.signal(signal.SIGALRM, self._before)

    def _ring(self, blocking: Blocking) -> None:
        """Called in the monitor's thread."""
        if not blocking.over:
            self._blocking = blocking
            signal.pthread_kill(self._monitor.thread_id, signal.SIGALRM)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        blocking, self._blocking = self._blocking, None
        # It may have gone on in the meantime, and somebody else be interrupted here.
        if blocking is not None and self._monitor.waiting:
            raise RuntimeError(f"Blocking detector ALARMED: {blocking}")


_alarm: _Alarm | None = None


def detect_blocking(state: bool, resolution: float) -> None:
    """Begin to interrupt who blocks the loop, or end it; see `greenio.debug`."""
    global _alarm  # noqa: PLW0603 - there is one SIGALRM
    if _alarm is not None:
        _alarm.end()
        _alarm = None
    if state:
        _alarm = _Alarm(resolution)
