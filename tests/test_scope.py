"""`sync_context` of what belongs to a Task: it is entered and left by one and the same."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import suppress

import pytest

import greenio
from _fresh import run
from _support import collect_garbage
from greenio import ensure_portal, run_green, sleep, spawn, sync_context

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

since_311 = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="asyncio has no such scopes yet"
)


class Failed(Exception):
    pass


class Noted:
    """A manager that notes which Task enters and leaves it, and with what."""

    def __init__(self, suppresses=False):
        self.tasks = []
        self.error = None
        self._suppresses = suppresses

    async def __aenter__(self):
        await asyncio.sleep(0)
        self.tasks.append(asyncio.current_task())
        return "entered"

    async def __aexit__(self, kind, error, traceback):
        await asyncio.sleep(0)
        self.tasks.append(asyncio.current_task())
        self.error = error
        return self._suppresses


async def in_green_thread(func):
    return await spawn(func)


async def in_portal(func):
    await ensure_portal()
    return func()


@pytest.fixture(
    params=[in_green_thread, run_green, in_portal],
    ids=["green thread", "run_green", "portal"],
)
def green(run_async, request):
    """Run a function in green code of each kind."""
    return lambda func: run_async(lambda: request.param(func))


def test_one_task_enters_and_leaves(green):
    def blocking():
        manager = Noted()
        with sync_context(manager) as value:
            assert value == "entered"
            sleep(0)
        first, second = manager.tasks
        assert first is second
        assert manager.error is None

    green(blocking)


def test_it_is_told_what_ended_the_block(green):
    def blocking():
        manager = Noted()
        with pytest.raises(Failed) as caught, sync_context(manager):
            raise Failed
        assert manager.error is caught.value
        with sync_context(Noted(suppresses=True)):
            raise Failed
        return "went on"

    assert green(blocking) == "went on"


def test_it_may_be_used_again(green):
    def blocking():
        context = sync_context(Noted())
        for _ in range(2):
            with context:
                sleep(0)

    green(blocking)


def test_what_entering_raises_is_raised(green):
    class Refuses(Noted):
        async def __aenter__(self):
            raise Failed

    def blocking():
        with pytest.raises(Failed), sync_context(Refuses()):
            pytest.fail("it was entered")

    green(blocking)


@since_311
def test_a_timeout_of_asyncios_ends_the_block(green):
    def blocking():
        with pytest.raises(TimeoutError), sync_context(asyncio.timeout(0.001)):
            sleep(1000)
        with sync_context(asyncio.timeout(1000)):
            sleep(0)
        return "went on"

    assert green(blocking) == "went on"


@since_311
def test_a_failing_task_of_a_group_ends_the_block(green):
    async def fails():
        raise Failed

    def blocking():
        with pytest.raises(ExceptionGroup) as caught:
            with sync_context(asyncio.TaskGroup()) as group:
                group.create_task(fails())
                sleep(1000)
        assert [type(error) for error in caught.value.exceptions] == [Failed]
        return "went on"

    assert green(blocking) == "went on"


@since_311
def test_what_interrupts_the_block_of_a_group_is_raised_as_it_is(green):
    def blocking():
        with pytest.raises(greenio.Timeout) as caught:
            with sync_context(asyncio.TaskGroup()) as group:
                task = group.create_task(asyncio.sleep(1000))
                limit = greenio.Timeout(0.001)
                sleep(1000)
        assert caught.value is limit
        assert limit.__context__ is None
        assert task.cancelled()
        # What fails is in a group, as ever.
        with pytest.raises(ExceptionGroup), sync_context(asyncio.TaskGroup()):
            raise Failed

    green(blocking)


@since_311
def test_who_is_killed_in_the_block_of_a_group_is_killed(run_async):
    async def main():
        def blocking():
            with sync_context(asyncio.TaskGroup()) as group:
                tasks.append(group.create_task(asyncio.sleep(1000)))
                sleep(1000)

        tasks = []
        thread = spawn(blocking)
        while not tasks:
            await asyncio.sleep(0)
        thread.kill()
        with pytest.raises(asyncio.CancelledError):
            await thread
        assert tasks[0].cancelled()
        assert "killed" in repr(thread)

    run_async(main)


@since_311
def test_a_group_waits_for_its_tasks(green):
    done = []

    async def works():
        await asyncio.sleep(0)
        done.append(1)

    def blocking():
        with sync_context(asyncio.TaskGroup()) as group:
            group.create_task(works())
        assert done == [1]

    green(blocking)


def test_killed_in_the_block_and_before(run_async):
    async def main():
        class Slow(Noted):
            async def __aenter__(self):
                await asyncio.sleep(1000 if self.tasks is None else 0)
                return await super().__aenter__()

        def blocking(manager):
            with sync_context(manager):
                sleep(1000)

        inside, before = Slow(), Slow()
        before.tasks = None
        threads = [spawn(blocking, manager) for manager in (inside, before)]
        for _ in range(10):
            await asyncio.sleep(0)
        for thread in threads:
            thread.kill()
            with pytest.raises(asyncio.CancelledError):
                await thread
        assert isinstance(inside.error, greenio.greenlet.GreenletExit)

    run_async(main)


@since_311
def test_cancelled_in_the_turn_in_which_the_block_ends(green):
    class Suppresses(Noted):
        async def __aexit__(self, kind, error, traceback):
            await super().__aexit__(kind, error, traceback)
            for _ in range(3):
                await asyncio.sleep(0)
            self.cancelled = self.tasks[0].cancelling()
            return kind is asyncio.CancelledError

    def blocking():
        manager = Suppresses()
        with sync_context(manager):
            manager.tasks[0].cancel()
            sleep(0)
        assert isinstance(manager.error, asyncio.CancelledError)
        assert manager.cancelled == 1

    green(blocking)


def test_killed_in_the_turn_in_which_it_is_entered(run_async):
    class Kills(Noted):
        async def __aenter__(self):
            await super().__aenter__()
            threads[0].kill()

    async def main():
        def blocking():
            with sync_context(manager):
                pytest.fail("the block was begun")

        threads.append(spawn(blocking))
        with pytest.raises(asyncio.CancelledError):
            await threads[0]

    threads, manager = [], Kills()
    run_async(main)
    first, second = manager.tasks
    assert first is second
    assert isinstance(manager.error, greenio.greenlet.GreenletExit)


class Limit:
    """As `asyncio.timeout`, which Python 3.10 has not."""

    async def __aenter__(self):
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(0.001, self._task.cancel)

    async def __aexit__(self, kind, error, _traceback):
        self._timer.cancel()
        if kind is asyncio.CancelledError:
            raise Failed from error


def test_it_leaves_nothing_to_the_collector(hub_name):
    def entered_and_left(*waits):
        with suppress(Failed), sync_context(Limit()):
            for seconds in waits:
                sleep(seconds)

    entered_and_left(1000)
    collect_garbage()
    gc.disable()
    try:
        entered_and_left(1000)
        entered_and_left()
        assert not gc.collect()
    finally:
        gc.enable()


@since_311
@pytest.mark.parametrize("ends", ["time limit", "kill", "failure", "failing task"])
def test_a_group_leaves_nothing_to_the_collector(green, ends):
    async def fails():
        raise Failed

    def interrupted():
        with suppress(greenio.Timeout, greenio.greenlet.GreenletExit, ExceptionGroup):
            with sync_context(asyncio.TaskGroup()) as group:
                group.create_task(fails() if ends == "failing task" else rest())
                if ends == "failure":
                    raise Failed
                if ends == "kill":
                    raise greenio.greenlet.GreenletExit
                with greenio.Timeout(0.001 if ends == "time limit" else None):
                    sleep(1000)

    async def rest():
        await asyncio.sleep(1000)

    def blocking():
        interrupted()
        collect_garbage()
        gc.disable()
        try:
            interrupted()
            assert not gc.collect()
        finally:
            gc.enable()

    green(blocking)


def test_scopes_of_anyios(green):
    anyio = pytest.importorskip("anyio")

    async def fails():
        raise Failed

    def blocking():
        with pytest.raises(BaseException) as caught:
            with sync_context(anyio.create_task_group()) as group:
                group.start_soon(fails)
                sleep(1000)
        assert not isinstance(caught.value, asyncio.CancelledError)

    green(blocking)


class ScopeOfTheTask:
    """As anyio's: entered with `with`, in the Task that it cancels."""

    def __enter__(self):
        self.task = asyncio.current_task()
        asyncio.get_running_loop().call_later(0.001, self.task.cancel)
        return self

    def __exit__(self, kind, error, _traceback):
        self.left_by = asyncio.current_task()
        return kind is asyncio.CancelledError


