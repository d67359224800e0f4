"""Random histories of the queues against plain models of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from _machines import (
    EMPTY,
    ENDED,
    FULL,
    GIVEN,
    STOPPED,
    Player,
    PrimitiveMachine,
    check,
    kinds,
    timeouts,
)
from greenio.queue import Empty, Full, LifoQueue, LightQueue, PriorityQueue, Queue


class QueueMachine(PrimitiveMachine):
    @initialize(
        cls=st.sampled_from([LightQueue, Queue, LifoQueue, PriorityQueue]),
        maxsize=st.sampled_from([None, 0, 1, 2]),
    )
    def make(self, cls: Any, maxsize: int | None) -> None:
        self.primitive = cls(maxsize)
        self.cls = cls
        self.maxsize = maxsize
        self.items: list[Any] = []
        self.getters: list[Player] = []
        self.putters: list[Player] = []
        self.joiners: list[Player] = []
        self.number = 0
        self.unfinished = 0
        # Every item ends up in one of these.
        self.put_ok: set[Any] = set()
        self.taken: list[Any] = []
        self.interrupted: set[Any] = set()

    def late(self, player: Player) -> Any:
        return {"get": EMPTY, "put": FULL, "join": False}[player.role]

    def leave(self, player: Player) -> None:
        line = {"get": self.getters, "put": self.putters, "join": self.joiners}
        line[player.role].remove(player)
        if player.role == "put":
            self.interrupted.add(player.item)

    # The plain model: a list of items and three lines of players.

    def has_room(self) -> bool:
        return self.maxsize is None or len(self.items) < self.maxsize

    def pop(self) -> Any:
        if self.cls is LifoQueue:
            return self.items.pop()
        if self.cls is PriorityQueue:
            self.items.sort()
        return self.items.pop(0)

    def hand_over(self, item: Any) -> None:
        player = self.getters.pop(0)
        player.state = GIVEN
        player.item = player.expected = item

    def let_in(self) -> None:
        player = self.putters.pop(0)
        player.state = GIVEN
        self.items.append(player.item)
        self.unfinished += 1

    def offer(self, item: Any) -> bool:
        if self.getters:
            self.hand_over(item)
        elif self.has_room():
            self.items.append(item)
        else:
            return False
        self.unfinished += 1
        return True

    def take(self) -> Any:
        if not self.items and self.putters:
            self.let_in()
        if not self.items:
            return None
        item = self.pop()
        while self.putters and self.has_room():
            self.let_in()
        return item

    def undo(self, player: Player) -> None:
        if player.role == "get":
            if self.getters:
                self.hand_over(player.item)
            elif self.cls is LifoQueue:
                self.items.append(player.item)
            else:
                self.items.insert(0, player.item)
        elif player.role == "put" and player.item in self.items:
            self.items.remove(player.item)
            self.interrupted.add(player.item)
            self.unfinished -= 1
            while self.putters and self.has_room():
                self.let_in()
            self.joined()
        elif player.role == "put":
            # Taken before its putter was stopped: as if it had been stopped later.
            self.put_ok.add(player.item)

    def joined(self) -> None:
        if self.unfinished <= 0:
            for player in self.joiners:
                player.state = GIVEN
                player.expected = True
            self.joiners = []

    def turn(self) -> None:
        players = list(self.players)
        super().turn()
        for player in players:
            if player.state == ENDED and player.expected is not STOPPED:
                if player.role == "get" and player.expected is not EMPTY:
                    self.taken.append(player.expected)
                if player.role == "put" and player.expected is None:
                    self.put_ok.add(player.item)

    def new_item(self, priority: int) -> Any:
        self.number += 1
        return (priority, self.number)

    @rule(kind=kinds, timeout=timeouts, priority=st.integers(0, 3))
    def put(self, kind: str, timeout: float | None, priority: int) -> None:
        self.turn()
        item = self.new_item(priority)
        player = self.begin(kind, "put", timeout, "put", item)
        player.item = item
        if self.offer(item):
            player.ends_with(None)
        elif player.timeout == 0:
            player.ends_with(FULL)
            self.interrupted.add(item)
        else:
            self.putters.append(player)
        self.turn()

    @rule(kind=kinds, timeout=timeouts)
    def get(self, kind: str, timeout: float | None) -> None:
        self.turn()
        player = self.begin(kind, "get", timeout, "get")
        item = self.take()
        if item is not None:
            player.ends_with(item)
        elif player.timeout == 0:
            player.ends_with(EMPTY)
        else:
            self.getters.append(player)
        self.turn()

    @rule(priority=st.integers(0, 3))
    def put_nowait(self, priority: int) -> None:
        item = self.new_item(priority)
        if self.offer(item):
            self.primitive.put_nowait(item)
            self.put_ok.add(item)
        else:
            with pytest.raises(Full):
                self.primitive.put_nowait(item)

    @rule()
    def get_nowait(self) -> None:
        item = self.take()
        if item is None:
            with pytest.raises(Empty):
                self.primitive.get_nowait()
        else:
            assert self.primitive.get_nowait() == item
            self.taken.append(item)

    @rule(maxsize=st.sampled_from([None, 0, 1, 2, 3]))
    def resize(self, maxsize: int | None) -> None:
        self.primitive.resize(maxsize)
        self.maxsize = maxsize
        while self.putters and self.has_room():
            self.let_in()

    @precondition(lambda self: self.primitive and self.cls is not LightQueue)
    @rule(kind=kinds, timeout=timeouts)
    def join(self, kind: str, timeout: float | None) -> None:
        self.turn()
        player = self.begin(kind, "join", timeout, "join")
        if self.unfinished <= 0:
            player.ends_with(True)
        elif player.timeout == 0:
            player.ends_with(False)
        else:
            self.joiners.append(player)
        self.turn()

    @precondition(lambda self: self.primitive and self.cls is not LightQueue)
    @rule()
    def task_done(self) -> None:
        if self.unfinished <= 0:
            with pytest.raises(ValueError, match="too many times"):
                self.primitive.task_done()
            return
        self.primitive.task_done()
        self.unfinished -= 1
        self.joined()

    @invariant()
    def agrees(self) -> None:
        if self.primitive is None:
            return
        queue = self.primitive
        assert queue.qsize() == len(self.items)
        assert sorted(queue.queue) == sorted(self.items)
        if self.cls is not PriorityQueue:
            assert list(queue.queue) == self.items
        assert queue.full() == (not self.has_room())
        if self.cls is not LightQueue:
            assert queue.unfinished_tasks == self.unfinished
        # Nobody waits without a reason.
        assert not (self.getters and (self.items or self.putters))
        assert not (self.putters and self.has_room())

    def check_end(self) -> None:
        queue = self.primitive
        assert queue.getting() == queue.putting() == 0
        rest = []
        while self.items:
            rest.append(queue.get_nowait())
            assert rest[-1] == self.take()
        out = [*self.taken, *rest]
        assert len(set(out)) == len(out)
        assert set(out) == self.put_ok
        assert not self.interrupted & set(out)


@pytest.mark.parametrize("loop_kind", ["virtual", "uvloop"])
@pytest.mark.parametrize("machine", [QueueMachine])
def test_agrees_with_its_model(machine, loop_kind):
    check(machine, loop_kind)
