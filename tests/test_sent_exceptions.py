"""Kills, time limits and cancellations across the bridge: each is raised once."""

from __future__ import annotations

import asyncio
import sys

import pytest

import greenio
from greenio import (
    Timeout,
    await_,
    ensure_portal,
    getcurrent,
    portal,
    run_green,
    sleep,
    spawn,
)

counts_cancellations = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Tasks do not count their cancellations yet"
)


class First(Exception):
    pass


class Second(Exception):
    pass


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


# -- portals ----------------------------------------------------------------------------


def test_a_timeout_reaches_a_portal_that_only_yields(run_async):
    @portal
    async def job():
        with pytest.raises(Timeout), Timeout(0.001):
            while True:
                sleep(0)
        return "raised"

    async def main():
        assert [await job() for _ in range(10)] == ["raised"] * 10

    run_async(main)


@pytest.mark.parametrize("awaits", [False, True], ids=["parked", "awaiting"])
@pytest.mark.parametrize("woken", [False, True])
def test_two_that_are_sent_to_a_portal_in_one_turn_both_arrive(
    run_async, awaits, woken
):
    async def main():
        seen = []
        event = greenio.Event()
        future = asyncio.get_running_loop().create_future()
        portals = []

        @portal
        async def job():
            portals.append(getcurrent())
            while len(seen) < 2:
                try:
                    if awaits:
                        await (asyncio.sleep(1000) if future.done() else future)
                    elif seen:
                        sleep(1000)
                    else:
                        event.wait()
                except (First, Second) as exc:
                    seen.append(type(exc))

        task = asyncio.create_task(job())
        await turns()
        if woken:
            event.send(1)
            future.set_result(1)
        greenio.kill(portals[0], First())
        greenio.kill(portals[0], Second())
        await task
        assert seen == [First, Second]

    run_async(main)


@counts_cancellations
@pytest.mark.parametrize("awaits", [False, True], ids=["parked", "awaiting"])
@pytest.mark.parametrize("cancelled_first", [False, True])
def test_a_kill_and_a_cancellation_of_a_portal_both_arrive(
    run_async, awaits, cancelled_first
):
    async def main():
        seen = []
        portals = []

        @portal
        async def job():
            portals.append(getcurrent())
            while len(seen) < 2:
                try:
                    if awaits:
                        await asyncio.sleep(1000)
                    else:
                        sleep(1000)
                except (First, asyncio.CancelledError) as exc:
                    seen.append(type(exc))

        task = asyncio.create_task(job())
        await turns()
        if cancelled_first:
            task.cancel()
        greenio.kill(portals[0], First())
        if not cancelled_first:
            # In the same turn: the kill is delivered from the run queue.
            asyncio.get_running_loop().call_soon(task.cancel)
        await task
        assert set(seen) == {First, asyncio.CancelledError}

    run_async(main)


def test_what_was_called_off_is_not_sent_again(run_async):
    async def main():
        portals = []
        future = asyncio.get_running_loop().create_future()

        @portal
        async def job():
            portals.append(getcurrent())
            timeout = Timeout(1000)
            try:
                with timeout:
                    await future
            except First:
                # The Timeout was sent, too, but its block has been left.
                await turns()
                return "went on"

        task = asyncio.create_task(job())
        await turns()
        greenio.kill(portals[0], First())
        expired = Timeout(None)
        expired.cancel()
        greenio.kill(portals[0], expired)
        assert await task == "went on"

    run_async(main)


# -- run_green --------------------------------------------------------------------------


@pytest.fixture(params=["inline", "in a portal"])
def in_task(request):
    """Run a coroutine function in a Task, where `run_green` can start inline or not."""
    if request.param == "inline":
        return asyncio.create_task

    async def prepared(coroutine):
        await ensure_portal()
        return await coroutine

    return lambda coroutine: asyncio.create_task(prepared(coroutine))


