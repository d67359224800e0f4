"""What type checkers are to make of the bridge; mypy checks it, nobody runs it."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from typing_extensions import assert_type

import greenio
from greenio import debug


def blocking(name: str, *, times: int = 1) -> bytes:
    return name.encode() * times


async def asynchronous(name: str, times: int = 1) -> list[str]:
    return [name] * times


def green() -> None:
    future: asyncio.Future[int] = asyncio.Future()
    threaded: concurrent.futures.Future[float] = concurrent.futures.Future()
    assert_type(greenio.await_(asynchronous("a")), list[str])
    assert_type(greenio.await_(future), int)
    assert_type(greenio.await_(threaded), float)
    as_sync = greenio.as_sync(asynchronous)
    assert_type(as_sync("a", times=2), list[str])
    as_sync(1)  # type: ignore[arg-type]
    as_sync()  # type: ignore[call-arg]


async def coroutine() -> None:
    assert_type(await greenio.run_green(blocking, "a", times=2), bytes)
    await greenio.run_green(blocking, 1)  # type: ignore[arg-type]
    await greenio.run_green(blocking, "a", time=2)  # type: ignore[call-arg]
    as_async = greenio.as_async(blocking)
    assert_type(await as_async("a"), bytes)
    await as_async("a", times="2")  # type: ignore[arg-type]


@greenio.portal
async def in_portal(name: str) -> int:
    return len(name)


async def portals() -> None:
    assert_type(await in_portal("a"), int)
    await in_portal(1)  # type: ignore[arg-type]


class Service:
    @greenio.as_async
    def load(self, key: int) -> str:
        return str(key)

    @greenio.as_sync
    async def store(self, key: int) -> bool:
        return key > 0


async def methods(service: Service) -> None:
    assert_type(await service.load(1), str)
    assert_type(service.store(1), bool)
    await service.load("1")  # type: ignore[arg-type]


def numbers() -> Iterator[int]:
    yield 1


async def names() -> AsyncIterator[str]:
    yield "a"


@contextmanager
def blocking_context() -> Iterator[int]:
    yield 1


@asynccontextmanager
async def async_context() -> AsyncIterator[str]:
    yield "a"


async def carried() -> None:
    async for number in greenio.async_iter(numbers()):
        assert_type(number, int)
    async with greenio.async_context(blocking_context()) as value:
        assert_type(value, int)


def carried_back() -> None:
    for name in greenio.sync_iter(names()):
        assert_type(name, str)
    with greenio.sync_context(async_context()) as value:
        assert_type(value, str)


@greenio.loop_hidden()
def unseeing(name: str) -> int:
    return len(name)


def settings() -> None:
    assert_type(unseeing("a"), int)
    unseeing(1)  # type: ignore[arg-type]
    with greenio.loop_hidden():
        pass
    with debug.monitor(max_blocking=0.1, report=print):
        pass
    assert_type(debug.format_run_info(), str)


def spawned(callback: Callable[[int], str]) -> None:
    thread = greenio.spawn(callback, 1)
    assert_type(thread, greenio.GreenThread[str])
    with greenio.GreenGroup() as group:
        group.spawn(callback, 1)
