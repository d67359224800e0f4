"""Resident memory of a green thread, or a task, that is parked on an event."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import psutil

from .measurement import KIBIBYTES, Benchmark, Measurement, Stopwatch, in_process
from .runtimes import Green

# What a runtime loads or allocates once is not a green thread's share.
_FIRST = 100


def _resident() -> int:
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident


def _memory_green(green: Green, count: int) -> Measurement:
    spawn, wait, sleep = green.spawn, green.wait, green.sleep
    event = green.event()
    parked = 0

    def body() -> None:
        nonlocal parked
        parked += 1
        event.wait()

    # Made at full length at once, so that the list doesn't grow on a thread's account.
    threads: list[Any] = [None] * (count + _FIRST)

    def park(first: int, last: int) -> None:
        for index in range(first, last):
            threads[index] = spawn(body)
        while parked < last:
            sleep(0)
        # Once more: the last one counted itself before it parked.
        sleep(0)

    park(0, _FIRST)
    before = _resident()
    with Stopwatch() as watch:
        park(_FIRST, _FIRST + count)
    memory = _resident() - before
    green.release(event)
    for thread in threads:
        wait(thread)
    return watch.measurement(count, memory)


async def _memory_tasks(count: int) -> Measurement:
    event = asyncio.Event()
    parked = 0

    async def body() -> None:
        nonlocal parked
        parked += 1
        await event.wait()

    tasks: list[asyncio.Task[None] | None] = [None] * (count + _FIRST)

    async def park(first: int, last: int) -> None:
        for index in range(first, last):
            tasks[index] = asyncio.create_task(body())
        while parked < last:
            await asyncio.sleep(0)

    await park(0, _FIRST)
    before = _resident()
    with Stopwatch() as watch:
        await park(_FIRST, _FIRST + count)
    memory = _resident() - before
    event.set()
    for task in tasks:
        assert task is not None
        await task
    return watch.measurement(count, memory)


def _memory_bare(count: int) -> Measurement:
    from greenlet import getcurrent, greenlet

    main = getcurrent()

    def body() -> None:
        main.switch()

    threads: list[greenlet | None] = [None] * (count + _FIRST)

    def park(first: int, last: int) -> None:
        for index in range(first, last):
            thread = threads[index] = greenlet(body)
            thread.switch()

    park(0, _FIRST)
    before = _resident()
    with Stopwatch() as watch:
        park(_FIRST, _FIRST + count)
    memory = _resident() - before
    for thread in threads:
        assert thread is not None
        thread.switch()
    return watch.measurement(count, memory)


BENCHMARKS = tuple(
    Benchmark(
        f"memory{count // 1000}k",
        f"memory per green thread, {count:,} parked",
        count,
        in_process(_memory_green, _memory_tasks, _memory_bare),
        unit=KIBIBYTES,
        scalable=False,
        warmup=False,
    )
    for count in (20_000, 100_000)
)
