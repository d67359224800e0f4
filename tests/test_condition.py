"""Conditions and re-entrant locks whose waiters are interrupted."""

from __future__ import annotations

import asyncio

import pytest

import greenio
from _fresh import run
from _support import settle
from greenio.lock import Condition, Lock, RLock


@pytest.fixture(params=[Lock, RLock])
def condition(request):
    return Condition(request.param())


def _waiter(condition, name, woken):
    with condition:
        condition.wait()
        woken.append(name)


@pytest.mark.parametrize("error", [greenio.Timeout, ZeroDivisionError, None])
def test_an_interrupted_receiver_passes_its_notification_on(condition, error):
    woken = []
    first = greenio.spawn(_waiter, condition, "first", woken)
    second = greenio.spawn(_waiter, condition, "second", woken)
    settle()
    with condition:
        condition.notify()
        settle()
        # Notified, and waiting for the lock.
        first.kill(*() if error is None else (error,))
        settle()
        assert not first.dead
    second.wait()
    assert woken == ["second"]
    assert not condition._lock.locked()
    with pytest.raises(error or greenio.greenlet.GreenletExit):
        first.wait()


def test_a_cancelled_receiver_passes_its_notification_on(run_async, condition):
    async def main():
        woken = []

        async def wait(name):
            async with condition:
                await condition.wait_async()
                woken.append(name)

        first, second = [asyncio.create_task(wait(name)) for name in ("a", "b")]
        for _ in range(8):
            await asyncio.sleep(0)
        async with condition:
            condition.notify()
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.sleep(0)
            assert not first.done()
        await second
        assert woken == ["b"]
        assert not condition._lock.locked()
        with pytest.raises(asyncio.CancelledError):
            await first

    run_async(main)


def test_a_time_limit_does_not_displace_a_kill(condition):
    thread = greenio.spawn(_waiter, condition, "", [])
    settle()
    with condition:
        thread.kill()
        thread.kill(greenio.Timeout(None))
    with pytest.raises(greenio.greenlet.GreenletExit):
        thread.wait()


def test_an_interrupt_of_who_was_not_notified_notifies_nobody(condition):
    woken = []
    first = greenio.spawn(_waiter, condition, "first", woken)
    second = greenio.spawn(_waiter, condition, "second", woken)
    settle()
    first.kill()
    settle()
    assert first.dead
    assert not woken
    with condition:
        condition.notify()
    second.wait()


@pytest.mark.parametrize("lock", ["Lock", "RLock"])
def test_an_interrupted_wait_of_a_patched_condition_has_its_lock(loop, lock):
    run(
        f"""
        import greenio
        greenio.monkey_patch()
        import threading
        condition = threading.Condition(threading.{lock}())
        caught = []

        def wait():
            try:
                with condition:
                    condition.wait()
            except greenio.Timeout as error:
                caught.append(error)

        thread = greenio.spawn(wait)
        greenio.sleep(0)
        with condition:
            condition.notify()
            greenio.sleep(0)
            thread.kill(greenio.Timeout(None))
            assert not caught
        thread.wait()
        assert len(caught) == 1
        with condition:
            pass
        """,
        hub=loop,
    )
