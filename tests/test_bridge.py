"""`await_` and `run_green`: from green to async and back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import sys

import greenlet
import pytest

import greenio
from _support import until_async
from greenio import await_, event, run_green, sleep, spawn

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


async def doubled(x):
    await asyncio.sleep(0)
    return x * 2


async def failing():
    await asyncio.sleep(0)
    raise KeyError("inside")


# -- await_ -----------------------------------------------------------------------------


def test_awaiting_a_coroutine(hub_name):
    assert await_(doubled(2)) == 4
    assert spawn(lambda: await_(doubled(3))).wait() == 6


def test_awaiting_other_things(hub_name):
    class Awaitable:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "awaited"

    loop = greenio.hubs.get_hub().loop
    task = asyncio.Task(doubled(1), loop=loop)
    future = loop.create_future()
    loop.call_soon(future.set_result, "future")
    foreign = concurrent.futures.Future()
    loop.call_soon(foreign.set_result, "foreign")
    assert await_(Awaitable()) == "awaited"
    assert await_(task) == 2
    assert await_(future) == "future"
    assert await_(foreign) == "foreign"
    assert await_(spawn(lambda: "thread")) == "thread"


def test_done_things_need_no_switch(run_async):
    async def main():
        future = asyncio.get_running_loop().create_future()
        future.set_result("there")
        foreign = concurrent.futures.Future()
        foreign.set_result("there too")
        # Even in the loop greenlet, since nothing has to wait.
        assert (await_(future), await_(foreign)) == ("there", "there too")

    run_async(main)


def test_exceptions(hub_name):
    with pytest.raises(KeyError, match="inside"):
        await_(failing())


def test_cancelled_elsewhere(hub_name):
    task = asyncio.Task(asyncio.sleep(1000), loop=greenio.hubs.get_hub().loop)
    spawn(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await_(task)


@pytest.mark.parametrize("how", ["kill", "timeout"])
def test_interruption_cancels_and_waits_for_it(hub_name, how):
    steps = []

    async def slow():
        steps.append("started")
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.001)
            steps.append("cancelled")

    def waiter():
        try:
            await_(slow())
        finally:
            steps.append("interrupted")

    thread = spawn(waiter)
    while not steps:
        sleep(0)
    if how == "kill":
        thread.kill()
        with pytest.raises(greenlet.GreenletExit):
            thread.wait()
    else:
        greenio.kill(thread, greenio.Timeout(None))
        with pytest.raises(greenio.Timeout):
            thread.wait()
    assert steps == ["started", "cancelled", "interrupted"]


@pytest.mark.parametrize("inside_run", [False, True])
def test_interruption_before_the_first_step_leaves_no_warning(hub_name, inside_run):
    def waiter():
        await_(doubled(1))

    run = contextvars.copy_context().run if inside_run else lambda func: func()
    thread = spawn(run, waiter)
    greenio.hubs.get_hub().schedule_call_global(0, lambda: thread.kill())
    with pytest.raises(greenlet.GreenletExit):
        thread.wait()
    gc.collect()


def test_each_awaited_coroutine_is_a_task_of_its_own(hub_name):
    async def current():
        await asyncio.sleep(0)
        return asyncio.current_task()

    def in_thread():
        return await_(current()), asyncio.current_task()

    (first, outside), (second, _) = spawn(in_thread).wait(), spawn(in_thread).wait()
    assert first is not second
    assert outside is None


def test_context_is_shared(hub_name):
    async def use():
        await asyncio.sleep(0)
        seen = variable.get()
        variable.set("coroutine")
        return seen

    def in_thread():
        variable.set("thread")
        assert await_(use()) == "thread"
        return variable.get()

    assert spawn(in_thread).wait() == "coroutine"
    assert variable.get() == ""


def test_context_is_shared_inside_context_run(hub_name):
    async def use():
        variable.set("coroutine")

    def inside():
        await_(use())
        return variable.get()

    assert spawn(contextvars.copy_context().run, inside).wait() == "coroutine"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is 3.11's")
def test_asyncio_timeout_and_taskgroup_inside(hub_name):
    async def work():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(doubled(n)) for n in range(3)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.sleep(1000)
        return [task.result() for task in tasks]

    assert spawn(lambda: await_(work())).wait() == [0, 2, 4]


def test_in_the_loop_greenlet_it_is_refused_and_the_coroutine_closed(run_async):
    async def main():
        coroutine = doubled(1)
        with pytest.raises(greenio.BlockingInLoopError, match="run_green"):
            await_(coroutine)
        with pytest.raises(RuntimeError, match=r"already|closed"):
            await coroutine

    run_async(main)


def test_another_loops_future_is_refused(hub_name):
    other = asyncio.new_event_loop()
    future = other.create_future()
    with pytest.raises(RuntimeError, match="another event loop"):
        await_(future)
    other.close()


@pytest.mark.parametrize("what", [42, None, print])
def test_what_cannot_be_awaited(hub_name, what):
    with pytest.raises(TypeError, match="await_"):
        await_(what)


# -- run_green ------------------------------------------------------------------------------


def test_run_green(run_async):
    async def main():
        def blocking(a, *, b):
            sleep(0.001)
            return a + b

        assert await run_green(blocking, 1, b=2) == 3

    run_async(main)


def test_run_green_raises(run_async):
    async def main():
        with pytest.raises(ZeroDivisionError):
            await run_green(lambda: 1 / 0)

    run_async(main)


def test_run_green_in_the_callers_context(run_async):
    async def main():
        variable.set("caller")

        def blocking():
            sleep(0)
            seen = variable.get()
            variable.set("blocking")
            return seen

        assert await run_green(blocking) == "caller"
        assert variable.get() == "blocking"

    run_async(main)


def test_cancellation_is_raised_inside(run_async):
    async def main():
        steps = []

        def blocking():
            try:
                steps.append("waits")
                event.Event().wait()
            except asyncio.CancelledError:
                steps.append("cancelled")
                raise
            finally:
                sleep(0)
                steps.append("cleaned up")

        task = asyncio.ensure_future(run_green(blocking))
        await until_async(lambda: steps)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps == ["waits", "cancelled", "cleaned up"]

    run_async(main)


def test_cancelled_before_it_starts(run_async):
    async def main():
        ran = []
        task = asyncio.ensure_future(run_green(ran.append, 1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(8):
            await asyncio.sleep(0)
        assert ran == []

    run_async(main)


def test_wait_for(run_async):
    async def main():
        steps = []

        def blocking():
            try:
                sleep(1000)
            finally:
                steps.append("cleaned up")

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(run_green(blocking), 0.001)
        assert steps == ["cleaned up"]

    run_async(main)


def test_cancellation_goes_all_the_way_down(run_async):
    """run_green of await_ of run_green of await_: the innermost sees it."""

    async def main():
        steps = []

        async def innermost():
            steps.append("waiting")
            try:
                await asyncio.sleep(1000)
            finally:
                steps.append("innermost")

        def green(level):
            try:
                if level:
                    await_(asynchronous(level - 1))
                else:
                    await_(innermost())
            finally:
                steps.append(f"green {level}")

        async def asynchronous(level):
            try:
                await run_green(green, level)
            finally:
                steps.append(f"async {level}")

        task = asyncio.ensure_future(asynchronous(2))
        while not steps:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps == [
            "waiting",
            "innermost",
            *(f"{kind} {level}" for level in range(3) for kind in ("green", "async")),
        ]

    run_async(main)


def test_killed_inside_is_a_cancellation_outside(run_async):
    async def main():
        threads = []

        def blocking():
            threads.append(greenio.getcurrent())
            sleep(1000)

        task = asyncio.ensure_future(run_green(blocking))
        while not threads:
            await asyncio.sleep(0)
        threads[0].kill()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_async(main)


def test_a_coroutine_function_is_refused(run_async):
    async def main():
        with pytest.raises(TypeError, match="which is awaited"):
            await run_green(doubled, 1)
        with pytest.raises(TypeError, match="takes a function"):
            await run_green(42)

    run_async(main)


def test_in_debug_mode(run_async):
    async def main():
        asyncio.get_running_loop().set_debug(True)
        assert await run_green(lambda: await_(doubled(4))) == 8
        assert await spawn(lambda: sleep(0) or "spawned") == "spawned"

    run_async(main)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are 3.12's")
def test_with_eager_tasks(run_async):
    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        plain = doubled(1)
        try:
            await asyncio.create_task(plain)
        except TypeError:
            # uvloop passes factories an argument that 3.13.0's does not know.
            plain.close()
            asyncio.get_running_loop().set_task_factory(None)
            pytest.skip("this uvloop has no eager tasks on this Python")
        assert await run_green(lambda: await_(doubled(4))) == 8
        assert await asyncio.create_task(run_green(lambda: sleep(0) or 5)) == 5

    run_async(main)
