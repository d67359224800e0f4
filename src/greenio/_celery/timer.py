"""The worker's timer: heartbeats, tasks with an ETA, rate limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .._greenthread.spawning import spawn_after
from .._greenthread.thread import GreenThread
from .._std.originals import monotonic

if TYPE_CHECKING:
    # kombu has no types; whatever is not named here may be anything.

    class Entry:
        canceled: bool

        def cancel(self) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

    class _Timer:
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...
        def apply_entry(self, entry: Entry) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

else:
    from kombu.asynchronous.timer import Entry
    from kombu.asynchronous.timer import Timer as _Timer


class _Scheduled(NamedTuple):
    """An entry, as `inspect scheduled` looks at it."""

    eta: float
    priority: int
    entry: Entry
    thread: GreenThread


class Timer(_Timer):
    """Runs each entry in a green thread, when it is due.

    Unlike Celery's timers for green pools, it returns the entry itself from ``call_*``, so
    that what repeats can be called off.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._queue: dict[Entry, _Scheduled] = {}

    def _enter(self, eta: float, priority: int, entry: Entry, **_: Any) -> Entry:
        # An entry that is entered again replaces itself.
        self._drop(entry)
        thread = spawn_after(max(eta - monotonic(), 0), self._due, entry)
        self._queue[entry] = _Scheduled(eta, priority, entry, thread)
        return entry

    def _due(self, entry: Entry) -> None:
        self._queue.pop(entry, None)
        if not entry.canceled:
            self.apply_entry(entry)

    def _drop(self, entry: Entry) -> None:
        scheduled = self._queue.pop(entry, None)
        if scheduled is not None:
            scheduled.thread.cancel()

    def cancel(self, tref: Entry) -> None:
        """Call an entry off."""
        tref.cancel()
        self._drop(tref)

    def clear(self) -> None:
        """Call all entries off."""
        for entry in list(self._queue):
            self.cancel(entry)

    def stop(self) -> None:
        """Call all entries off, for the worker ends."""
        self.clear()

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("this timer runs its entries by itself; nobody has to step it")

    @property
    def queue(self) -> list[_Scheduled]:
        """What is to come, the next one first."""
        waiting = [each for each in self._queue.values() if not each.entry.canceled]
        return sorted(waiting, key=lambda each: (each.eta, each.priority))
