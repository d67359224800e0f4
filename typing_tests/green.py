"""What type checkers are to make of green threads; mypy checks it, nobody runs it."""

from __future__ import annotations

from typing_extensions import assert_type

import greenio
from greenio import (
    GreenThread,
    event,
    greenpool,
    greenthread,
    patcher,
    pools,
    queue,
    tpool,
)
from greenio.asyncio import spawn_for_awaitable


def fetch(number: int, *, times: int = 1) -> bytes:
    return b"." * number * times


async def fetch_async(number: int, times: int = 1) -> list[str]:
    return ["."] * number * times


class Request:
    def __call__(self, path: str) -> float:
        return float(len(path))


# -- one green thread -------------------------------------------------------------------


def spawned() -> None:
    assert_type(greenio.spawn(fetch, 3), GreenThread[bytes])
    assert_type(greenio.spawn(fetch, 3, times=2).wait(), bytes)
    # A coroutine that a coroutine function makes is awaited in the green thread.
    assert_type(greenio.spawn(fetch_async, 3).wait(), list[str])
    assert_type(greenio.spawn(Request(), "/").wait(), float)
    assert_type(greenio.spawn(lambda: 3).wait(), int)
    assert_type(greenio.spawn_n(fetch, 3), GreenThread[bytes])
    assert_type(greenio.spawn_after(0.1, fetch, 3), GreenThread[bytes])
    assert_type(greenthread.spawn_after_local(1, fetch_async, 3).wait(), list[str])
    greenio.call_after_global(1, fetch, 3, times=2).cancel()
    greenio.spawn(fetch, "3")  # type: ignore[call-overload]
    greenio.spawn(fetch, 3, time=2)  # type: ignore[call-arg,arg-type]
    greenio.spawn(fetch)  # type: ignore[call-overload]
    greenio.spawn(fetch(3))  # type: ignore[call-overload]
    greenio.spawn_n(fetch_async, "3")  # type: ignore[call-overload]
    greenio.spawn_after("1", fetch, 3)  # type: ignore[call-overload]
    greenio.call_after_global(1, fetch, "3")  # type: ignore[arg-type]


def told(thread: GreenThread[bytes], name: str) -> None:
    assert_type(thread.wait(), bytes)


def linked() -> None:
    thread = greenio.spawn(fetch, 3)
    thread.link(told, "a")
    thread.link(told, 1)  # type: ignore[arg-type]
    greenio.spawn(fetch_async, 3).link(told, "a")  # type: ignore[arg-type]
    assert_type(greenthread.joinall([thread]), list[GreenThread[bytes]])
    for finished in greenthread.iwait([thread]):
        assert_type(finished, GreenThread[bytes])


async def awaited(threads: list[GreenThread[int]]) -> None:
    assert_type(await greenio.spawn(fetch, 3), bytes)
    assert_type(await greenio.spawn(fetch, 3).wait_async(), bytes)
    assert_type(greenio.await_(greenio.spawn(fetch, 3)), bytes)
    assert_type(await greenthread.joinall_async(threads), list[GreenThread[int]])


def without_a_parameter(thread: GreenThread) -> None:
    """A program's own annotations, from when there was no parameter."""
    assert_type(thread.wait().anything, object)  # type: ignore[assert-type]


def a_wider_result(thread: GreenThread[bool]) -> GreenThread[int]:
    return thread


def limited() -> None:
    assert_type(greenio.with_timeout(1, fetch, 3), bytes)
    assert_type(greenio.with_timeout(1, fetch_async, 3), list[str])
    assert_type(greenio.with_timeout(None, fetch, 3, timeout_value=None), bytes | None)
    greenio.with_timeout(1, fetch, "3")  # type: ignore[call-overload]


# -- many -------------------------------------------------------------------------------


