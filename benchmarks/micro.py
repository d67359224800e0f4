"""Scheduling, spawning, timers and primitives, each in one process.

What one operation is stands in each section and in README.md; it is the same for all
runtimes. The coroutine forms do with tasks what the green forms do with green threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from .measurement import Benchmark, Measurement, Stopwatch, in_process
from .runtimes import Green

Function = Callable[[], object]
Coroutines = Sequence[Coroutine[Any, Any, object]]

# Enough that one batch fills a run queue, and few enough that memory is reused.
BATCH = 1_000
CONTENDERS = 100
PERMITS = 10
POOL_SIZE = 100


def _run_green(green: Green, bodies: Sequence[Function], count: int) -> Measurement:
    """Measure all bodies side by side, from the first spawn to the last wait."""
    spawn, wait = green.spawn, green.wait
    with Stopwatch() as watch:
        for thread in [spawn(body) for body in bodies]:
            wait(thread)
    return watch.measurement(count)


async def _run_tasks(coroutines: Coroutines, count: int) -> Measurement:
    create_task = asyncio.create_task
    with Stopwatch() as watch:
        for task in [create_task(coroutine) for coroutine in coroutines]:
            await task
    return watch.measurement(count)


# -- yield: one operation is one sleep(0), as each of `threads` does in turn -----------


def _yield_green(green: Green, count: int, threads: int) -> Measurement:
    turns = range(count // threads)
    sleep = green.sleep

    def body() -> None:
        for _ in turns:
            sleep(0)

    return _run_green(green, [body] * threads, len(turns) * threads)


async def _yield_tasks(count: int, threads: int) -> Measurement:
    turns = range(count // threads)
    sleep = asyncio.sleep

    async def body() -> None:
        for _ in turns:
            await sleep(0)

    return await _run_tasks([body() for _ in range(threads)], len(turns) * threads)


def _yield_bare(count: int, threads: int) -> Measurement:
    """Switch around a ring of greenlets; one operation is one switch."""
    from greenlet import getcurrent, greenlet

    turns = range(count // threads)
    main = getcurrent()

    def body(index: int) -> None:
        switch = ring[(index + 1) % threads].switch
        # Started one by one from outside; each comes to rest here.
        main.switch()
        for _ in turns:
            switch()
        main.switch()

    ring = [greenlet(body) for _ in range(threads)]
    for index, member in enumerate(ring):
        member.switch(index)
    with Stopwatch() as watch:
        ring[0].switch()
    return watch.measurement(len(turns) * threads)


# -- spawn: one operation is one function that does nothing, started and waited for ----


def _nothing() -> None:
    pass


async def _nothing_async() -> None:
    pass


def _spawn_green(green: Green, count: int) -> Measurement:
    spawn, wait = green.spawn, green.wait
    batch = range(BATCH)
    with Stopwatch() as watch:
        for _ in range(count // BATCH):
            for thread in [spawn(_nothing) for _ in batch]:
                wait(thread)
    return watch.measurement(count)


async def _spawn_tasks(count: int) -> Measurement:
    create_task = asyncio.create_task
    batch = range(BATCH)
    with Stopwatch() as watch:
        for _ in range(count // BATCH):
            for task in [create_task(_nothing_async()) for _ in batch]:
                await task
    return watch.measurement(count)


def _spawn_bare(count: int) -> Measurement:
    from greenlet import greenlet

    with Stopwatch() as watch:
        for _ in range(count):
            greenlet(_nothing).switch()
    return watch.measurement(count)


# -- spawn_n: the same, with nobody waiting; a counter says when a batch is through ----


def _spawn_n_green(green: Green, count: int) -> Measurement:
    spawn_n, sleep = green.spawn_n, green.sleep
    batch = range(BATCH)
    done = 0

    def body() -> None:
        nonlocal done
        done += 1

    with Stopwatch() as watch:
        for started in range(BATCH, count + 1, BATCH):
            for _ in batch:
                spawn_n(body)
            while done < started:
                sleep(0)
    return watch.measurement(done)


async def _spawn_n_tasks(count: int) -> Measurement:
    create_task, sleep = asyncio.create_task, asyncio.sleep
    batch = range(BATCH)
    done = 0

    async def body() -> None:
        nonlocal done
        done += 1

    with Stopwatch() as watch:
        for started in range(BATCH, count + 1, BATCH):
            for _ in batch:
                create_task(body())
            while done < started:
                await sleep(0)
    return watch.measurement(done)


# -- timers: one operation is one green thread, spawned, asleep 1 to 11 ms, waited for -


def _delays(count: int) -> list[float]:
    return [0.001 * (1 + index % 11) for index in range(count)]


def _timers_green(green: Green, count: int) -> Measurement:
    spawn, wait, sleep = green.spawn, green.wait, green.sleep
    delays = _delays(count)
    with Stopwatch() as watch:
        for thread in [spawn(sleep, delay) for delay in delays]:
            wait(thread)
    return watch.measurement(count)


async def _timers_tasks(count: int) -> Measurement:
    return await _run_tasks([asyncio.sleep(delay) for delay in _delays(count)], count)


# -- queue: one operation is one item there and one back, by two queues of size 1 ------


def _queue_green(green: Green, count: int) -> Measurement:
    there, back = green.queue(1), green.queue(1)

    def ping() -> None:
        put, get = there.put, back.get
        for item in range(count):
            put(item)
            if get() != item:
                raise AssertionError("the queue gave another item")

    def pong() -> None:
        put, get = back.put, there.get
        for _ in range(count):
            put(get())

    return _run_green(green, [ping, pong], count)


async def _queue_tasks(count: int) -> Measurement:
    there: asyncio.Queue[int] = asyncio.Queue(1)
    back: asyncio.Queue[int] = asyncio.Queue(1)

    async def ping() -> None:
        put, get = there.put, back.get
        for item in range(count):
            await put(item)
            if await get() != item:
                raise AssertionError("the queue gave another item")

    async def pong() -> None:
        put, get = back.put, there.get
        for _ in range(count):
            await put(await get())

    return await _run_tasks([ping(), pong()], count)


# -- semaphore: one operation is one `with semaphore: sleep(0)` among 100 contenders ---


def _semaphore_green(green: Green, count: int) -> Measurement:
    turns = range(count // CONTENDERS)
    semaphore = green.semaphore(PERMITS)
    sleep = green.sleep

    def body() -> None:
        for _ in turns:
            with semaphore:
                sleep(0)

    return _run_green(green, [body] * CONTENDERS, len(turns) * CONTENDERS)


async def _semaphore_tasks(count: int) -> Measurement:
    turns = range(count // CONTENDERS)
    semaphore = asyncio.Semaphore(PERMITS)
    sleep = asyncio.sleep

    async def body() -> None:
        for _ in turns:
            async with semaphore:
                await sleep(0)

    return await _run_tasks(
        [body() for _ in range(CONTENDERS)], len(turns) * CONTENDERS
    )


# -- pool: one operation is one item through imap of a pool of 100 ---------------------


def _same(item: int) -> int:
    return item


def _pool_green(green: Green, count: int) -> Measurement:
    pool = green.pool(POOL_SIZE)
    items = range(count)
    with Stopwatch() as watch:
        total = sum(pool.imap(_same, items))
    if total != sum(items):
        raise AssertionError("the pool lost an item")
    return watch.measurement(count)


BENCHMARKS = (
    Benchmark(
        "yield1",
        "yield, 1 green thread",
        150_000,
        in_process(
            lambda green, count: _yield_green(green, count, 1),
            lambda count: _yield_tasks(count, 1),
            lambda count: _yield_bare(count, 2),
        ),
    ),
    Benchmark(
        "yield100",
        "yield, 100 green threads",
        300_000,
        in_process(
            lambda green, count: _yield_green(green, count, 100),
            lambda count: _yield_tasks(count, 100),
            lambda count: _yield_bare(count, 100),
        ),
    ),
    Benchmark(
        "spawn",
        "spawn + wait",
        40_000,
        in_process(_spawn_green, _spawn_tasks, _spawn_bare),
    ),
    Benchmark("spawn_n", "spawn_n", 40_000, in_process(_spawn_n_green, _spawn_n_tasks)),
    Benchmark(
        "timers",
        "20,000 sleeps of 1-11 ms",
        20_000,
        in_process(_timers_green, _timers_tasks),
        scalable=False,
    ),
    Benchmark(
        "queue",
        "queue ping-pong, maxsize 1",
        40_000,
        in_process(_queue_green, _queue_tasks),
    ),
    Benchmark(
        "semaphore",
        "semaphore, 100 contenders",
        80_000,
        in_process(_semaphore_green, _semaphore_tasks),
    ),
    Benchmark("pool", "pool.imap", 30_000, in_process(_pool_green)),
)
