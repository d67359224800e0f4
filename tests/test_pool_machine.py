"""Random histories of `pools.Pool` against what a pool has to keep count of.

Items are lent, returned, created (or not: `create` fails now and then), the size
changes, and players are killed or cancelled between being handed an item and taking it.
Whenever everybody has run who can, every item is lent or idle, and nobody waits who
need not.
"""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

import greenio
from _support import CoroutineActor, GreenActor, end_hub, settle
from greenio import hubs
from greenio.pools import Pool

choices = st.integers(0, 999)


class CreateError(Exception):
    pass


class PoolMachine(RuleBasedStateMachine):
    def __init__(self, loop_kind: str) -> None:
        super().__init__()
        hubs.use_hub(loop_kind)
        self.pool: Pool[int] | None = None
        self.failures = 0
        self.stopped: list[GreenActor | CoroutineActor] = []
        self.players: list[GreenActor | CoroutineActor] = []
        self.lent: list[int] = []

    def teardown(self) -> None:
        try:
            if self.pool is not None:
                while self.players:
                    self.stop_player(self.players[-1])
                    self.look()
                while self.lent:
                    self.pool.put(self.lent.pop())
                self.look()
                assert self.pool.current_size <= self.pool.max_size
                assert self.pool.current_size == len(self.pool.free_items)
        finally:
            end_hub()
            hubs.use_hub()

    @initialize(
        max_size=st.integers(0, 3), stack=st.booleans(), yields=st.integers(0, 2)
    )
    def make(self, max_size: int, stack: bool, yields: int) -> None:
        numbers = itertools.count(1)

        def create() -> int:
            for _ in range(yields):
                greenio.sleep(0)
            if self.failures:
                self.failures -= 1
                raise CreateError
            return next(numbers)

        self.pool = Pool(max_size=max_size, order_as_stack=stack, create=create)

    def collect(self) -> None:
        """Note who has ended, and what he got."""
        for player in [player for player in self.players if player.finished]:
            self.players.remove(player)
            if player.error is None:
                self.lent.append(player.result)
            else:
                assert isinstance(player.error, CreateError), player.error

    def look(self) -> None:
        """Let everybody run who can, then check the pool."""
        settle(40)
        self.collect()
        pool = self.pool
        items = [*self.lent, *pool.free_items]
        assert len(set(items)) == len(items), "an item was lent twice"
        assert pool.current_size == len(items)
        assert pool.waiting() == len(self.players)
        if self.players:
            assert not pool.free_items
            assert pool.current_size >= pool.max_size
        if pool.free_items:
            assert pool.current_size <= pool.max_size

    def stop_player(self, player: GreenActor | CoroutineActor) -> None:
        self.players.remove(player)
        player.stop()
        settle(40)
        if player.result is not None:
            # It was quicker.
            self.lent.append(player.result)

    @rule(green=st.booleans())
    def get(self, green: bool) -> None:
        cls = GreenActor if green else CoroutineActor
        self.players.append(cls(self.pool, "get", (), {}))

    @rule(choice=choices)
    def put(self, choice: int) -> None:
        if self.lent:
            self.pool.put(self.lent.pop(choice % len(self.lent)))

    @rule(new_size=st.integers(0, 4))
    def resize(self, new_size: int) -> None:
        self.pool.resize(new_size)

    @rule()
    def next_create_fails(self) -> None:
        self.failures = 1

    @rule(choice=choices)
    def stop(self, choice: int) -> None:
        if self.players:
            self.stop_player(self.players[choice % len(self.players)])

    @rule()
    def let_run(self) -> None:
        self.look()


def test_pool_keeps_count(hub_name):
    run_state_machine_as_test(
        lambda: PoolMachine(hub_name),
        settings=settings(
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
