"""What eventlet's listeners have, for who looks at what a hub waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class ListenerNames:
    """The names that eventlet gives to what a `Listener` knows."""

    __slots__ = ()

    fd: int
    event: str
    waiter: Any
    closed: bool
    close: Callable[[], None]

    @property
    def evtype(self) -> str:
        """``"read"`` or ``"write"``."""
        return self.event

    @property
    def fileno(self) -> int:
        """The descriptor."""
        return self.fd

    @property
    def greenlet(self) -> Any:
        """Who waits; None for nobody."""
        return self.waiter

    @property
    def cb(self) -> Any:
        """What is called when the descriptor is ready: the waiter's `switch`."""
        return None if self.waiter is None else self.waiter.switch

    @property
    def tb(self) -> Any:
        """What is called with an exception: the waiter's `throw`."""
        return None if self.waiter is None else self.waiter.throw

    @property
    def mark_as_closed(self) -> Callable[[], None]:
        """What is called when the descriptor is closed."""
        return self.close

    @property
    def spent(self) -> bool:
        """Whether the descriptor has been closed."""
        return self.closed

    def defang(self) -> None:
        """Let go of the descriptor: it has been closed."""
        self.close()
