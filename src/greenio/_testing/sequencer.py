"""Having green threads and coroutines take numbered turns, and knowing that all wait."""

from __future__ import annotations

from types import TracebackType

from .._greenthread.sleeping import sleep
from .._kernel.current import get_hub
from .._kernel.hub import Hub
from .._sync.event import Event

# Turns of the loop in which nobody may become ready: a callback of one may schedule the
# callback of the next, which wakes somebody.
_QUIET_TURNS = 4


class Sequencer:
    """Numbered turns for green threads and coroutines.

    ``with sequencer(0): ...`` runs first, ``with sequencer(1): ...`` when that block has
    been left, and so on; coroutines write ``async with``. Each number is used once.
    """

    def __init__(self) -> None:
        self._turn = 0
        self._taken: set[int] = set()
        self._events: dict[int, Event[None]] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} turn={self._turn}>"

    def __call__(self, number: int) -> _Turn:
        """Return the block that is run when its turn comes.

        Args:
            number: Which turn, from 0.

        Raises:
            ValueError: The number has been used already, or is negative.
        """
        if number < 0 or number in self._taken:
            raise ValueError(
                f"sequencer({number}) was used already: each turn is taken once, from 0"
                if number in self._taken
                else f"sequencer() takes turns from 0, not {number}"
            )
        self._taken.add(number)
        return _Turn(self, number)

    def event_of(self, number: int) -> Event[None]:
        """Return what is set when that turn comes."""
        event = self._events.setdefault(number, Event())
        if number == self._turn and not event.ready():
            event.send(None)
        return event

    def next_turn(self) -> None:
        """Let the next one go on."""
        self._turn += 1
        self.event_of(self._turn)


class _Turn:
    def __init__(self, sequencer: Sequencer, number: int) -> None:
        self._sequencer = sequencer
        self._number = number

    def __enter__(self) -> None:
        self._sequencer.event_of(self._number).wait()

    async def __aenter__(self) -> None:
        await self._sequencer.event_of(self._number).wait_async()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sequencer.next_turn()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sequencer.next_turn()


def wait_all_parked(cushion: float = 0.0) -> None:
    """Let the others run until everybody waits for something.

    Then what was started has got as far as it gets by itself: it waits for a lock, an
    item, a descriptor, or for time to pass.

    Args:
        cushion: For how many seconds, by the loop's clock, nobody may have run; more
            than 0 gives what comes by a descriptor the time to come.

    Raises:
        BlockingInLoopError: Called in the loop greenlet, such as by a coroutine.
    """
    hub = get_hub()
    quiet = 0
    while quiet < _QUIET_TURNS:
        sleep(0)
        quiet = 0 if _somebody_is_ready(hub) else quiet + 1
        if quiet == _QUIET_TURNS and cushion > 0:
            drains = hub.drains
            sleep(cushion)
            cushion = 0.0 if hub.drains <= drains + 1 else cushion
            quiet = 0


def _somebody_is_ready(hub: Hub) -> bool:
    halves = (hub, hub.twin or hub)
    # The standard loop's own run queue, where Tasks stand.
    callbacks = getattr(hub.loop, "_ready", ())
    return bool(callbacks) or any(half.ready or half.batch for half in halves)
