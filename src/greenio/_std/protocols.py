"""What public functions return, where the class itself is nobody's business.

Users annotate with these; a class of the engine that has the methods may change its others.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Results(Protocol[T_co]):
    """What comes one by one: for ``for`` in green code, and ``async for`` in coroutines."""

    def __iter__(self) -> Results[T_co]: ...

    def __next__(self) -> T_co:
        """Wait for the next one.

        Raises:
            StopIteration: There are no more.
        """
        ...

    def __aiter__(self) -> Results[T_co]: ...

    async def __anext__(self) -> T_co:
        """Await the next one.

        Raises:
            StopAsyncIteration: There are no more.
        """
        ...


class ClosableResults(Results[T_co], Protocol[T_co]):
    """`Results` that may be given up before their end."""

    def __iter__(self) -> ClosableResults[T_co]: ...

    def __aiter__(self) -> ClosableResults[T_co]: ...

    def close(self) -> None:
        """Want no more, and wait for nothing more."""
        ...


class PendingCall(Protocol):
    """A call that is due later, and can be called off."""

    @property
    def called(self) -> bool:
        """Whether it has been made, or called off."""
        ...

    @property
    def pending(self) -> bool:
        """Whether it is still to come."""
        ...

    def cancel(self) -> None:
        """Call it off; afterwards that does nothing."""
        ...


class PoolSlots(Protocol):
    """A pool's slots, in the form of a semaphore."""

    @property
    def counter(self) -> int:
        """How many are free; assigned to, there are so many."""
        ...

    @counter.setter
    def counter(self, value: int) -> None: ...

    @property
    def balance(self) -> int:
        """How many are free; if negative, how many more would be needed now."""
        ...

    def locked(self) -> bool:
        """Whether `GreenPool.spawn` would have to wait now."""
        ...

    def bounded(self) -> bool:
        """Whether `release` would have to wait now: never."""
        ...

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a slot out of the pool.

        Args:
            blocking: Whether to wait for one.
            timeout: Seconds to wait at most; None for as long as it takes.

        Returns:
            Whether there is one less now.
        """
        ...

    def release(self, blocking: bool = True) -> bool:
        """Put a slot into the pool; whoever waits for one gets it."""
        ...

    def __enter__(self) -> bool: ...

    def __exit__(self, typ: object, val: object, tb: object) -> Any: ...


class PoolIdleness(Protocol):
    """That a pool runs nothing, in the form of an event."""

    def ready(self) -> bool:
        """Whether nothing is running."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is running.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.

        Returns:
            Whether it came to that.
        """
        ...

    async def wait_async(self, timeout: float | None = None) -> bool:
        """Wait as a coroutine; see `wait`."""
        ...
