"""Random histories of the primitives against plain models of them.

Each machine starts green threads and coroutines that make one waiting call, wakes them,
kills and cancels them, moves the clock past their time limits and lets the loop run, in
any order. A step does not let the loop run unless it says so: kills, cancellations and
time limits meet wake-ups that were given and not yet taken.

The models hold lists of players and items; they say what each call must return and what
must be left. What makes them more than a copy of the implementation:

* *given*: somebody was handed something and has not run yet.
* A killed green thread gives it back at once, a cancelled coroutine when it next runs
  (*limbo*), which is before the timers of that turn.
* Killing a green thread lets the loop run; cancelling a coroutine does not.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
from typing import Any

import pytest
from greenlet import GreenletExit
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from _support import (
    CoroutineActor,
    GreenActor,
    VirtualLoop,
    end_hub,
    settle,
)
from greenio import hubs
from greenio.event import Event
from greenio.lock import Lock
from greenio.queue import Empty, Full, LifoQueue, LightQueue, PriorityQueue, Queue
from greenio.semaphore import BoundedSemaphore, CappedSemaphore, Semaphore

kinds = st.sampled_from(["green", "coroutine"])
# Mostly without a limit; a few different ones, so that some end together.
timeouts = st.sampled_from([None, None, None, 0, 1, 2, 3])
choices = st.integers(0, 999)

WAITING, GIVEN, LIMBO, ENDED = "waiting", "given", "limbo", "ended"


class Raises:
    """The expected outcome of a call that raises one of these."""

    def __init__(self, *classes: type[BaseException]) -> None:
        self.classes = classes


STOPPED = Raises(GreenletExit, asyncio.CancelledError)
EMPTY = Raises(Empty)
FULL = Raises(Full)


class Player:
    """An actor, and what the model thinks of it."""

    def __init__(self, kind: str, role: str, deadline: float | None) -> None:
        self.kind = kind
        self.role = role
        self.deadline = deadline
        self.state = WAITING
        self.item: Any = None
        self.expected: Any = None
        self.actor: Any = None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.role} {self.state} {self.item}>"

    def ends_with(self, outcome: Any) -> None:
        """The call returns this, or raises it if it is a `Raises`."""
        self.state = ENDED
        self.expected = outcome

    def check(self) -> None:
        actor = self.actor
        if self.state == WAITING:
            assert not actor.finished, self
            return
        if isinstance(self.expected, Raises):
            assert isinstance(actor.error, self.expected.classes), (self, actor.error)
        else:
            assert actor.error is None, (self, actor.error)
            assert actor.finished, self
            assert actor.result == self.expected, (self, actor.result)


class PrimitiveMachine(RuleBasedStateMachine):
    """The players, the clock and the loop."""

    def __init__(self, loop_kind: str) -> None:
        super().__init__()
        # As in conftest.py: what hypothesis has piled up is not searched again.
        gc.freeze()
        self.virtual = loop_kind == "virtual"
        hubs.use_hub(VirtualLoop if self.virtual else loop_kind)
        self.loop = hubs.get_hub().loop
        self.now = 0.0
        self.players: list[Player] = []
        self.limbo: list[Player] = []
        self.primitive: Any = None

    def teardown(self) -> None:
        try:
            if self.primitive is not None:
                self.turn()
                while self.pending():
                    self.stop_player(self.pending()[-1])
                self.turn()
                assert not self.pending()
                self.check_end()
        finally:
            end_hub()
            hubs.use_hub()

    # -- for the machines -------------------------------------------------------------

    def check_end(self) -> None:
        """Check what is left when everybody has been stopped."""

    def undo(self, player: Player) -> None:
        """A player that was given something ends without taking it."""

    def leave(self, player: Player) -> None:
        """A waiting player leaves its line."""

    def late(self, player: Player) -> Any:
        """Return the outcome of a call whose time is up."""
        raise NotImplementedError

    def begin(
        self, kind: str, role: str, timeout: float | None, method: str, *args: Any
    ) -> Player:
        """Let one player make one call; the model must know the outcome already."""
        if not self.virtual and timeout:
            timeout = None
        deadline = None if timeout is None else self.now + timeout
        player = Player(kind, role, deadline)
        player.timeout = timeout
        cls = GreenActor if kind == "green" else CoroutineActor
        player.actor = cls(self.primitive, method, args, {"timeout": timeout})
        self.players.append(player)
        return player

    def pending(self) -> list[Player]:
        return [player for player in self.players if player.state in (WAITING, GIVEN)]

    def stop_player(self, player: Player) -> None:
        given = player.state == GIVEN
        player.actor.stop()
        if not given:
            self.leave(player)
        player.ends_with(STOPPED)
        if player.kind == "green":
            if given:
                self.undo(player)
            # The victim ends at once, but then those who are ready may come before the
            # killer goes on.
            self.turn()
        elif given:
            player.state = LIMBO
            self.limbo.append(player)

    def turn(self) -> None:
        settle()
        limbo, self.limbo = self.limbo, []
        for player in limbo:
            player.state = ENDED
            self.undo(player)
        due = [
            player
            for player in self.players
            if player.state == WAITING
            and player.deadline is not None
            and player.deadline <= self.now
        ]
        for player in due:
            self.leave(player)
            player.ends_with(self.late(player))
        for player in self.players:
            if player.state == GIVEN:
                player.state = ENDED
            player.check()
        self.players = [player for player in self.players if player.state == WAITING]

    # -- rules for all ----------------------------------------------------------------

    @rule()
    def let_run(self) -> None:
        self.turn()

    @rule(choice=choices)
    def stop(self, choice: int) -> None:
        pending = self.pending()
        if pending:
            self.stop_player(pending[choice % len(pending)])

    @precondition(lambda self: self.virtual)
    @rule(seconds=st.sampled_from([1, 2, 5]))
    def move_the_clock(self, seconds: int) -> None:
        self.now += seconds
        self.loop.now += seconds


# -- events -----------------------------------------------------------------------------


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


# -- semaphores -------------------------------------------------------------------------


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


# -- queues -----------------------------------------------------------------------------


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


MACHINES = [EventMachine, SemaphoreMachine, CappedSemaphoreMachine, QueueMachine]


@pytest.mark.parametrize("loop_kind", ["virtual", "uvloop"])
@pytest.mark.parametrize("machine", MACHINES)
def test_agrees_with_its_model(machine, loop_kind):
    if loop_kind == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    # uvloop's clock cannot be moved: there, only kills and cancellations interfere.
    examples = settings.default.max_examples
    run_state_machine_as_test(
        lambda: machine(loop_kind),
        settings=settings(
            max_examples=examples if loop_kind == "virtual" else examples // 3,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
