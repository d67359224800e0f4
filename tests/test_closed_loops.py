"""Loops that are closed while green threads live on them."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import weakref

import pytest

import greenio
from _support import factory_of
from greenio import event
from greenio._kernel import current


def close_with(loop_name, body):
    """Run a loop with a green thread in `body`, close it; return references to both."""
    loop = factory_of(loop_name)()

    async def main():
        greenio.spawn(body)
        await asyncio.sleep(0)
        return weakref.ref(greenio.hubs.get_hub())

    hub = loop.run_until_complete(main())
    loop.close()
    return hub, loop


def test_green_threads_of_a_closed_loop_are_ended(hub_name):
    ended = []

    def body():
        try:
            greenio.sleep(100)
        finally:
            ended.append(True)

    hubs = []
    for _ in range(20):
        hub, loop = close_with(hub_name, body)
        hubs.append(hub)
    del loop, hub
    greenio.hubs.get_hub()
    assert len(ended) == 20
    gc.collect()
    assert [hub for hub in hubs if hub() is not None] == []


@pytest.mark.parametrize(
    "wait", [lambda: greenio.sleep(1), lambda: event.Event().wait()]
)
def test_what_their_cleanup_waits_for_is_cut_short(hub_name, wait):
    steps = []

    def body():
        try:
            event.Event().wait()
        finally:
            try:
                wait()
            except BaseException as exc:
                steps.append(type(exc).__name__)
            steps.append("ended")

    close_with(hub_name, body)
    greenio.hubs.get_hub()
    assert len(steps) == 2
    assert steps[-1] == "ended"


def hidden():
    # Without a waiter, which would refer to the green thread.
    greenio.hubs.get_hub().switch()


@greenio.loop_hidden(False)
def shown():
    event.Event().wait()


def left_behind(loop_name, body):
    """Return a green thread of those that see no loop, on one that has been closed."""

    def start():
        with greenio.loop_hidden():
            return greenio.spawn(body)

    async def main():
        thread = await greenio.run_green(start)
        await asyncio.sleep(0)
        return thread

    loop = factory_of(loop_name)()
    thread = loop.run_until_complete(main())
    loop.close()
    assert not thread.dead
    return thread


@pytest.mark.parametrize("body", [hidden, shown])
def test_those_who_did_not_see_it_leave_the_next_loop_visible(
    hub_name, run_async, body
):
    thread = left_behind(hub_name, body)

    async def main():
        here = asyncio.get_running_loop()
        # The first of the hub of this loop: those of loops that are closed are ended.
        greenio.spawn(int)
        return thread.dead, asyncio._get_running_loop() is here

    assert run_async(main) == (True, True)


def test_one_that_is_taken_apart_leaves_the_next_loop_visible(hub_name, loop_factory):
    threads = [left_behind(hub_name, hidden)]
    forgotten = weakref.ref(threads[0])
    # Nobody ends it, and nobody keeps it for that.
    for hub in current.attached_hubs.values():
        hub.left_behind = ()
        # Nobody else closes its sockets then.
        hub._signals.close()
    current.attached_hubs.clear()
    del hub

    async def main():
        here = asyncio.get_running_loop()
        greenio.spawn(int)
        threads.clear()
        # The task that has returned it may refer to it for longer.
        gc.collect()
        return forgotten(), asyncio._get_running_loop() is here

    loop = loop_factory()
    try:
        assert loop.run_until_complete(main()) == (None, True)
    finally:
        loop.close()


def test_it_is_forgotten_in_its_own_thread(hub_name, loop_factory):
    """Only there can its green threads end, and only there is the wake-up descriptor unset."""
    ended, never = [], event.Event()

    def body():
        try:
            never.wait()
        finally:
            ended.append(threading.get_ident())

    def elsewhere():
        other = loop_factory()
        try:
            other.run_until_complete(greenio.run_green(greenio.sleep, 0))
        finally:
            other.close()

    # Which the last loop of another test may have left.
    signal.set_wakeup_fd(-1)
    close_with(hub_name, body)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    gc.collect()
    descriptor = signal.set_wakeup_fd(-1)
    # None, or one that is still open.
    assert descriptor == -1 or not os.get_blocking(descriptor)
    assert ended == []
    elsewhere()
    assert ended == [threading.get_ident()]


def test_those_of_a_thread_that_has_ended_are_forgotten_anywhere(hub_name):
    loops = []

    def lives():
        # Who still waited there would never go away: his OS thread is gone.
        loops.append(close_with(hub_name, int)[1])

    thread = threading.Thread(target=lives)
    thread.start()
    thread.join()
    assert loops[0] in current.attached_hubs
    close_with(hub_name, int)
    assert loops[0] not in current.attached_hubs
