"""Who waits in the middle of another wait of the same green thread takes no resume from it.

That is a finalizer or a signal handler. Here it comes at every place of the engine where the
interpreter may run one, one after the other, while a green thread waits for something that
comes meanwhile. See `greenio._loop.interrupted_waits`.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress

import pytest
from greenlet import GreenletExit

import greenio
from _injection import call_at
from greenio import event, queue, semaphore
from greenio._std.errors import BlockingInLoopError
from greenio.green import socket


def wait_for_an_event():
    done = event.Event()
    greenio.spawn(done.send)
    done.wait()


def wait_for_the_end():
    for thread in [greenio.spawn(greenio.sleep, 0.001) for _ in range(2)]:
        thread.wait()


def take_a_permit():
    permits = semaphore.Semaphore(0)
    greenio.spawn(permits.release)
    permits.acquire(timeout=30)


def run_out_of_time():
    with suppress(queue.Empty):
        queue.Queue().get(timeout=0.001)


def meet():
    items = queue.Queue(0)
    putter = greenio.spawn(items.put, 1)
    items.get()
    putter.wait()


def be_met():
    items = queue.Queue(0)
    getter = greenio.spawn(items.get)
    items.put(1)
    getter.wait()


def kill_another():
    killed = greenio.spawn(greenio.sleep, 30)
    greenio.sleep(0)
    killed.kill()


def await_a_coroutine():
    greenio.await_(asyncio.sleep(0.001))


def read():
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(30)
        for _ in range(2):
            greenio.spawn_after(0.001, other.sendall, b"x")
            assert one.recv(1) == b"x"


def map_some():
    assert list(greenio.GreenPool(2).imap(int, range(3))) == [0, 1, 2]


WAITS = {
    "sleep": lambda: greenio.sleep(0.001),
    "yield": greenio.sleep,
    "event": wait_for_an_event,
    "end": wait_for_the_end,
    "permit": take_a_permit,
    "no time": run_out_of_time,
    "get": meet,
    "put": be_met,
    "kill": kill_another,
    "await": await_a_coroutine,
    "read": read,
    "imap": map_some,
}

INNER_WAITS = {
    "sleeps": lambda: greenio.sleep(0.002),
    "yields": greenio.sleep,
    "waits": wait_for_an_event,
}


@pytest.mark.slow
@pytest.mark.parametrize("inner", INNER_WAITS)
@pytest.mark.parametrize("wait", WAITS)
def test_the_outer_wait_ends_too(hub_name, wait, inner):
    begun = ended = 0

    def wait_inside():
        nonlocal begun, ended
        begun += 1
        # It may come in the loop's own greenlet, where nobody may wait, or in who is killed.
        try:
            with suppress(BlockingInLoopError, GreenletExit):
                INNER_WAITS[inner]()
        finally:
            ended += 1

    for number in itertools.count():
        told = []

        def work(number=number):
            nonlocal told
            with call_at(number, wait_inside) as told:
                WAITS[wait]()

        worker = greenio.spawn(work)
        with greenio.Timeout(10):
            worker.wait()
            while begun != ended:
                greenio.sleep(0)
        if not told:
            break
    assert number > 5
