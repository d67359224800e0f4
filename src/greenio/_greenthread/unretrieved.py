"""Reporting the failures of green threads that nobody asks about; see `thread`."""

from __future__ import annotations

from typing import Any

from .._kernel.hub import Hub
from .._std.interpreter_exit import is_exiting


class Unretrieved:
    """A failure that nobody has asked about; reported once, at the latest when it goes.

    It does not refer to the green thread, which refers to it.
    """

    __slots__ = ("_error", "_hub", "_name")

    def __init__(self, hub: Hub, name: str, error: BaseException) -> None:
        self._hub: Hub | None = hub
        self._name = name
        self._error: BaseException | None = error

    def retrieved(self) -> None:
        self._hub = self._error = None

    def make(self, thread: Any = None) -> None:
        """Report it, unless somebody has asked, or it was reported before."""
        hub, error = self._hub, self._error
        self.retrieved()
        if hub is None or not hub.debug_exceptions or is_exiting():
            return
        more: dict[str, Any] = {}
        if thread is not None:
            more["greenthread"] = thread
            spawned_at = getattr(thread, "_spawned_at", None)
            if spawned_at is not None:
                more["source_traceback"] = spawned_at
        hub.report(f"{self._name} failed, and nobody waited for it", error, **more)

    def __del__(self) -> None:
        self.make()
