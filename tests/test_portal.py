"""Portals: blocking-style calls inside a coroutine suspend only its Task."""

from __future__ import annotations

import asyncio
import contextvars
import re
import signal
import sys
import weakref

import pytest

import greenio
from greenio import queue, semaphore

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


def blocking_pause() -> asyncio.Task | None:
    greenio.sleep(0)
    greenio.sleep(0.001)
    return asyncio.current_task()


def test_blocking_calls_suspend_only_the_task(run_async):
    async def main():
        box = queue.Queue()
        order = []

        @greenio.portal
        async def consumer():
            order.append("waiting")
            order.append(box.get())
            await asyncio.sleep(0)
            order.append(box.get())

        task = asyncio.create_task(consumer())
        while not order:
            await asyncio.sleep(0)
        order.append("others run")
        box.put("first")
        box.put("second")
        await task
        assert order == ["waiting", "others run", "first", "second"]

    run_async(main)


def test_the_current_task_stays_right(run_async):
    async def main():
        @greenio.portal
        async def inner():
            me = asyncio.current_task()
            for _ in range(3):
                assert blocking_pause() is me
                await asyncio.sleep(0)
                assert asyncio.current_task() is me
            return me

        tasks = [asyncio.create_task(inner()) for _ in range(5)]
        assert await asyncio.gather(*tasks) == tasks

    run_async(main)


def test_without_a_portal_the_same_call_is_refused(run_async):
    async def main():
        assert not greenio.has_portal()
        with pytest.raises(greenio.BlockingInLoopError):
            blocking_pause()

        @greenio.portal
        async def inner():
            assert greenio.has_portal()
            blocking_pause()

        await inner()
        assert not greenio.has_portal()

    run_async(main)


def test_cancellation_reaches_the_blocking_call(run_async):
    async def main():
        steps = []

        @greenio.portal
        async def inner():
            try:
                steps.append("parked")
                queue.Queue().get()
            finally:
                steps.append("cleaned up")

        task = asyncio.create_task(inner())
        while not steps:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps == ["parked", "cleaned up"]

    run_async(main)


def test_timeout_interrupts_both_kinds_of_waiting(run_async):
    async def main():
        @greenio.portal
        async def inner():
            with pytest.raises(greenio.Timeout), greenio.Timeout(0.01):
                queue.Queue().get()
            with pytest.raises(greenio.Timeout), greenio.Timeout(0.01):
                await asyncio.get_running_loop().create_future()
            if sys.version_info >= (3, 11):
                assert asyncio.current_task().cancelling() == 0
            return "went on"

        assert await inner() == "went on"

    run_async(main)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is 3.11's")
def test_asyncio_timeout_interrupts_a_blocking_call(run_async):
    async def main():
        @greenio.portal
        async def inner():
            async with asyncio.timeout(0.01):
                queue.Queue().get()

        with pytest.raises(TimeoutError):
            await inner()

    run_async(main)


def test_await_in_a_portal_is_part_of_the_task(run_async):
    async def main():
        async def asynchronous():
            await asyncio.sleep(0)
            return asyncio.current_task()

        def plain():
            return greenio.await_(asynchronous())

        @greenio.portal
        async def inner():
            return plain() is asyncio.current_task()

        assert await inner()

    run_async(main)


def test_exceptions_pass_through(run_async):
    async def main():
        async def fails():
            await asyncio.sleep(0)
            raise KeyError("inside")

        @greenio.portal
        async def inner():
            with pytest.raises(KeyError, match="inside"):
                greenio.await_(fails())
            raise ValueError("outside")

        with pytest.raises(ValueError, match="outside"):
            await inner()

    run_async(main)


def test_context_is_the_tasks(run_async):
    async def main():
        @greenio.portal
        async def inner():
            variable.set("before")
            blocking_pause()
            assert variable.get() == "before"
            await asyncio.sleep(0)
            assert variable.get() == "before"
            return variable.get()

        async def outer():
            assert await inner() == "before"
            # One context: what the portal set, its Task sees.
            assert variable.get() == "before"

        await asyncio.create_task(outer())
        assert variable.get() == ""

    run_async(main)


