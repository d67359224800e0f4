"""Whoever is about to wait looks once more: what interrupts him may have brought it about.

Such an interruption is a finalizer or a signal handler that uses the same primitive. Here it
comes at every place of the engine where the interpreter may run one, one after the other, and
gives what is waited for. Who waits all the same would wait for ever.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest

import greenio
from _injection import call_at
from _support import run_on_loop
from greenio import GreenPool, dagpool, event, pools, queue, semaphore
from greenio._greenthread.join import wait, wait_async
from greenio._patch.locks import ThreadLock
from greenio._sync.lock import Lock


def _queue():
    items = queue.Queue()
    return items.get, items.get_async, lambda: items.put(1)


def _full_queue():
    items = queue.Queue(1)
    items.put(0)
    return (lambda: items.put(1)), (lambda: items.put_async(1)), items.get_nowait


def _joined_queue():
    items = queue.Queue()
    items.put(0)
    return items.join, items.join_async, items.task_done


def _semaphore():
    permits = semaphore.Semaphore(0)
    return permits.acquire, permits.acquire_async, permits.release


def _capped_semaphore():
    permits = semaphore.CappedSemaphore(1, 1)
    return permits.release, permits.release_async, permits.acquire


def _lock():
    lock = Lock()
    lock.acquire()
    return lock.acquire, lock.acquire_async, lock.release


def _thread_lock():
    lock = ThreadLock()
    lock.acquire()
    return lock.acquire, lock.acquire_async, lock.release


def _event():
    told = event.Event()

    def send():
        if not told.ready():
            told.send(1)

    return told.wait, told.wait_async, send


def _items():
    lent = pools.Pool(max_size=1, create=object)
    item = lent.get()
    return lent.get, lent.get_async, lambda: lent.put(item)


def _graph():
    graph = dagpool.DAGPool()
    graph.spawn("sum", ["item"], lambda _key, _results: 1)
    return (
        lambda: graph.wait(["item"]),
        lambda: graph.wait_async(["item"]),
        lambda: graph.post("item", 1),
    )


def _joined():
    told = event.Event()
    return (
        lambda: wait([told]),
        lambda: wait_async([told]),
        lambda: told.send(1),
    )


def _green_pool():
    pool = GreenPool(1)
    thread = pool.spawn(greenio.sleep, 30)
    return pool.waitall, pool.waitall_async, thread.kill


def _full_pool():
    pool = GreenPool(1)
    thread = pool.spawn(greenio.sleep, 30)
    return (lambda: pool.spawn(int)), (lambda: pool.spawn_async(int)), thread.kill


PRIMITIVES = {
    "queue": _queue,
    "full queue": _full_queue,
    "joined queue": _joined_queue,
    "semaphore": _semaphore,
    "capped semaphore": _capped_semaphore,
    "lock": _lock,
    "thread's lock": _thread_lock,
    "event": _event,
    "item pool": _items,
    "graph": _graph,
    "joined": _joined,
    "green pool": _green_pool,
    "full green pool": _full_pool,
}


def _once(call):
    """Return a function that makes a call when it is called for the first time."""
    calls = [call]

    def calling():
        if calls:
            calls.pop()()

    return calling


@pytest.mark.parametrize("make", PRIMITIVES.values(), ids=PRIMITIVES)
def test_what_a_finalizer_has_brought_about_is_seen(make):
    for number in itertools.count():
        wait_for_it, _, bring_about = make()
        bring_about = _once(bring_about)
        told = []

        def work(wait_for_it=wait_for_it, bring_about=bring_about, number=number):
            nonlocal told
            with call_at(number, bring_about) as told:
                wait_for_it()

        worker = greenio.spawn(work)
        greenio.sleep(0)
        if not told:
            bring_about()
        for _ in range(5):
            greenio.sleep(0)
        was_woken = worker.dead
        worker.kill()
        assert was_woken, f"place {number}"
        if not told:
            break
    assert number > 5


@pytest.mark.parametrize("make", PRIMITIVES.values(), ids=PRIMITIVES)
def test_what_a_finalizer_has_brought_about_is_seen_by_coroutines(make):
    async def main():
        for number in itertools.count():
            _, wait_for_it, bring_about = await greenio.run_green(make)
            bring_about = _once(bring_about)
            told = []

            async def work(
                wait_for_it=wait_for_it, bring_about=bring_about, number=number
            ):
                nonlocal told
                with call_at(number, bring_about) as told:
                    await wait_for_it()

            worker = asyncio.create_task(work())
            await asyncio.sleep(0)
            if not told:
                bring_about()
            for _ in range(6):
                await asyncio.sleep(0)
            was_woken = worker.done()
            worker.cancel()
            assert was_woken, f"place {number}"
            if not told:
                break
        assert number > 5

    run_on_loop(asyncio.SelectorEventLoop, main)
