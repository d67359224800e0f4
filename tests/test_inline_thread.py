"""The green thread behind `run_green`: it begins in its caller's step, and is used again."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import weakref

import greenlet
import pytest

import greenio
from greenio import await_, ensure_portal, getcurrent, run_green, sleep, spawn


class Told(Exception):
    pass


async def pause(result=None):
    await asyncio.sleep(0)
    return result


async def current_task():
    await asyncio.sleep(0)
    return asyncio.current_task()


def test_it_begins_at_once_and_outside_the_task(run_async):
    async def main():
        seen = []

        def blocking():
            seen.append(asyncio.current_task())
            sleep(0)
            seen.append(asyncio.current_task())
            await_(pause())
            seen.append(asyncio.current_task())
            return "done"

        me = asyncio.current_task()
        coroutine = run_green(blocking)
        coroutine.send(None)
        assert seen == [None]
        assert asyncio.current_task() is me
        coroutine.close()
        assert await run_green(blocking) == "done"
        assert seen[-3:] == [None] * 3
        assert asyncio.current_task() is me

    run_async(main)


@pytest.mark.parametrize("waited", [False, True])
def test_what_it_awaits_is_a_part_of_the_calling_task(run_async, waited):
    async def main():
        def blocking():
            if waited:
                sleep(0)
            return await_(current_task()), await_(current_task())

        me = asyncio.current_task()
        assert await run_green(blocking) == (me, me)

    run_async(main)


def test_in_another_context_it_is_a_task_in_that_context(run_async):
    variable = contextvars.ContextVar("variable", default="outside")

    async def seen():
        return variable.get(), asyncio.current_task()

    async def main():
        def in_other():
            variable.set("inside")
            return await_(seen())

        def blocking():
            return contextvars.copy_context().run(in_other), await_(seen())

        me = asyncio.current_task()
        (inside, other), (outside, mine) = await run_green(blocking)
        assert (inside, outside) == ("inside", "outside")
        assert other is not me
        assert mine is me

    run_async(main)


def test_coroutines_in_it_may_not_block(run_async):
    async def main():
        async def asynchronous():
            with pytest.raises(greenio.BlockingInLoopError):
                sleep(1)
            await asyncio.sleep(0)
            with pytest.raises(greenio.BlockingInLoopError):
                await_(pause())
            return "refused"

        assert await run_green(lambda: await_(asynchronous())) == "refused"

    run_async(main)


def test_a_task_that_gets_a_portal_meanwhile(run_async):
    async def main():
        def blocking():
            await_(ensure_portal())
            first = await_(pause(1))
            sleep(0)
            return first + await_(pause(2))

        async def caller():
            results = await run_green(blocking), await run_green(blocking)
            sleep(0)
            return results

        assert await asyncio.create_task(caller()) == (3, 3)

    run_async(main)


@pytest.mark.parametrize("waited", [False, True])
def test_killed_while_its_caller_awaits_for_it(run_async, waited):
    async def main():
        steps = []
        threads = []

        async def asynchronous():
            try:
                await asyncio.sleep(1000)
            finally:
                steps.append("cleaned up")
                await asyncio.sleep(0)

        def blocking():
            threads.append(getcurrent())
            if waited:
                sleep(0)
            try:
                await_(asynchronous())
            except Told:
                steps.append("told")
            try:
                await_(pause("not seen"))
            except KeyError:
                steps.append("told again")
            return await_(pause("went on"))

        task = asyncio.create_task(run_green(blocking))
        for _ in range(5):
            await asyncio.sleep(0)
        threads[0].kill(Told())
        # A second one waits until the first has been seen.
        await asyncio.sleep(0)
        threads[0].kill(KeyError())
        assert await task == "went on"
        assert steps == ["cleaned up", "told", "told again"]
        if sys.version_info >= (3, 11):
            assert task.cancelling() == 0

    run_async(main)


def test_killed_before_its_caller_awaits_for_it(run_async):
    async def main():
        ran = []

        async def asynchronous():
            ran.append(1)

        def blocking():
            sleep(0)
            # In the turn in which this asks, the other one kills it.
            spawn(getcurrent().kill)
            await_(asynchronous())

        with pytest.raises(asyncio.CancelledError):
            await run_green(blocking)
        assert ran == []

    run_async(main)


def test_a_caller_that_is_closed(run_async):
    async def main():
        seen = []

        def blocking():
            try:
                await_(asyncio.sleep(1000))
            except asyncio.CancelledError:
                seen.append("cancelled")
            # There is no caller any more.
            seen.append(await_(current_task()))

        coroutine = run_green(blocking)
        coroutine.send(None)
        coroutine.close()
        while len(seen) < 2:
            await asyncio.sleep(0)
        assert seen[0] == "cancelled"
        assert seen[1] is not asyncio.current_task()

    run_async(main)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_interruptions_reach_who_runs_the_loop(loop, interrupt):
    def blocking():
        raise interrupt

    async def main():
        await run_green(blocking)

    with pytest.raises(interrupt):
        greenio.run(main, hub=loop)


# -- being used again -------------------------------------------------------------------


def is_used_again(run_async, keep):
    """Whether a thread is used again, of which `keep` kept something."""

    async def main():
        kept = []

        def first():
            kept.append(keep(getcurrent()))
            sleep(0)
            return id(getcurrent())

        await run_green(sleep)
        hub = greenio.hubs.get_hub()
        idle = len(hub.extension.inline_threads)
        assert idle
        await run_green(first)
        again = len(hub.extension.inline_threads) == idle
        # Others come and go while something of it is kept.
        for number in range(3):
            assert await run_green(lambda n: await_(pause(n)), number) == number
            await asyncio.sleep(0)
        for thing in kept:
            if isinstance(thing, weakref.ref):
                thing = thing()
            if isinstance(thing, greenio.GreenThread):
                assert thing.dead
                assert thing.wait() == id(thing)
        return again

    return run_async(main)


def test_used_again_if_nothing_is_left_of_it(run_async):
    assert is_used_again(run_async, lambda thread: None)


def test_not_used_again_if_somebody_has_it(run_async):
    assert not is_used_again(run_async, lambda thread: thread)


def test_not_used_again_if_somebody_may_switch_to_it(run_async):
    assert not is_used_again(run_async, lambda thread: thread.switch)


def test_not_used_again_if_somebody_watches_it(run_async):
    assert not is_used_again(run_async, weakref.ref)


def test_not_used_again_if_it_has_attributes(run_async):
    def mark(thread):
        thread.mark = 1

    assert not is_used_again(run_async, mark)


def test_not_used_again_after_a_failure(run_async):
    async def main():
        def fails():
            raise Told

        await run_green(sleep)
        hub = greenio.hubs.get_hub()
        idle = len(hub.extension.inline_threads)
        with pytest.raises(Told):
            await run_green(fails)
        assert len(hub.extension.inline_threads) == idle - 1

    run_async(main)


def test_nothing_is_kept_of_a_call(run_async):
    class Thing:
        pass

    async def main():
        thing = Thing()
        gone = weakref.ref(thing)
        assert await run_green(lambda argument: argument, thing) is thing
        assert await run_green(lambda argument: await_(pause(argument)), thing) is thing
        del thing
        assert gone() is None

    run_async(main)


def test_they_end_with_the_loop(run_async):
    alive = []

    async def main():
        await run_green(sleep)
        hub = greenio.hubs.get_hub()
        alive.extend(weakref.ref(thread) for thread in hub.extension.inline_threads)
        assert alive

    run_async(main)
    assert [ref() for ref in alive if ref() is not None] == []


def test_they_are_greenlets_that_have_ended_to_everybody_else(run_async):
    async def main():
        await run_green(sleep)
        hub = greenio.hubs.get_hub()
        assert hub.extension.inline_threads
        assert all(
            isinstance(thread, greenlet.greenlet)
            for thread in hub.extension.inline_threads
        )
        assert not set(hub.extension.inline_threads) & set(hub.green_threads())

    run_async(main)