def test_green_threads_and_portals_share_primitives(run_async):
    async def main():
        gate = semaphore.Semaphore(1)
        inside = 0
        most = 0

        def critical():
            nonlocal inside, most
            with gate:
                inside += 1
                most = max(most, inside)
                greenio.sleep(0)
                inside -= 1

        @greenio.portal
        async def through_portal():
            for _ in range(10):
                critical()

        def through_thread():
            for _ in range(10):
                critical()

        threads = [greenio.spawn(through_thread) for _ in range(3)]
        await asyncio.gather(*(through_portal() for _ in range(3)), *threads)
        assert (inside, most) == (0, 1)
        assert gate.balance == 1

    run_async(main)


def test_spawn_and_wait_inside(run_async):
    async def main():
        @greenio.portal
        async def inner():
            thread = greenio.spawn(lambda: "result")
            return thread.wait()

        assert await inner() == "result"

    run_async(main)


def test_factory_gives_every_task_a_portal(run_async):
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(greenio.portal_task_factory)

        async def plain():
            return blocking_pause() is asyncio.current_task()

        assert await asyncio.gather(plain(), plain()) == [True, True]
        loop.set_task_factory(None)

    run_async(main)


@pytest.mark.parametrize("parks", [False, True])
def test_factory_in_place_when_the_loop_ends(run_async, parks):
    """Tasks that begin when all have been cancelled leave nothing behind."""

    async def main():
        asyncio.get_running_loop().set_task_factory(greenio.portal_task_factory)

        async def plain():
            if parks:
                blocking_pause()

        await asyncio.create_task(plain())

    # What another test has left is not this one's.
    signal.set_wakeup_fd(-1)
    run_async(main)
    assert signal.set_wakeup_fd(-1) == -1


def test_nested_portals_are_one(run_async):
    async def main():
        @greenio.portal
        async def inner():
            blocking_pause()
            return greenio.greenthread.getcurrent()

        @greenio.portal
        async def outer():
            return await inner() is greenio.greenthread.getcurrent()

        assert await outer()

    run_async(main)


def test_ensure_portal_for_the_rest_of_a_running_task(run_async):
    async def main():
        async def deep():
            await greenio.ensure_portal()
            assert blocking_pause() is asyncio.current_task()
            await greenio.ensure_portal()

        async def plain():
            with pytest.raises(greenio.BlockingInLoopError):
                blocking_pause()
            await deep()
            # Its caller has it too, and so has what comes later.
            assert blocking_pause() is asyncio.current_task()
            await asyncio.sleep(0)
            blocking_pause()
            return "done"

        tasks = [asyncio.create_task(plain()) for _ in range(3)]
        assert await asyncio.gather(*tasks) == ["done"] * 3
        assert not greenio.has_portal()

    run_async(main)


def test_who_looks_at_a_task_with_a_portal_sees_its_coroutine(run_async):
    async def main():
        go_on = asyncio.Event()

        async def plain():
            await greenio.ensure_portal()
            await go_on.wait()

        task = asyncio.create_task(plain())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        coro = task.get_coro()
        assert coro.__name__ == "plain"
        assert coro.cr_code is plain.__code__
        assert coro.cr_frame.f_code is plain.__code__
        assert coro.cr_running is False
        assert coro.cr_await is not None
        assert [frame.f_code for frame in task.get_stack()] == [plain.__code__]
        assert re.fullmatch(
            "<<coroutine object .*plain at .*> in a portal>", repr(coro)
        )
        with pytest.raises(
            TypeError, match="is stepped by its Task and cannot be awaited"
        ):
            await coro
        go_on.set()
        await task

    run_async(main)


def test_ensure_portal_cancelled_at_once(run_async):
    async def main():
        steps = []

        async def plain():
            try:
                await greenio.ensure_portal()
            finally:
                blocking_pause()
                steps.append("cleaned up in the portal")

        task = asyncio.create_task(plain())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps == ["cleaned up in the portal"]

    run_async(main)


