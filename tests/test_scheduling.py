"""Whose turn it is: order, fairness, and turns of the loop."""

from __future__ import annotations

import asyncio

from greenio import event, hubs, queue, sleep, spawn
from greenio._kernel import run_queue


def count_turns(loop):
    """Return a list that grows by one with every turn of the loop."""
    turns = []

    def turn():
        turns.append(None)
        loop.call_soon(turn)

    loop.call_soon(turn)
    return turns


def test_yielding_threads_alternate(hub_name):
    order = []

    def yielder(name):
        for n in range(3):
            order.append((name, n))
            sleep(0)

    for thread in [spawn(yielder, name) for name in "abc"]:
        thread.wait()
    assert order == [(name, n) for n in range(3) for name in "abc"]


def test_each_yield_takes_a_turn_of_the_loop(hub_name):
    turns = count_turns(hubs.get_hub().loop)
    sleep(0)
    before = len(turns)
    for _ in range(20):
        sleep(0)
    assert len(turns) - before >= 20


def test_yielding_threads_starve_no_coroutine(hub_name):
    loop = hubs.get_hub().loop
    steps = 0

    async def coroutine():
        nonlocal steps
        while True:
            await asyncio.sleep(0)
            steps += 1

    def yielder():
        for _ in range(100):
            sleep(0)

    task = asyncio.Task(coroutine(), loop=loop)
    for thread in [spawn(yielder) for _ in range(5)]:
        thread.wait()
    assert steps >= 99
    task.cancel()


def test_threads_that_wake_each_other_starve_no_coroutine(hub_name):
    turns = count_turns(hubs.get_hub().loop)
    there, back = queue.Queue(), queue.Queue()
    rounds = 50 * run_queue.HANDOFFS

    def echo():
        for _ in range(rounds):
            back.put(there.get())

    spawn(echo)
    sleep(0)
    before = len(turns)
    for n in range(rounds):
        there.put(n)
        assert back.get() == n
    assert len(turns) - before >= rounds / run_queue.HANDOFFS


def test_threads_that_spawn_each_other_starve_no_coroutine(hub_name):
    turns = count_turns(hubs.get_hub().loop)
    left = 20 * run_queue.HANDOFFS
    done = event.Event()

    def chain():
        nonlocal left
        left -= 1
        if left:
            spawn(chain)
        else:
            done.send()

    sleep(0)
    before = len(turns)
    spawn(chain)
    done.wait()
    assert len(turns) - before >= 19


def test_who_was_ready_first_runs_first(hub_name):
    """Whoever joins a batch overtakes nobody who waits for the next turn."""
    order = []
    gate = event.Event()

    def early():
        sleep(0)
        order.append("early")

    def waker():
        gate.send()
        spawn(order.append, "spawned")

    def woken():
        gate.wait()
        order.append("woken")

    waiting = spawn(woken)
    sleep(0)
    threads = [spawn(early), spawn(waker)]
    for thread in (*threads, waiting):
        thread.wait()
    sleep(0)
    assert order == ["early", "woken", "spawned"]


def test_due_timers_keep_their_turn(hub_name):
    order = []
    hub = hubs.get_hub()
    spawn(order.append, 1)
    hub.schedule_call_global(0, order.append, 2)
    spawn(order.append, 3)
    sleep(0)
    assert order == [1, 2, 3]


def test_readiness_gets_its_turn_among_yields(hub_name):
    import socket

    from greenio.green.socket import socketpair

    left, right = socketpair()
    stop = []

    def yielder():
        while not stop:
            sleep(0)

    threads = [spawn(yielder) for _ in range(3)]
    reader = spawn(right.recv, 10)
    sleep(0)
    socket.socket.send(left, b"here")
    assert reader.wait() == b"here"
    stop.append(True)
    for thread in threads:
        thread.wait()
    left.close()
    right.close()


def test_parking_resumes_the_next_one_directly(hub_name):
    """One greenlet switch per resume: the loop greenlet is not in between."""
    import greenlet

    switches = []

    def trace(what, args):
        switches.append(args[1])

    def yielder():
        for _ in range(5):
            sleep(0)

    threads = [spawn(yielder) for _ in range(10)]
    sleep(0)
    greenlet.settrace(trace)
    try:
        sleep(0)
    finally:
        greenlet.settrace(None)
    loop_greenlet = hubs.get_hub().loop_greenlet
    # Into the loop greenlet once, then from thread to thread.
    assert switches.count(loop_greenlet) <= 2
    assert sum(target in threads for target in switches) == 10
    for thread in threads:
        thread.wait()
