"""`statistics()` of pools, piles, groups, counters, tpool and the hub."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading

import pytest

import greenio
from _support import until
from greenio import debug, hubs, sleep, spawn, tpool
from greenio.coros import MetaphoreStatistics, metaphore
from greenio.dagpool import DAGPool, DAGPoolStatistics
from greenio.event import Event
from greenio.greenpool import GreenPileStatistics, GreenPoolStatistics
from greenio.pools import PoolStatistics, TokenPool
from greenio.queue import LightQueue, QueueStatistics


def waits(event):
    event.wait()


def test_a_pool_and_a_pile(hub_name):
    event = Event()
    pile = greenio.GreenPile(2)
    pool = pile.pool
    for _ in range(2):
        pile.spawn(waits, event)
    waiter = spawn(pile.spawn, waits, event)
    sleep(0)
    expected = GreenPoolStatistics(size=2, running=2, free=0, waiting=1)
    assert pool.statistics() == expected
    assert pile.statistics() == GreenPileStatistics(3, expected)
    with pytest.raises(dataclasses.FrozenInstanceError):
        pool.statistics().size = 3
    event.send()
    waiter.wait()
    assert len(list(pile)) == 3
    assert pile.statistics() == GreenPileStatistics(0, GreenPoolStatistics(2, 0, 2, 0))


def test_a_pool_of_items(hub_name):
    pool = TokenPool(max_size=2)
    first, second = pool.get(), pool.get()
    waiter = spawn(pool.get)
    sleep(0)
    assert pool.statistics() == PoolStatistics(2, 2, 0, 1)
    assert pool.channel.statistics() == QueueStatistics(0, 0, getting=1, putting=0)
    pool.put(first)
    pool.put(second)
    waiter.wait()
    assert pool.statistics() == PoolStatistics(2, 2, 1, 0)
    # As of the rendezvous that it stands for.
    assert pool.channel.statistics() == LightQueue(0).statistics()


def test_a_pool_of_dependent_green_threads(hub_name):
    event = Event()
    pool = DAGPool({"there": 1})

    def fail(key, results):
        raise ValueError(key)

    pool.spawn("runs", ["there"], lambda key, results: event.wait())
    pool.spawn("waits", ["runs"], lambda key, results: len(dict(results)))
    pool.spawn("fails", (), fail)
    assert pool.statistics() == DAGPoolStatistics(1, 0, running=3, waiting=1)
    until(lambda: "fails" in pool)
    assert pool.statistics() == DAGPoolStatistics(
        values=2, failed=1, running=2, waiting=1
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        pool.statistics().values = 3
    event.send()
    assert pool["waits"] == 1
    assert pool.statistics() == DAGPoolStatistics(4, 1, 0, 0)


def test_a_counter(hub_name):
    count = metaphore()
    assert count.statistics() == MetaphoreStatistics(counter=0, waiting=0)
    count.inc(2)
    waiter = spawn(count.wait)
    sleep(0)
    assert count.statistics() == MetaphoreStatistics(counter=2, waiting=1)
    count.dec(2)
    waiter.wait()
    assert count.statistics() == MetaphoreStatistics(0, 0)


def test_a_group(hub_name):
    event = Event()
    group = greenio.GreenGroup()
    assert group.statistics() == greenio.GreenGroupStatistics("not entered", 0, 0)
    with group:
        group.spawn(waits, event)
        assert group.statistics() == greenio.GreenGroupStatistics("open", 1, 0)
        event.send()
    assert group.statistics() == greenio.GreenGroupStatistics("finished", 0, 0)


def test_tpool(hub_name):
    begun, go_on = threading.Semaphore(0), threading.Event()

    def call():
        begun.release()
        assert go_on.wait(30)

    tpool.set_num_threads(2)
    try:
        assert tpool.statistics() == tpool.ThreadPoolStatistics(2, 0, 0, 0)
        calls = [spawn(tpool.execute, call) for _ in range(3)]
        until(lambda: begun.acquire(blocking=False))
        until(lambda: begun.acquire(blocking=False))
        assert tpool.statistics() == tpool.ThreadPoolStatistics(2, 2, 2, 1)
        go_on.set()
        for each in calls:
            each.wait()
        until(lambda: not tpool.statistics().busy)
    finally:
        tpool.killall()
        tpool.set_num_threads(tpool.DEFAULT_SIZE)


def test_the_hub(hub_name):
    hub = hubs.get_hub()
    before = hub.statistics()
    assert before.green_threads == before.readers == before.timers == 0
    left, right = socket.socketpair()
    green = greenio.greenio.GreenSocket(right)
    reader = spawn(green.recv, 1)
    waiter = spawn(waits, Event())
    sleep(0)
    greenio.spawn_after(1000, waits, Event()).cancel()
    with greenio.Timeout(1000):
        ready = spawn(waits, Event())
        now = hub.statistics()
    assert now.green_threads == 3
    assert now.readers == 1
    assert now.writers == 0
    assert now.registered >= 1
    assert now.ready == 1
    assert now.timers == 1
    assert now.turns > before.turns
    assert (now.lag is None) == (hub_name == "uvloop")
    for thread in (reader, waiter, ready):
        thread.kill()
    left.close()
    green.close()


def test_the_hub_of_a_loop_with_tasks(run_async):
    async def other():
        await debug.measure_lag_async(1000)

    async def main():
        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        tasks = hubs.get_hub().statistics().tasks
        task.cancel()
        return tasks

    assert run_async(main) == 2


def test_lag(hub_name):
    assert debug.measure_lag() >= 0

    async def measure():
        return await debug.measure_lag_async()

    assert greenio.await_(measure()) >= 0
