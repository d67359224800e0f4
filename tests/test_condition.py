"""Conditions and re-entrant locks whose waiters are interrupted."""

from __future__ import annotations

import asyncio
import textwrap

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


_INTERRUPTED = """
    from contextlib import suppress
    from greenio import Timeout, sleep, spawn
    from greenio.green import queue, threading

    def one_of_two(take):
        taken = []

        def receiver(name):
            with suppress(Timeout):
                take()
                taken.append(name)

        threads = [spawn(receiver, name) for name in "ab"]
        sleep(0)
        sleep(0)
        return threads, taken

    for error in [None, Timeout(None)]:
        items = queue.Queue()
        (first, second), taken = one_of_two(items.get)
        items.put(1)
        first.kill(*[error] if error else [])
        second.wait()
        assert taken == ["b"] and items.empty()

        items = queue.Queue(1)
        items.put(1)
        (first, second), taken = one_of_two(lambda: items.put(2))
        items.get()
        first.kill(*[error] if error else [])
        second.wait()
        assert taken == ["b"] and items.full()

        semaphore = threading.Semaphore(0)
        (first, second), taken = one_of_two(semaphore.acquire)
        semaphore.release()
        first.kill(*[error] if error else [])
        second.wait()
        assert taken == ["b"]

        for kind in threading.Lock, threading.RLock:
            condition = threading.Condition(kind())

            def wait():
                with condition:
                    condition.wait()

            (first, second), taken = one_of_two(wait)
            with condition:
                condition.notify()
                # It takes the lock again meanwhile.
                sleep(0)
                sleep(0)
                first.kill(*[error] if error else [])
            second.wait()
            assert taken == ["b"]

            # Who was not notified passes nothing on.
            (first, second), taken = one_of_two(wait)
            first.kill(*[error] if error else [])
            sleep(0)
            sleep(0)
            assert not taken and not second.dead
            second.kill()
    print("passed on")
"""


@pytest.mark.parametrize("patch", ["", "import greenio; greenio.monkey_patch()\n"])
def test_interrupted_receivers_of_the_standard_primitives_pass_on(loop, patch):
    printed = run(patch + textwrap.dedent(_INTERRUPTED), hub=loop)
    assert printed == "passed on\n"
