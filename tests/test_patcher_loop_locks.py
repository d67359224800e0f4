"""Patched locks in the loop greenlet, which blocks while an OS thread has them.

A finalizer that logs in the middle of a callback does that.
"""

from __future__ import annotations

import threading

import pytest

import greenio
from _support import settle, until
from greenio import hubs
from greenio._patch.locks import ThreadLock, ThreadRLock


class Held:
    """A lock that an OS thread holds until it is told to release it."""

    def __init__(self, kind, look):
        lock = self.lock = kind()
        self._tell, self.released = threading.Event(), threading.Event()
        looks = type(lock)._is_held_here

        class Watched(kind):
            def _is_held_here(self):
                return look(lambda: looks(self))

        lock.__class__ = Watched
        is_held = threading.Event()

        def hold():
            with lock:
                is_held.set()
                self._tell.wait()
            self.released.set()

        self._thread = threading.Thread(target=hold)
        self._thread.start()
        is_held.wait()

    def release(self):
        self._tell.set()
        self.released.wait()

    def end(self):
        self.release()
        self._thread.join()


@pytest.fixture(params=[ThreadLock, ThreadRLock], ids=["Lock", "RLock"])
def held(request, hub_name):
    """What a lock is held by, and a function to be called when it is looked at."""
    looks = []

    def look(is_held_here):
        answer = is_held_here()
        if looks:
            looks.pop()()
        return answer

    held = Held(request.param, look)
    held.looks = looks
    yield held
    held.end()


def in_the_loop(call):
    """Call something in the loop greenlet; return what came of it."""
    outcome = []

    def callback():
        try:
            outcome.append(call())
        except BaseException as exc:
            outcome.append(exc)

    hubs.get_hub().loop.call_soon(callback)
    until(lambda: outcome)
    return outcome[0]


@pytest.mark.parametrize("timeout", [-1, 15])
def test_it_blocks_until_the_os_thread_releases_it(held, timeout):
    # Looked at for the second time, it waits already.
    held.looks[:] = [held._tell.set, lambda: None]
    green = greenio.spawn(held.lock.acquire)
    settle()

    def call():
        acquired = held.lock.acquire(timeout=timeout)
        held.lock.release()
        return acquired

    # In front of the green thread, which could not pass it on.
    assert in_the_loop(call) is True
    assert green.wait() is True


def test_its_time_limit_holds(held):
    assert in_the_loop(lambda: held.lock.acquire(timeout=0.03)) is False


@pytest.mark.parametrize("timeout", [-1, 15])
def test_it_is_handed_to_a_green_thread_before_the_loop_blocks(held, timeout):
    held.looks.append(held.release)
    got = []

    def green():
        with held.lock:
            got.append("green")

    thread = greenio.spawn(green)
    settle()
    # Only the loop could have the green thread go on.
    assert isinstance(
        in_the_loop(lambda: held.lock.acquire(timeout=timeout)),
        greenio.BlockingInLoopError,
    )
    with greenio.Timeout(5):
        thread.wait()
    assert got == ["green"]
    assert held.lock.acquire(timeout=1)
    held.lock.release()


def test_what_a_green_thread_or_task_of_this_loop_holds_is_refused(held):
    held.release()
    go_on = greenio.event.Event()

    def green():
        with held.lock:
            go_on.wait()

    async def task():
        async with held.lock:
            await go_on.wait_async()

    for start in (greenio.spawn, lambda f: greenio.spawn(greenio.await_, f())):
        thread = start(green if start is greenio.spawn else task)
        until(held.lock.locked)
        refused = in_the_loop(held.lock.acquire)
        assert isinstance(refused, greenio.BlockingInLoopError)
        go_on.send()
        thread.wait()
        go_on.reset()
    held.lock.acquire()
    try:
        assert isinstance(
            in_the_loop(lambda: held.lock.acquire(timeout=5)),
            greenio.BlockingInLoopError,
        )
    finally:
        held.lock.release()
