"""Waits in the middle of a critical section, as a finalizer's that the collector runs there.

Whoever parks gives the section up, whichever way he parks: see `greenio._loop.mutex`.
"""

from __future__ import annotations

import pytest

import greenio
from _support import settle
from greenio import event, hubs, lock, queue, tpool
from greenio._loop.mutex import in_section, mutex
from greenio.green import select, socket, threading, time


def read_again():
    """A descriptor that the loop watches already is waited for in a shorter way."""
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(5)
        for _ in range(2):
            # Others have their turns before.
            greenio.spawn_after(0.005, other.sendall, b"x")
            assert one.recv(1) == b"x"


def wait_for_an_event():
    done = event.Event()
    greenio.spawn(done.send)
    done.wait()


def take_from_a_queue():
    items = queue.Queue()
    greenio.spawn(items.put, 1)
    items.get()


def take_a_lock():
    taken = lock.Lock()
    taken.acquire()
    greenio.spawn(taken.release)
    taken.acquire()


def be_switched_to():
    hub = hubs.get_hub()
    hub.schedule_call_global(0, greenio.getcurrent().switch)
    hub.switch()


def kill_another():
    killed = greenio.spawn(greenio.sleep, 5)
    greenio.sleep(0)
    killed.kill()


def start_a_thread():
    started = threading.Thread(target=time.sleep, args=(0.001,))
    started.start()
    started.join()


def select_a_pipe():
    one, other = socket.socketpair()
    with one, other:
        greenio.spawn(other.sendall, b"x")
        assert select.select([one], [], [], 5)[0]


WAITS = [
    greenio.sleep,
    lambda: greenio.sleep(0.002),
    lambda: time.sleep(0.002),
    read_again,
    wait_for_an_event,
    take_from_a_queue,
    take_a_lock,
    be_switched_to,
    select_a_pipe,
    kill_another,
    start_a_thread,
    lambda: greenio.spawn(greenio.sleep, 0.002).wait(),
    lambda: tpool.execute(int),
    lambda: greenio.GreenPool(2).waitall(),
    lambda: list(greenio.GreenPool(2).imap(greenio.sleep, [0.001] * 4)),
]


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "among others"])
@pytest.mark.parametrize("wait", WAITS)
def test_whoever_waits_gives_up_the_section(hub_name, wait, busy):
    seen = []
    ended = False

    def look_on():
        while not ended:
            seen.append(in_section())
            greenio.sleep(0 if busy else 0.001)

    def waiter():
        with mutex:
            wait()
            # It is in it again.
            assert in_section()
        assert not in_section()

    looking = greenio.spawn(look_on)
    settle()
    thread = greenio.spawn(waiter)
    try:
        thread.wait()
    finally:
        ended = True
        looking.wait()
    assert seen
    assert True not in seen
