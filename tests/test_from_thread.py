"""`greenio.from_thread` when the loop that it calls ends under it."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from contextlib import suppress

import pytest

import greenio
from _fresh import run
from _injection import interrupt_at, look_in
from _support import until
from greenio import event, hubs, sleep, spawn
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


def test_who_is_meant_if_there_are_several():
    """An OS thread without a hub has to say whose loop it calls, or there has to be one."""
    run("""
        import threading
        import greenio
        from greenio import hubs

        def ask():
            try:
                greenio.from_thread(len, "abc")
            except hubs.HubError as error:
                said.append(str(error))

        said = []
        ask()
        assert "found no running hub in another thread" in said.pop()

        def run_a_hub():
            greenio.sleep(0)
            running.wait()
            greenio.spawn(end.wait).wait()

        end, running = greenio.Event(), threading.Barrier(3)
        threads = [threading.Thread(target=run_a_hub) for _ in range(2)]
        for thread in threads:
            thread.start()
        running.wait()
        while not said:
            ask()
            if said and "found no running hub" in said[0]:
                said.clear()
            elif not said or "2 running hubs" not in said[0]:
                said.clear()
        assert "say which one with hub=" in said[0]
        end.send()
        for thread in threads:
            thread.join()
    """)


def test_the_function_of_a_green_caller_that_is_killed_is_ended(hub_name, cast):
    """A green thread calls into the loop of another OS thread."""
    found, begun, ended = [], threading.Event(), threading.Event()
    cast.other.call(lambda: found.append(hubs.get_hub()))
    until(lambda: found)

    def waits():
        begun.set()
        try:
            sleep(1000)
        finally:
            ended.set()

    caller = spawn(greenio.from_thread, waits, hub=found[0])
    until(begun.is_set)
    caller.kill()
    until(ended.is_set)
    with pytest.raises(greenio.greenlet.GreenletExit):
        caller.wait()


def test_the_function_of_a_caller_that_is_interrupted_anywhere_is_ended(run_async):
    """Before it has begun, it does not begin."""
    before = look_in("_bridge/run.py")

    def call(number, func, hub, told):
        with suppress(KeyboardInterrupt), interrupt_at(number) as place:
            greenio.from_thread(func, hub=hub)
        told.extend(place)

    async def main():
        for number in itertools.count():
            go, begun, ended, told = event.Event(), [], [], []

            def waits(go=go, begun=begun, ended=ended):
                begun.append(1)
                try:
                    go.wait()
                finally:
                    ended.append(1)

            caller = threading.Thread(
                target=call, args=(number, waits, hubs.get_hub(), told), daemon=True
            )
            caller.start()
            while caller.is_alive() and not begun:
                await asyncio.sleep(0)
            # The interrupt comes now, if it comes before the function is done.
            while caller.is_alive() and not _waits_natively(caller):
                await asyncio.sleep(0)
            if caller.is_alive():
                go.send(1)
            while caller.is_alive() or len(begun) != len(ended):
                await asyncio.sleep(0)
            # Whatever the loop was told before has been done.
            await asyncio.sleep(0)
            assert len(begun) == len(ended)
            if not told:
                return number
        raise AssertionError

    try:
        assert run_async(main) > 5
    finally:
        look_in(*before)


def _waits_natively(thread):
    frame = sys._current_frames().get(thread.ident)
    return frame is not None and frame.f_code.co_name == "block"
