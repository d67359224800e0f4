"""`greenio.asyncio`, and green threads where asyncio takes something awaitable."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars

import pytest

import greenio
from _fresh import run as run_fresh
from _support import settle
from greenio import sleep, spawn
from greenio.asyncio import spawn_for_awaitable


async def doubled(x):
    await asyncio.sleep(0)
    if x is None:
        raise KeyError("none")
    return 2 * x


def test_a_coroutine_becomes_a_green_thread(hub_name):
    thread = spawn_for_awaitable(doubled(2))
    assert isinstance(thread, greenio.GreenThread)
    assert thread.wait() == 4
    with pytest.raises(KeyError, match="none"):
        spawn_for_awaitable(doubled(None)).wait()


def test_other_awaitables_become_green_threads(hub_name):
    loop = greenio.hubs.get_hub().loop
    task = asyncio.Task(doubled(3), loop=loop)
    foreign = concurrent.futures.Future()
    loop.call_soon(foreign.set_result, "foreign")
    assert spawn_for_awaitable(task).wait() == 6
    assert spawn_for_awaitable(foreign).wait() == "foreign"
    assert spawn_for_awaitable(spawn(lambda: "thread")).wait() == "thread"


def test_killing_the_green_thread_cancels(hub_name):
    seen = []

    async def forever():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            seen.append("finally")

    thread = spawn_for_awaitable(forever())
    settle()
    thread.kill()
    with pytest.raises(greenio.greenlet.GreenletExit):
        thread.wait()
    assert seen == ["finally"]


def test_killing_it_before_it_starts(hub_name):
    # A coroutine that is never awaited would be a warning, and fail.
    spawn_for_awaitable(doubled(1)).kill()
    future = greenio.hubs.get_hub().loop.create_future()
    spawn_for_awaitable(future).kill()
    assert future.cancelled()


def test_what_is_cancelled_is_cancelled_for_the_waiter(hub_name):
    future = greenio.hubs.get_hub().loop.create_future()
    thread = spawn_for_awaitable(future)
    settle()
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        thread.wait()


def test_the_context_is_a_copy(hub_name):
    variable = contextvars.ContextVar("variable", default="unset")

    async def change():
        before = variable.get()
        variable.set("coroutine")
        return before

    variable.set("caller")
    assert spawn_for_awaitable(change()).wait() == "caller"
    assert variable.get() == "caller"


def test_what_cannot_be_awaited(hub_name):
    with pytest.raises(TypeError, match=r"takes a coroutine.*spawn\(\)"):
        spawn_for_awaitable(doubled)


def test_from_a_coroutine(run_async):
    async def main():
        return await spawn_for_awaitable(doubled(4))

    assert run_async(main) == 8


def test_asyncio_takes_green_threads(run_async):
    def green(x):
        sleep(0)
        return x

    async def main():
        future = asyncio.ensure_future(spawn(green, 1))
        assert isinstance(future, asyncio.Future)
        gathered = await asyncio.gather(spawn(green, 2), future, doubled(3))
        waited = await asyncio.wait_for(spawn(green, 4), 1000)
        return await future, gathered, waited

    assert run_async(main) == (1, [2, 1, 6], 4)


def test_asyncio_takes_green_threads_in_green_code(hub_name):
    def main():
        future = asyncio.ensure_future(spawn(lambda: 5))
        return greenio.await_(future)

    assert spawn(main).wait() == 5


def test_cancelling_the_future_of_a_green_thread_kills_it(run_async):
    seen = []

    def green():
        try:
            sleep(1000)
        except BaseException as exc:
            seen.append(type(exc).__name__)
            raise

    async def main():
        thread = spawn(green)
        future = asyncio.ensure_future(thread)
        for _ in range(3):
            await asyncio.sleep(0)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        return thread.dead

    assert run_async(main)
    assert seen == ["GreenletExit"]


def test_killing_a_green_thread_cancels_its_future(run_async):
    async def main():
        thread = spawn(sleep, 1000)
        future = asyncio.ensure_future(thread)
        await asyncio.sleep(0)
        thread.kill()
        with pytest.raises(asyncio.CancelledError):
            await future
        return future.cancelled()

    assert run_async(main)


@pytest.mark.slow
def test_under_eventlets_name():
    out = run_fresh(
        """
        import asyncio
        import greenio
        greenio.install_as_eventlet()
        import eventlet
        import eventlet.asyncio
        from eventlet.asyncio import spawn_for_awaitable

        async def main():
            await asyncio.sleep(0)
            return "awaited"

        assert eventlet.asyncio is greenio.asyncio is not asyncio
        print(spawn_for_awaitable(main()).wait())
        """
    )
    assert out == "awaited\n"
