"""What is interrupted cleans up: it is waited for, its failure is seen, and once is enough."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import asynccontextmanager, suppress

import pytest

import greenio
from greenio import Timeout, await_, ensure_portal, run_green, sleep, spawn

counts_cancellations = pytest.mark.skipif(
    not hasattr(asyncio.Task, "cancelling"),
    reason="Tasks do not count their cancellations yet",
)


class Failed(Exception):
    pass


async def in_green_thread(func):
    return await spawn(func)


async def in_portal(func):
    await ensure_portal()
    return func()


async def in_a_context_of_its_own(func):
    return await run_green(lambda: contextvars.copy_context().run(func))


@pytest.fixture(
    params=[in_green_thread, run_green, in_portal, in_a_context_of_its_own],
    ids=["green thread", "run_green", "portal", "context"],
)
def green(run_async, request):
    """Run a function in green code of each kind."""
    return lambda func: run_async(lambda: request.param(func))


class Interruption(BaseException):
    pass


class Slow:
    """What takes its time to clean up when it is cancelled, and may fail."""

    def __init__(self, interruption=None, fails=False):
        self.interruption = interruption
        self.fails = fails
        self.steps = []
        self.caller = greenio.getcurrent()

    async def run(self):
        if self.interruption is not None:
            # When the caller waits.
            loop = asyncio.get_running_loop()
            loop.call_later(0.001, greenio.kill, self.caller, self.interruption)
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.001)
            self.steps.append("cleaned up")
            if self.fails:
                raise Failed


class Manager:
    """A manager that is slow to enter or to leave."""

    def __init__(self, slow, where):
        self.slow = slow
        self.where = where

    async def __aenter__(self):
        if self.where == "enter":
            await self.slow.run()

    async def __aexit__(self, *_):
        if self.where == "exit":
            await self.slow.run()


def wait_for(slow, where):
    if where == "await":
        await_(slow.run())
    else:
        with greenio.sync_context(Manager(slow, where)):
            pass


where = pytest.mark.parametrize("where", ["await", "enter", "exit"])


@where
def test_who_is_interrupted_goes_on_when_it_has_cleaned_up(green, where):
    def blocking():
        slow = Slow(Interruption())
        with pytest.raises(Interruption):
            wait_for(slow, where)
        assert slow.steps == ["cleaned up"]
        for _ in range(3):
            sleep(0)

    green(blocking)


@where
def test_the_failure_of_the_clean_up_is_raised_instead(green, where):
    reports = []

    def blocking():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        interruption = Interruption()
        with pytest.raises(Failed) as failure:
            wait_for(Slow(interruption, fails=True), where)
        assert failure.value.__context__ is interruption
        # Nothing of it is left.
        for _ in range(3):
            await_(asyncio.sleep(0))
            sleep(0)
        task = asyncio.current_task()
        if task is not None and hasattr(task, "cancelling"):
            assert task.cancelling() == 0

    green(blocking)
    assert reports == []


@pytest.mark.parametrize("first", [True, False])
def test_a_kill_is_not_lost_to_a_failure_in_the_same_turn(green, first):
    def blocking():
        loop = asyncio.get_running_loop()
        caller = greenio.getcurrent()
        future = loop.create_future()

        async def waiting():
            await future

        def kill():
            greenio.kill(caller, Interruption())

        def fail():
            future.set_exception(Failed())

        for call in (fail, kill) if first else (kill, fail):
            loop.call_soon(call)
        seen = []
        try:
            await_(waiting())
        except (Interruption, Failed) as exc:
            seen.append(type(exc))
        try:
            for _ in range(5):
                sleep(0)
        except Interruption as exc:
            seen.append(type(exc))
        assert Interruption in seen

    green(blocking)


def test_a_manager_that_was_entered_too_late_is_left_without_a_cancellation(green):
    async def turns(count):
        for _ in range(count):
            await asyncio.sleep(0)

    class Entered:
        async def __aenter__(self):
            await turns(5)
            steps.append("entered")

        async def __aexit__(self, *_):
            await turns(5)
            steps.append("left")

    async def kill_after(count, thread):
        await turns(count)
        greenio.kill(thread, Interruption())

    def blocking():
        for count in range(1, 12):
            del steps[:]
            task = asyncio.ensure_future(kill_after(count, greenio.getcurrent()))
            with pytest.raises(Interruption), greenio.sync_context(Entered()):
                sleep(1000)
            await_(task)
            assert steps in ([], ["entered", "left"])

    steps = []
    green(blocking)


def test_a_kill_of_a_portal_comes_though_what_it_awaits_swallows_it(run_async):
    async def swallowing():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)

    async def main():
        await ensure_portal()
        task = asyncio.create_task(swallowing())
        with pytest.raises(Timeout), Timeout(0.001):
            await task
        await asyncio.sleep(0)

    run_async(main)


# -- cancelled in each turn -------------------------------------------------------------


def test_anyio_cancels_who_is_cleaning_up_once(run_async):
    anyio = pytest.importorskip("anyio")

    def blocking():
        slow = Slow()
        with greenio.sync_context(anyio.CancelScope()) as scope:
            asyncio.get_running_loop().call_later(0.001, scope.cancel)
            await_(slow.run())
        assert scope.cancelled_caught
        assert slow.steps == ["cleaned up"]
        # It was cancelled in each turn meanwhile.
        for _ in range(10):
            sleep(0)
        return "done"

    async def main():
        assert await run_green(blocking) == "done"
        assert await spawn(blocking) == "done"

    run_async(main)


@counts_cancellations
def test_cancellations_during_the_clean_up_are_one(run_async):
    counts = []

    def blocking():
        with suppress(asyncio.CancelledError):
            await_(Slow().run())
        count = 0
        for _ in range(10):
            try:
                sleep(0)
            except asyncio.CancelledError:
                count += 1
        counts.append(count)

    async def main():
        await ensure_portal()
        task = asyncio.create_task(calling())
        for _ in range(5):
            await asyncio.sleep(0)
        for _ in range(4):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])

    async def calling():
        # In a portal there is no inline thread.
        await ensure_portal()
        await run_green(blocking)

    run_async(main)
    assert counts == [1]


@counts_cancellations
def test_one_that_is_not_seen_is_raised_in_the_caller(run_async):
    ended = []

    def blocking():
        with suppress(asyncio.CancelledError):
            await_(Slow().run())
        ended.append(True)

    async def calling():
        await ensure_portal()
        await run_green(blocking)

    async def main():
        task = asyncio.create_task(calling())
        for _ in range(5):
            await asyncio.sleep(0)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        assert ended
        assert task.cancelled()

    run_async(main)


# -- context variables ------------------------------------------------------------------

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
other: contextvars.ContextVar[str] = contextvars.ContextVar("other")


@pytest.mark.parametrize("waits_first", [False, True])
def test_a_manager_and_its_block_share_their_context(green, waits_first):
    seen = []

    @asynccontextmanager
    async def manager():
        token = variable.set("the manager's")
        await asyncio.sleep(0)
        try:
            yield
        finally:
            seen.append(other.get("none"))
            variable.reset(token)
            other.set("changed")

    def blocking():
        if waits_first:
            sleep(0)
        with greenio.sync_context(manager()):
            seen.append(variable.get("none"))
            other.set("the block's")
        seen.extend((variable.get("none"), other.get()))

    green(blocking)
    assert seen == ["the manager's", "the block's", "none", "changed"]