def test_ensure_portal_leaks_nothing(run_async):
    import gc
    import weakref

    class Marker:
        pass

    async def main():
        async def plain(marker):
            await greenio.ensure_portal()
            blocking_pause()
            raise KeyError

        references = []
        for _ in range(20):
            marker = Marker()
            references.append(weakref.ref(marker))
            task = asyncio.create_task(plain(marker))
            repr(task)
            outcome = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(outcome[0], KeyError)
            task.get_stack()
            del marker, task, outcome
        # The loop holds the handle of the last callback until there is another.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()
        assert [ref for ref in references if ref() is not None] == []

    run_async(main)


def test_ensure_portal_outside_a_task(run_async):
    async def main():
        done = asyncio.get_running_loop().create_future()

        def callback():
            try:
                greenio.ensure_portal().send(None)
            except RuntimeError as exc:
                done.set_result(str(exc))

        asyncio.get_running_loop().call_soon(callback)
        assert "create_task" in await done

    run_async(main)


def test_ensure_portal_of_a_task_written_in_python(run_async):
    async def main():
        async def plain():
            await greenio.ensure_portal()
            blocking_pause()
            return "done"

        loop = asyncio.get_running_loop()
        assert await asyncio.tasks._PyTask(plain(), loop=loop) == "done"

    run_async(main)


# -- being used again -------------------------------------------------------------------


def is_used_again(run_async, keep):
    """Whether a portal is used again, of which `keep` kept something."""

    async def main():
        kept = []

        @greenio.portal
        async def inner(keep):
            kept.append(keep(greenio.getcurrent()))
            greenio.sleep(0)
            return await pause(blocking_pause())

        task = asyncio.current_task()
        assert await inner(lambda portal: None) is task
        idle = greenio.hubs.get_hub().extension.portals
        before = len(idle)
        assert before
        assert await inner(keep) is task
        again = len(idle) == before
        for _ in range(3):
            assert await inner(lambda portal: None) is task
        return again

    return run_async(main)


async def pause(result):
    await asyncio.sleep(0)
    return result


def test_used_again_if_nothing_is_left_of_it(run_async):
    assert is_used_again(run_async, lambda portal: None)


@pytest.mark.parametrize("kind", ["itself", "switch", "weak"])
def test_not_used_again_if_somebody_has_it(run_async, kind):
    def keep(portal):
        if kind == "itself":
            return portal
        return portal.switch if kind == "switch" else weakref.ref(portal)

    assert not is_used_again(run_async, keep)


def test_not_used_again_after_a_failure(run_async):
    async def main():
        @greenio.portal
        async def inner(fails):
            greenio.sleep(0)
            if fails:
                raise KeyError

        await inner(False)
        idle = greenio.hubs.get_hub().extension.portals
        before = len(idle)
        with pytest.raises(KeyError):
            await inner(True)
        assert len(idle) == before - 1

    run_async(main)


def test_nothing_is_kept_of_a_coroutine(run_async):
    class Thing:
        pass

    async def main():
        @greenio.portal
        async def inner(thing):
            greenio.sleep(0)
            return thing

        thing = Thing()
        gone = weakref.ref(thing)
        assert await inner(thing) is thing
        del thing
        assert gone() is None

    run_async(main)


def test_waiting_in_another_context(run_async):
    def in_other():
        variable.set("inside")
        greenio.sleep(0)
        greenio.await_(pause(1))
        return variable.get()

    async def main():
        @greenio.portal
        async def inner():
            return contextvars.copy_context().run(in_other), variable.get()

        assert await inner() == ("inside", "")

    run_async(main)


def test_tasks_of_a_programs_own_class(run_async):
    class Named(asyncio.Task):
        pass

    async def work():
        await greenio.ensure_portal()
        return blocking_pause()

    async def main():
        task = Named(work())
        assert await task is task

    run_async(main)
