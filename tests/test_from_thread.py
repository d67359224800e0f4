"""`greenio.from_thread` when the loop that it calls ends under it."""

from __future__ import annotations

import asyncio
import threading

import pytest

import greenio
from greenio import hubs, sleep
from greenio.hubs import HubClosedError

PATIENCE = 20


class Caller(threading.Thread):
    """An OS thread that makes one call, and keeps what became of it."""

    def __init__(self, func, hub):
        super().__init__(daemon=True)
        self._func = func
        self._hub = hub
        self.outcome = None
        self.start()

    def run(self):
        try:
            self.outcome = greenio.from_thread(self._func, hub=self._hub)
        except BaseException as exc:
            self.outcome = exc

    def ended(self):
        self.join(PATIENCE)
        return not self.is_alive()


@pytest.fixture
def own_loop(loop_factory):
    loop = loop_factory()
    yield loop
    loop.close()


def test_a_loop_that_is_closed_while_the_function_waits(own_loop):
    async def main():
        started = asyncio.Event()

        def waits():
            started.set()
            sleep(1000)

        caller = Caller(waits, hubs.get_hub())
        await started.wait()
        return caller

    caller = own_loop.run_until_complete(main())
    own_loop.close()
    assert caller.ended()
    assert isinstance(caller.outcome, HubClosedError)


def test_a_loop_that_is_closed_before_the_function_starts(own_loop):
    async def main():
        return hubs.get_hub()

    hub = own_loop.run_until_complete(main())
    scheduled = threading.Event()
    call_soon_threadsafe = hub.call_threadsafe

    def schedule(*args):
        try:
            return call_soon_threadsafe(*args)
        finally:
            scheduled.set()

    hub.call_threadsafe = schedule
    caller = Caller(print, hub)
    assert scheduled.wait(PATIENCE)
    del hub.call_threadsafe
    own_loop.close()
    assert caller.ended()
    assert isinstance(caller.outcome, HubClosedError)


def test_a_loop_that_ends_its_green_threads(run_async):
    callers = []

    async def main():
        started = asyncio.Event()

        def waits():
            started.set()
            sleep(1000)

        callers.append(Caller(waits, hubs.get_hub()))
        await started.wait()

    run_async(main)
    assert callers[0].ended()
    assert isinstance(callers[0].outcome, BaseException)


def test_calls_without_end_while_loops_end(run_async):
    """Wherever in the end of the loop a call arrives, it does not wait for ever."""

    class Hammer(Caller):
        def run(self):
            try:
                while True:
                    greenio.from_thread(int, hub=self._hub)
            except BaseException as exc:
                self.outcome = exc

    hammers = []

    async def main():
        hammers.extend(Hammer(int, hubs.get_hub()) for _ in range(3))
        for _ in range(20):
            await asyncio.sleep(0)

    for _ in range(5):
        run_async(main)
    assert all(hammer.ended() for hammer in hammers)
    assert all(isinstance(hammer.outcome, BaseException) for hammer in hammers)