def test_a_cancellation_in_the_turn_in_which_the_function_ends(run_async, in_task):
    async def main():
        event = greenio.Event()
        task = in_task(run_green(event.wait))
        await turns()
        event.send(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_async(main)


def test_a_cancellation_after_the_function_has_ended(run_async, in_task):
    async def main():
        event = greenio.Event()
        ended = asyncio.Event()

        def blocking():
            event.wait()
            # Before the caller's next step.
            asyncio.get_running_loop().call_soon(task.cancel)
            ended.set()

        async def job():
            await run_green(blocking)
            await asyncio.sleep(1000)

        task = in_task(job())
        await turns()
        event.send(1)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    run_async(main)


def test_a_failure_that_the_caller_takes_is_not_reported(run_async, in_task):
    async def fails():
        await asyncio.sleep(0)
        raise First

    def at_once():
        raise First

    def after_a_wait():
        sleep(0)
        raise First

    async def main():
        reports = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        for blocking in (at_once, after_a_wait, lambda: await_(fails())):
            with pytest.raises(First):
                await in_task(run_green(blocking))
        assert not reports

    run_async(main)


def test_a_failure_that_a_cancellation_took_the_place_of_is_reported(run_async):
    async def main():
        event = greenio.Event()
        reports = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))

        def blocking():
            event.wait()
            raise First

        task = asyncio.create_task(run_green(blocking))
        await turns()
        event.send(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        if sys.version_info >= (3, 11):
            assert isinstance(caught.value.__cause__, First)
        (report,) = reports
        assert isinstance(report["exception"], First)

    run_async(main)


@counts_cancellations
@pytest.mark.parametrize("cancelled_first", [False, True])
def test_a_timeout_inside_does_not_swallow_a_cancellation_from_outside(
    run_async, cancelled_first
):
    async def main():
        seen = []
        threads = []

        def blocking():
            threads.append(getcurrent())
            for _ in range(2):
                try:
                    await_(asyncio.sleep(1000))
                except (First, asyncio.CancelledError) as exc:
                    seen.append(type(exc))

        task = asyncio.create_task(run_green(blocking))
        await turns()
        if cancelled_first:
            task.cancel()
            threads[0].kill(First())
        else:
            threads[0].kill(First())
            asyncio.get_running_loop().call_soon(task.cancel)
        await task
        assert set(seen) == {First, asyncio.CancelledError}

    run_async(main)


@counts_cancellations
def test_a_cancellation_that_the_function_does_not_wait_for_is_raised_in_the_caller(
    run_async,
):
    async def main():
        threads = []

        def blocking():
            threads.append(getcurrent())
            with pytest.raises(First):
                await_(asyncio.sleep(1000))
            return "ended"

        task = asyncio.create_task(run_green(blocking))
        await turns()
        task.cancel()
        threads[0].kill(First())
        with pytest.raises(asyncio.CancelledError):
            await task

    run_async(main)


# -- clean-up ---------------------------------------------------------------------------


@counts_cancellations
@pytest.mark.parametrize("how", ["green thread", "run_green", "portal"])
def test_clean_up_below_green_code_completes_when_the_loop_ends(run_async, how):
    cleaned_up = []

    async def asynchronous():
        try:
            await asyncio.sleep(1000)
        finally:
            await turns(20)
            cleaned_up.append(how)

    def blocking():
        await_(asynchronous())

    @portal
    async def in_portal():
        blocking()

    async def main():
        if how == "green thread":
            kept.append(spawn(blocking))
        elif how == "run_green":
            kept.append(asyncio.create_task(run_green(blocking)))
        else:
            kept.append(asyncio.create_task(in_portal()))
        await turns()

    kept: list[object] = []
    run_async(main)
    assert cleaned_up == [how]


@pytest.mark.parametrize("calls", [spawn, None], ids=["green thread", "run_green"])
def test_a_second_kill_waits_until_the_clean_up_for_the_first_is_done(run_async, calls):
    steps = []

    async def asynchronous():
        try:
            await asyncio.sleep(1000)
        finally:
            await turns(10)
            steps.append("cleaned up")

    def blocking():
        threads.append(getcurrent())
        try:
            await_(asynchronous())
        except First:
            steps.append("first")
        try:
            sleep(1000)
        except Second:
            steps.append("second")

    async def main():
        made = asyncio.ensure_future(
            run_green(blocking) if calls is None else spawn(blocking).wait_async()
        )
        await turns()
        greenio.kill(threads[0], First())
        await turns(3)
        greenio.kill(threads[0], Second())
        await made

    threads: list[greenio.greenthread.GreenThread] = []
    run_async(main)
    assert steps == ["cleaned up", "first", "second"]
