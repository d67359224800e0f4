"""What is sent to who waits in a finalizer is raised when that has returned.

The interpreter prints what leaves a finalizer, and forgets it.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import pytest
from greenlet import GreenletExit

import greenio
from _fresh import run
from greenio import (
    Event,
    GreenGroup,
    Timeout,
    ensure_portal,
    getcurrent,
    run_green,
    spawn,
)
from greenio.greenthread import exc_after

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


class Sent(Exception):
    pass


class _Finalizer:
    def __init__(self, call):
        self._call = call

    def __del__(self):
        self._call()


class Scene:
    """Somebody waits, and a finalizer waits on top of that."""

    def __init__(self):
        self.inner = Event()
        self.steps = []
        self.threads = []

    def finalize(self):
        self.steps.append("finalizer")
        assert self.inner.wait() == "given"
        self.steps.append("finalized")

    def wait(self):
        self.threads.append(getcurrent())
        finalizer = _Finalizer(self.finalize)
        try:
            del finalizer
            self.steps.append("waits")
            Event().wait()
        except BaseException as exc:
            self.steps.append(type(exc))
            raise

    def give(self):
        """Let the finalizer go on, after a while in which what was sent would come."""
        for _ in range(20):
            greenio.sleep(0.001)
        assert self.steps == ["finalizer"]
        self.inner.send("given")

    async def give_async(self):
        await run_green(self.give)


@pytest.fixture
def scene():
    return Scene()


def expected(error):
    return ["finalizer", "finalized", "waits", error]


def killed(scene):
    worker = spawn(scene.wait)
    greenio.sleep(0)
    worker.kill(Sent)
    return worker, Sent


def killed_by_a_coroutine(scene):
    worker = spawn(scene.wait)
    greenio.sleep(0)

    async def kill():
        worker.kill()

    greenio.await_(kill())
    return worker, GreenletExit


def out_of_time(scene):
    def limited():
        with Timeout(0.001):
            scene.wait()

    return spawn(limited), Timeout


def out_of_time_with_an_exception(scene):
    def limited():
        with Timeout(0.001, Sent):
            scene.wait()

    return spawn(limited), Sent


def interrupted_after_a_while(scene):
    def limited():
        exc_after(0.001, Sent)
        scene.wait()

    return spawn(limited), Sent


def a_sibling_fails(scene):
    def fail():
        raise Sent

    def siblings():
        with pytest.raises(ExceptionGroup), GreenGroup() as group:
            group.spawn(fail)
            scene.wait()

    return spawn(siblings), GreenletExit


SENDERS = [
    killed,
    killed_by_a_coroutine,
    out_of_time,
    out_of_time_with_an_exception,
    interrupted_after_a_while,
    a_sibling_fails,
]


@pytest.mark.parametrize("send", SENDERS)
def test_it_is_raised_when_the_finalizer_has_returned(hub_name, scene, send):
    worker, error = send(scene)
    greenio.sleep(0)
    scene.give()
    with Timeout(10), suppress(Sent, Timeout, GreenletExit):
        worker.wait()
    assert worker.dead
    assert scene.steps == expected(error)


def test_a_time_limit_whose_block_is_left_by_then_is_not_raised(hub_name, scene):
    def limited():
        finalizer = _Finalizer(scene.finalize)
        with Timeout(0.001, Sent):
            del finalizer
        greenio.sleep(0.01)
        return "not interrupted"

    worker = spawn(limited)
    greenio.sleep(0)
    scene.give()
    assert worker.wait() == "not interrupted"


def test_the_main_program_gets_an_interrupt_of_the_loop(hub_name, scene):
    def interrupt():
        raise KeyboardInterrupt

    spawn(interrupt)
    spawn(scene.give)
    with pytest.raises(KeyboardInterrupt), Timeout(10):
        scene.wait()
    assert scene.steps == expected(KeyboardInterrupt)


def test_the_main_program_gets_an_interrupt_that_leaves_the_loop(hub_name, scene):
    def interrupt():
        raise KeyboardInterrupt

    greenio.sleep(0)
    greenio.hubs.get_hub().loop.call_later(0.001, interrupt)
    spawn(scene.give)
    with pytest.raises(KeyboardInterrupt), Timeout(10):
        scene.wait()
    assert scene.steps == expected(KeyboardInterrupt)


async def cancel_while_finalizing(scene, function):
    task = asyncio.create_task(run_green(function))
    await asyncio.sleep(0)
    task.cancel()
    await scene.give_async()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


def test_a_cancellation_of_run_green(run_async, scene):
    run_async(lambda: cancel_while_finalizing(scene, scene.wait))
    assert scene.steps == expected(asyncio.CancelledError)


def test_a_cancellation_of_run_green_that_ends_by_itself(run_async, scene):
    def work():
        finalizer = _Finalizer(scene.finalize)
        del finalizer

    run_async(lambda: cancel_while_finalizing(scene, work))
    assert scene.steps == ["finalizer", "finalized"]


def cancel(portal, task):
    task.cancel()
    return asyncio.CancelledError


def kill(portal, task):
    greenio.kill(portal, Sent)
    return Sent


def throw(portal, task):
    portal.throw(Sent)
    return Sent


@pytest.mark.parametrize("send", [cancel, kill, throw])
def test_what_is_sent_to_a_portal(run_async, scene, send):
    async def main():
        await ensure_portal()
        scene.wait()

    async def both():
        nonlocal error
        task = asyncio.create_task(main())
        while not scene.steps:
            await asyncio.sleep(0)
        error = send(scene.threads[0], task)
        await scene.give_async()
        with pytest.raises(error):
            await asyncio.wait_for(task, 10)

    error = None
    run_async(both)
    assert scene.steps == expected(error)


def test_a_time_limit_in_a_portal(run_async, scene):
    async def main():
        await ensure_portal()
        with pytest.raises(Timeout), Timeout(0.001):
            scene.wait()

    async def both():
        task = asyncio.create_task(main())
        while not scene.steps:
            await asyncio.sleep(0)
        await scene.give_async()
        await asyncio.wait_for(task, 10)

    run_async(both)
    assert scene.steps == expected(Timeout)


def test_the_next_task_of_a_portal_does_not_get_it(run_async, scene):
    portals = []

    async def main():
        await ensure_portal()
        portals.append(getcurrent())
        finalizer = _Finalizer(scene.finalize)
        del finalizer

    async def another():
        await ensure_portal()
        portals.append(getcurrent())
        greenio.sleep(0.02)
        return "not interrupted"

    async def both():
        task = asyncio.create_task(main())
        while not scene.steps:
            await asyncio.sleep(0)
        portals[0].throw(Sent)
        await scene.give_async()
        await task
        assert await another() == "not interrupted"

    run_async(both)
    assert len(portals) == 2


def test_a_cancellation_of_what_a_finalizer_awaits(run_async, scene, monkeypatch):
    ignored = []
    monkeypatch.setattr(
        "sys.unraisablehook", lambda args: ignored.append(args.exc_type)
    )

    async def main():
        await ensure_portal()
        finalizer = _Finalizer(lambda: greenio.await_(asyncio.sleep(30)))
        scene.steps.append("finalizer")
        del finalizer
        scene.wait()

    async def both():
        task = asyncio.create_task(main())
        while not scene.steps:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)

    scene.finalize = lambda: scene.steps.append("finalized")
    run_async(both)
    assert ignored == [asyncio.CancelledError]
    assert scene.steps == expected(asyncio.CancelledError)


@pytest.mark.parametrize("end", ["asyncio.run(attached())", "begin()"])
def test_one_that_waits_when_the_loop_ends_is_cut_short(hub_name, end):
    output = run(
        f"""
        import asyncio
        import sys
        import greenio

        class Finalizer:
            def __del__(self):
                try:
                    greenio.Event().wait()
                finally:
                    print("cut short")

        def work():
            finalizer = Finalizer()
            try:
                del finalizer
                greenio.sleep(30)
            finally:
                greenio.sleep(0)
                print("cleaned up")

        def begin():
            threads.append(greenio.spawn(work))
            greenio.sleep(0)

        async def attached():
            await greenio.run_green(begin)

        threads = []
        sys.unraisablehook = lambda args: print(args.exc_type.__name__)
        greenio.hubs.set_shutdown_timeout(1)
        {end}
        """,
        hub=hub_name,
    )
    assert output == "cut short\nLoopEnds\ncleaned up\n"
