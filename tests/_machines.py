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
    precondition,
    rule,
    run_state_machine_as_test,
)

from _support import CoroutineActor, GreenActor, VirtualLoop, end_hub, settle
from greenio import hubs
from greenio.queue import Empty, Full

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


def check(machine: type[PrimitiveMachine], loop_kind: str) -> None:
    """Run many histories of a machine, on a virtual clock or on uvloop."""
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
