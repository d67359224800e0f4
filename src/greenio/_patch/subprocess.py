"""Waiting for a `Popen` with a time limit, without looking again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .children import wait_for_exit


def green_wait(namespace: dict[str, Any]) -> Callable[..., int]:
    """Make `Popen._wait` for a `subprocess` namespace."""
    original: Callable[..., int] = namespace["Popen"]._wait

    def _wait(self: Any, timeout: float | None) -> int:
        if (
            timeout is not None
            and self.returncode is None
            and not wait_for_exit(self.pid, timeout)
            # It may have ended in this very moment.
            and self.poll() is None
        ):
            raise namespace["TimeoutExpired"](self.args, timeout)
        return original(self, timeout)

    return _wait
