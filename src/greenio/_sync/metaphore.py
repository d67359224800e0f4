"""`metaphore`: a counter that can be waited for to come to nothing."""

from __future__ import annotations

from dataclasses import dataclass

from .event import Event


@dataclass(frozen=True)
class MetaphoreStatistics:
    """What `metaphore.statistics` returns.

    Attributes:
        counter: How many are under way.
        waiting: How many wait for the last of them.
    """

    counter: int
    waiting: int


class metaphore:  # noqa: N801 - eventlet's name
    """A counter that can be waited for to come to nothing: a semaphore backwards.

    Each piece of work calls `inc` when it begins and `dec` when it has ended; `wait`
    waits until none is left.

    Attributes:
        counter: How many there are.
        event: The event that is sent when there are none.
    """

    def __init__(self) -> None:
        self.counter: int = 0
        self.event: Event[None] = Event()
        # Nothing to wait for yet.
        self.event.send()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} counter={self.counter} at {id(self):#x}>"

    def inc(self, by: int = 1) -> None:
        """Count more.

        Args:
            by: How many.

        Raises:
            AssertionError: `by` is not positive.
        """
        if by <= 0:
            raise AssertionError(f"inc() counts up by 1 or more, not by {by!r}")
        self.counter += by
        if self.counter == by:
            # Whoever waits from now on waits for these.
            self.event.reset()

    def dec(self, by: int = 1) -> None:
        """Count down; at nothing, everybody who waits goes on.

        Args:
            by: How many.

        Raises:
            AssertionError: `by` is not positive, or more than were counted.
        """
        if by <= 0 or by > self.counter:
            raise AssertionError(
                f"dec() counts down by 1 to {self.counter} now, not by {by!r}"
            )
        self.counter -= by
        if self.counter == 0:
            self.event.send()

    def wait(self) -> None:
        """Wait until the count is nothing; return at once if it is."""
        self.event.wait()

    async def wait_async(self) -> None:
        """Wait as a coroutine; see `wait`."""
        await self.event.wait_async()

    def statistics(self) -> MetaphoreStatistics:
        """Return numbers about the current state."""
        return MetaphoreStatistics(self.counter, self.event.statistics().waiting)
