"""What every primitive keeps to when threads and loops use it together."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from typing import Any

import pytest

import greenio
from _support import KINDS, STOPPABLE, OtherLoop, settle, until
from greenio import hubs
from greenio.event import Event
from greenio.lock import Lock
from greenio.queue import Empty, Full, LifoQueue, LightQueue, PriorityQueue, Queue
from greenio.semaphore import BoundedSemaphore, Semaphore

# -- everybody at once --------------------------------------------------------------------


ITEMS = 120


class Traffic:
    """Producers and consumers in every kind of actor, some of which are stopped."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.put: deque[Any] = deque()
        self.got: deque[Any] = deque()
        self.ended = False

    def produce(self, name: str) -> None:
        for number in range(ITEMS):
            item = (number, name)
            while True:
                try:
                    self.queue.put(item, timeout=0.001 if number % 7 == 0 else None)
                    break
                except Full:
                    continue
            self.put.append(item)

    async def produce_async(self, name: str) -> None:
        for number in range(ITEMS):
            item = (number, name)
            while True:
                try:
                    limit = 0.001 if number % 7 == 0 else None
                    await self.queue.put_async(item, timeout=limit)
                    break
                except Full:
                    continue
            self.put.append(item)

    def consume(self, name: str) -> None:
        while not self.ended:
            try:
                self.got.append(self.queue.get(timeout=0.002))
            except Empty:
                continue

    async def consume_async(self, name: str) -> None:
        while not self.ended:
            try:
                self.got.append(await self.queue.get_async(timeout=0.002))
            except Empty:
                continue


@pytest.mark.parametrize(
    "make",
    [
        Queue,
        lambda: Queue(1),
        lambda: LightQueue(0),
        lambda: LifoQueue(2),
        lambda: PriorityQueue(3),
    ],
    ids=["unbounded", "one", "rendezvous", "lifo", "priority"],
)
def test_no_item_is_lost_or_doubled_between_threads_and_loops(cast, make):
    traffic = Traffic(make())
    producers = [cast.start(kind, traffic, "produce", kind) for kind in KINDS]
    consumers = [cast.start(kind, traffic, "consume", kind) for kind in KINDS]
    for producer in producers:
        producer.outcome()
    until(lambda: len(traffic.got) >= len(KINDS) * ITEMS)
    traffic.ended = True
    for consumer in consumers:
        consumer.outcome()
    assert Counter(traffic.got) == Counter(traffic.put)
    assert len(set(traffic.got)) == len(KINDS) * ITEMS
    assert traffic.queue.empty()
    assert traffic.queue.getting() == traffic.queue.putting() == 0


class Permits:
    """Actors that use a semaphore with time limits, and count who is inside."""

    def __init__(self, semaphore: Any, limit: int) -> None:
        self.semaphore = semaphore
        self.limit = limit
        self.inside: deque[None] = deque()
        self.most = 0

    def _enter(self) -> None:
        self.inside.append(None)
        self.most = max(self.most, len(self.inside))
        assert len(self.inside) <= self.limit

    def use(self, times: int, seed: int) -> int:
        rng = random.Random(seed)
        used = 0
        while used < times:
            limit = rng.choice([None, 0, 0.001, 1])
            if self.semaphore.acquire(timeout=limit):
                self._enter()
                if rng.random() < 0.5:
                    greenio.sleep(0)
                self.inside.pop()
                self.semaphore.release()
                used += 1
        return used

    async def use_async(self, times: int, seed: int) -> int:
        rng = random.Random(seed)
        used = 0
        while used < times:
            limit = rng.choice([None, 0, 0.001, 1])
            if await self.semaphore.acquire_async(timeout=limit):
                self._enter()
                if rng.random() < 0.5:
                    await asyncio.sleep(0)
                self.inside.pop()
                self.semaphore.release()
                used += 1
            else:
                await asyncio.sleep(0)
        return used


@pytest.mark.parametrize(
    ("make", "limit"),
    [(lambda: Semaphore(2), 2), (lambda: BoundedSemaphore(1), 1), (Lock, 1)],
    ids=["Semaphore(2)", "BoundedSemaphore(1)", "Lock"],
)
def test_no_permit_is_lost_or_doubled_between_threads_and_loops(cast, make, limit):
    permits = Permits(make(), limit)
    actors = [
        cast.start(kind, permits, "use", 60, seed)
        for seed, kind in enumerate((*KINDS, *KINDS))
    ]
    assert [actor.outcome() for actor in actors] == [60] * len(actors)
    assert permits.semaphore.balance == limit
    assert 1 <= permits.most <= limit


def test_killed_and_cancelled_consumers_lose_nothing(cast):
    """Consumers on both loops are stopped at random while producers go on."""
    rng = random.Random(20240)
    traffic = Traffic(Queue(2))
    producers = [cast.start(kind, traffic, "produce", kind) for kind in KINDS]
    stopped = 0
    consumers: list[Any] = []
    expected = len(KINDS) * ITEMS
    while len(traffic.got) < expected or stopped < 50:
        while len(consumers) < 6:
            kind = rng.choice(STOPPABLE)
            consumers.append(cast.start(kind, traffic, "consume", kind))
        settle(2)
        victim = consumers.pop(rng.randrange(len(consumers)))
        if hasattr(victim, "thread") or hasattr(victim, "task"):
            victim.stop()
            stopped += 1
        else:
            consumers.append(victim)
    traffic.ended = True
    for producer in producers:
        producer.outcome()
    for consumer in consumers:
        consumer.outcome()
    until(lambda: traffic.queue.getting() == 0)
    assert Counter(traffic.got) == Counter(traffic.put)
    assert traffic.queue.empty()


def test_two_that_hand_on_for_ever_leave_the_loop_its_turns(hub_name):
    there, back = Queue(1), Queue(1)
    rounds = 0
    turns = 0

    def serve():
        nonlocal rounds
        # Bounded, so that a loop that never gets its turn is a failure and no hang.
        while turns < 5 and rounds < 50_000:
            rounds += 1
            there.put(rounds)
            back.get()
        there.put(None)

    def reply():
        for item in iter(there.get, None):
            back.put(item)

    async def count():
        nonlocal turns
        while turns < 5:
            await asyncio.sleep(0)
            turns += 1

    players = [greenio.spawn(serve), greenio.spawn(reply)]
    counting = asyncio.Task(count(), loop=hubs.get_hub().loop)
    # Not `until`: somebody who yields takes part in the order of the run queue.
    for player in players:
        player.wait()
    assert counting.done()
    assert 5 < rounds < 5_000


def test_an_event_reaches_everybody(cast, loop_factory):
    event = Event()
    second = OtherLoop(loop_factory)
    actors = [cast.start(kind, event, "wait") for kind in KINDS * 20]
    until(lambda: event.statistics().waiting == len(actors))
    second.call(event.send, "all of you")
    assert {actor.outcome() for actor in actors} == {"all of you"}
    second.close()
