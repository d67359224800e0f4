"""Random histories of events and semaphores against plain models of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from _machines import GIVEN, Player, PrimitiveMachine, Raises, check, kinds, timeouts
from greenio.event import Event
from greenio.lock import Lock
from greenio.semaphore import BoundedSemaphore, CappedSemaphore, Semaphore

# -- events -------------------------------------------------------------------------------


class Boom(Exception):
    pass


BOOM = Raises(Boom)


class EventMachine(PrimitiveMachine):
    @initialize()
    def make(self) -> None:
        self.primitive = Event()
        self.sent: Any = None
        self.line: list[Player] = []

    def late(self, player: Player) -> Any:
        return None

    def leave(self, player: Player) -> None:
        self.line.remove(player)

    @rule(kind=kinds, timeout=timeouts)
    def wait(self, kind: str, timeout: float | None) -> None:
        self.turn()
        player = self.begin(kind, "wait", timeout, "wait")
        if self.sent is not None:
            player.ends_with(self.sent)
        elif player.timeout == 0:
            player.ends_with(None)
        else:
            self.line.append(player)
        self.turn()

    def give_all(self, outcome: Any) -> None:
        self.sent = outcome
        for player in self.line:
            player.state = GIVEN
            player.expected = outcome
        self.line = []

    @precondition(lambda self: self.sent is None)
    @rule(value=st.integers(1, 9))
    def send(self, value: int) -> None:
        self.primitive.send(value)
        self.give_all(value)

    @precondition(lambda self: self.sent is None)
    @rule()
    def send_exception(self) -> None:
        self.primitive.send_exception(Boom("sent"))
        self.give_all(BOOM)

    @precondition(lambda self: self.sent is not None)
    @rule()
    def reset(self) -> None:
        self.primitive.reset()
        self.sent = None

    @precondition(lambda self: self.sent is not None)
    @rule()
    def send_again(self) -> None:
        with pytest.raises(AssertionError):
            self.primitive.send(0)

    @invariant()
    def agrees(self) -> None:
        if self.primitive is not None:
            assert self.primitive.ready() == (self.sent is not None)
            assert self.primitive.has_exception() == (self.sent is BOOM)

    def check_end(self) -> None:
        assert self.primitive.statistics().waiting == 0


# -- semaphores ---------------------------------------------------------------------------


class SemaphoreMachine(PrimitiveMachine):
    @initialize(
        value=st.integers(0, 2),
        cls=st.sampled_from([Semaphore, BoundedSemaphore, Lock]),
    )
    def make(self, value: int, cls: Any) -> None:
        if cls is Lock:
            value = 1
        self.primitive = cls(value)
        self.limit = value
        self.free = value
        self.held = 0
        self.line: list[Player] = []

    def late(self, player: Player) -> Any:
        return False

    def leave(self, player: Player) -> None:
        self.line.remove(player)

    def give_back(self) -> None:
        self.held -= 1
        if self.line:
            player = self.line.pop(0)
            player.state = GIVEN
            player.expected = True
            self.held += 1
        else:
            self.free += 1

    def undo(self, player: Player) -> None:
        self.give_back()

    @rule(kind=kinds, timeout=timeouts)
    def acquire(self, kind: str, timeout: float | None) -> None:
        self.turn()
        player = self.begin(kind, "acquire", timeout, "acquire")
        if self.free:
            self.free -= 1
            self.held += 1
            player.ends_with(True)
        elif player.timeout == 0:
            player.ends_with(False)
        else:
            self.line.append(player)
        self.turn()

    @rule()
    def acquire_without_waiting(self) -> None:
        assert self.primitive.acquire(blocking=False) == (self.free > 0)
        if self.free:
            self.free -= 1
            self.held += 1

    @rule()
    def release(self) -> None:
        cls = type(self.primitive)
        if cls is BoundedSemaphore and self.free >= self.limit:
            with pytest.raises(ValueError, match="too many times"):
                self.primitive.release()
        elif cls is Lock and self.free:
            with pytest.raises(RuntimeError, match="unlocked"):
                self.primitive.release()
        else:
            self.primitive.release()
            self.give_back()

    @invariant()
    def agrees(self) -> None:
        if self.primitive is not None:
            assert self.primitive.counter == self.free
            assert self.primitive.locked() == (self.free == 0)
            # Nobody waits while a permit is free.
            assert not (self.free and self.line)

    def check_end(self) -> None:
        assert self.primitive.balance == self.free


class CappedSemaphoreMachine(PrimitiveMachine):
    @initialize(free=st.integers(0, 2), room=st.integers(0, 2))
    def make(self, free: int, room: int) -> None:
        self.primitive = CappedSemaphore(free, free + room)
        self.limit = free + room
        self.free = free
        self.acquirers: list[Player] = []
        self.releasers: list[Player] = []

    def late(self, player: Player) -> Any:
        return False

    def leave(self, player: Player) -> None:
        line = self.acquirers if player.role == "acquire" else self.releasers
        line.remove(player)

    def put_in(self) -> None:
        if self.acquirers:
            player = self.acquirers.pop(0)
            player.state = GIVEN
            player.expected = True
        else:
            self.free += 1

    def take_out(self) -> None:
        self.free -= 1
        if self.releasers and self.free < self.limit:
            player = self.releasers.pop(0)
            player.state = GIVEN
            player.expected = True
            self.free += 1

    def undo(self, player: Player) -> None:
        if player.role == "acquire":
            self.put_in()
        elif self.free:
            self.take_out()

    @rule(kind=kinds, timeout=timeouts)
    def acquire(self, kind: str, timeout: float | None) -> None:
        self.turn()
        player = self.begin(kind, "acquire", timeout, "acquire")
        if self.free:
            self.take_out()
            player.ends_with(True)
        elif player.timeout == 0:
            player.ends_with(False)
        else:
            self.acquirers.append(player)
        self.turn()

    @rule(kind=kinds, timeout=timeouts)
    def release(self, kind: str, timeout: float | None) -> None:
        self.turn()
        player = self.begin(kind, "release", timeout, "release")
        if self.free < self.limit:
            self.put_in()
            player.ends_with(True)
        elif player.timeout == 0:
            player.ends_with(False)
        else:
            self.releasers.append(player)
        self.turn()

    @rule()
    def acquire_without_waiting(self) -> None:
        assert self.primitive.acquire(blocking=False) == (self.free > 0)
        if self.free:
            self.take_out()

    @rule()
    def release_without_waiting(self) -> None:
        room = self.free < self.limit
        assert self.primitive.release(blocking=False) == room
        if room:
            self.put_in()

    @invariant()
    def agrees(self) -> None:
        if self.primitive is not None:
            assert self.primitive.counter == self.free
            assert not (self.free and self.acquirers)
            assert not (self.free < self.limit and self.releasers)

    def check_end(self) -> None:
        statistics = self.primitive.statistics()
        assert statistics.acquiring == statistics.releasing == 0


@pytest.mark.parametrize("loop_kind", ["virtual", "uvloop"])
@pytest.mark.parametrize(
    "machine", [EventMachine, SemaphoreMachine, CappedSemaphoreMachine]
)
def test_agrees_with_its_model(machine, loop_kind):
    check(machine, loop_kind)