def test_a_scope_that_is_entered_with_with_is_the_tasks_too(green):
    def blocking():
        with sync_context(ScopeOfTheTask()) as scope:
            sleep(1000)
        assert scope.task is scope.left_by is not None

    green(blocking)


def test_a_limit_of_anyios(green):
    anyio = pytest.importorskip("anyio")

    def blocking():
        with sync_context(anyio.move_on_after(0.001)) as scope:
            sleep(1000)
        assert scope.cancelled_caught

    green(blocking)


@pytest.mark.parametrize("asks", ["", "sys.modules['sniffio'] = None"])
@pytest.mark.parametrize("patches", ["", "greenio.monkey_patch()"])
@pytest.mark.parametrize("first", ["anyio", "greenio"])
def test_anyio_in_green_code(loop, asks, patches, first):
    anyio = pytest.importorskip("anyio")
    if asks and not hasattr(anyio._core._eventloop, "current_async_library"):
        pytest.skip("this version needs sniffio")
    printed = run(
        f"""
        import sys
        {asks}
        import {first}
        import greenio
        {patches}
        import anyio

        def blocking():
            with greenio.sync_context(anyio.move_on_after(0.001)) as scope:
                greenio.sleep(1000)
            assert scope.cancelled_caught
            with greenio.sync_context(anyio.create_task_group()) as group:
                group.start_soon(anyio.sleep, 0)
            # It has a loop of its own.
            assert anyio.run(anyio.sleep, 0) is None
            # Coroutines are refused, in one word or another.
            async def main():
                try:
                    anyio.run(anyio.sleep, 0)
                except RuntimeError:
                    print("refused")
            anyio.run(main)
            print("done")

        greenio.spawn(blocking).wait()
        assert anyio.run(anyio.sleep, 0) is None
        """,
        hub=loop,
    )
    assert printed == "refused\ndone\n"


@pytest.mark.parametrize("manager", [None, asyncio.sleep])
def test_what_is_no_context_manager_is_refused(manager):
    with pytest.raises(
        TypeError, match=r"as in sync_context\(asyncio.timeout\(1\)\), not"
    ):
        sync_context(manager)