def pooled() -> None:
    pool = greenio.GreenPool(10)
    assert_type(pool.spawn(fetch, 3).wait(), bytes)
    assert_type(pool.spawn_n(fetch_async, 3), GreenThread[list[str]])
    pool.spawn(fetch, "3")  # type: ignore[call-overload]
    for page in pool.imap(fetch, [1, 2]):
        assert_type(page, bytes)
    for lines in pool.imap_unordered(fetch_async, range(3)):
        assert_type(lines, list[str])
    for number in pool.imap(pow, [1, 2], [3, 4]):
        print(number)
    for pair in pool.imap(None, "ab"):
        assert_type(pair, tuple[str])
    for page in pool.starmap(fetch, [(1,), (2,)]):
        assert_type(page, bytes)
    pool.imap(fetch, ["1"])  # type: ignore[arg-type]


def closed_early(pool: greenpool.GreenPool) -> None:
    pages = pool.imap(fetch, [1, 2])
    assert_type(pages, greenthread.ClosableResults[bytes])
    pages.close()
    print(pages.slots)  # type: ignore[attr-defined]


def as_eventlet_has_it(pool: greenpool.GreenPool) -> None:
    with pool.sem:
        assert_type(pool.sem.balance, int)
    pool.sem.counter = 3
    print(pool.sem.start)  # type: ignore[attr-defined]
    assert_type(pool.no_coros_running.wait(1), bool)
    timer = greenthread.exc_after(1, ValueError)
    assert_type(timer, greenthread.PendingCall)
    timer.cancel()
    assert_type(timer.called, bool)


async def pooled_async(pool: greenpool.GreenPool) -> None:
    assert_type(await pool.spawn_async(fetch, 3), GreenThread[bytes])
    async for page in pool.imap_async(fetch, [1, 2]):
        assert_type(page, bytes)


def piled() -> None:
    pile: greenpool.GreenPile[bytes] = greenio.GreenPile(10)
    assert_type(pile.spawn(fetch, 3), GreenThread[bytes])
    pile.spawn(fetch_async, 3)  # type: ignore[call-overload]
    for page in pile:
        assert_type(page, bytes)
    # Of anything, as in eventlet.
    mixed = greenio.GreenPile()
    mixed.spawn(fetch, 3)
    mixed.spawn(fetch_async, 3)


async def grouped() -> None:
    async with greenio.GreenGroup() as group:
        page = group.spawn(fetch, 3, times=2)
        lines = group.spawn(fetch_async, 3)
        group.spawn(fetch, "3")  # type: ignore[call-overload]
    assert_type(page.wait(), bytes)
    assert_type(lines.wait(), list[str])


# -- loops and threads -------------------------------------------------------------------


def programs() -> None:
    assert_type(greenio.run(fetch, 3), bytes)
    assert_type(greenio.run(fetch_async, 3, hub="uvloop", debug=True), list[str])
    assert_type(greenio.from_thread(fetch, 3), bytes)
    assert_type(greenio.from_thread(fetch_async, 3, 2), list[str])
    greenio.run(fetch, "3")  # type: ignore[arg-type]
    greenio.run(fetch, 3, hup="uvloop")  # type: ignore[call-overload]
    greenio.from_thread(fetch, "3")  # type: ignore[arg-type]
    assert_type(tpool.execute(fetch, 3, times=2), bytes)
    tpool.execute(fetch, "3")  # type: ignore[arg-type]
    assert_type(spawn_for_awaitable(fetch_async(3)), GreenThread[list[str]])


# -- primitives --------------------------------------------------------------------------


def waited_for(queue_of_pages: queue.Queue[bytes]) -> None:
    assert_type(queue_of_pages.get(), bytes)
    queue_of_pages.put("a")  # type: ignore[arg-type]
    greenio.Queue(3).put("of anything")
    sent: event.Event[int] = greenio.Event()
    sent.send(3)
    assert_type(sent.wait(), int)
    assert_type(sent.wait(0.1), int | None)
    connections = pools.Pool(create=Request)
    with connections.item() as request:
        assert_type(request, Request)


async def awaited_for(queue_of_pages: queue.Queue[bytes]) -> None:
    assert_type(await queue_of_pages.get_async(), bytes)


# -- patching ----------------------------------------------------------------------------


def patched() -> None:
    greenio.monkey_patch()
    patcher.monkey_patch(socket=True, thread=False)
    greenio.monkey_patch(threads=True)  # type: ignore[call-arg]
    greenio.monkey_patch(thread="yes")  # type: ignore[arg-type]
