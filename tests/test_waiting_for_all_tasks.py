"""Programs that wait for all tasks, or cancel them, with greenio's own among these."""

from __future__ import annotations

import asyncio

import pytest

import greenio
from _fresh import run
from greenio import Event, run_green, sleep, spawn

pytestmark = pytest.mark.usefixtures("hub_name")


def others():
    """All tasks but the current one."""
    return asyncio.all_tasks() - {asyncio.current_task()}


class Worker:
    """A green thread that does not end by itself, and notes its end."""

    def __init__(self):
        self.steps = 0
        self.ended = False
        self.thread = spawn(self._run)

    def _run(self):
        try:
            while True:
                sleep(0)
                self.steps += 1
        finally:
            sleep(0)
            self.ended = True

    async def still_works(self):
        before = self.steps
        while self.steps < before + 2:
            await asyncio.sleep(0)
        return not self.ended


async def gather():
    await asyncio.gather(*others())


async def one_by_one():
    for task in others():
        await task


async def wait():
    await asyncio.wait(others())


async def until_none_is_left():
    while tasks := others():
        await asyncio.wait(tasks)


async def as_they_end():
    for task in asyncio.as_completed(others()):
        await task


async def in_green_code():
    tasks = others()
    await run_green(lambda: [greenio.await_(task) for task in tasks])


WAYS = [gather, one_by_one, wait, until_none_is_left, as_they_end]


@pytest.mark.parametrize("way", [*WAYS, in_green_code])
def test_who_waits_for_all_tasks_gets_there(run_async, way):
    async def main():
        worker = Worker()
        done = []
        task = asyncio.ensure_future(asyncio.sleep(0.001))
        task.add_done_callback(done.append)
        await run_green(sleep, 0)
        await way()
        assert done == [task]
        assert await worker.still_works()
        # And once more, if anything is left.
        if others():
            await way()
        return worker

    worker = run_async(main)
    assert worker.ended


@pytest.mark.parametrize("way", WAYS)
def test_the_green_threads_end_with_the_loop_afterwards(loop, way):
    assert (
        run(
            f"""
            import asyncio, greenio, sys
            sys.path.insert(0, {str(__file__).rpartition("/")[0]!r})
            from test_waiting_for_all_tasks import {way.__name__} as way, Worker

            async def main():
                worker = Worker()
                await greenio.run_green(greenio.sleep, 0)
                await way()
                assert await worker.still_works()
                return worker

            if {loop!r} == "uvloop":
                import uvloop
                print(uvloop.run(main()).ended)
            else:
                print(asyncio.run(main()).ended)
            """
        )
        == "True\n"
    )


def cancelled_in_the_loop(loop):
    async def shut_down():
        tasks = others()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    loop.run_until_complete(shut_down())


def gathered_and_cancelled(loop):
    async def shut_down():
        gathered = asyncio.gather(*others())
        gathered.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathered

    loop.run_until_complete(shut_down())


def cancelled_from_outside(loop):
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


@pytest.fixture
def event_loop(loop_factory):
    loop = loop_factory()
    yield loop
    loop.close()


@pytest.mark.parametrize("waits_first", [False, True], ids=["", "after a wait"])
@pytest.mark.parametrize(
    "end", [cancelled_in_the_loop, gathered_and_cancelled, cancelled_from_outside]
)
def test_who_cancels_all_tasks_ends_the_green_threads(event_loop, end, waits_first):
    async def main():
        worker = Worker()
        await run_green(sleep, 0)
        if waits_first:
            await gather()
        return worker

    worker = event_loop.run_until_complete(main())
    assert not worker.ended
    end(event_loop)
    assert worker.ended


def test_a_script_that_gathers_what_is_left_ends(event_loop):
    async def main():
        event = Event()
        spawn(sleep, 0.001).link(lambda _: event.send())
        tasks.append(asyncio.ensure_future(event.wait_async()))
        return Worker()

    tasks = []

    worker = event_loop.run_until_complete(main())
    for _ in range(3):
        left = asyncio.all_tasks(event_loop)
        assert left
        event_loop.run_until_complete(asyncio.wait(left))
        assert not worker.ended
    cancelled_from_outside(event_loop)
    assert worker.ended
