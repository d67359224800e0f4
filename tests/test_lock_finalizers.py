"""Finalizers in the middle of a wait for a re-entrant lock, which want it as well."""

from __future__ import annotations

import threading

import pytest

import greenio
from _fresh import run
from _support import settle, until
from greenio.lock import RLock


class InterruptedQueue(type(RLock()._waiters)):
    """Calls a function when somebody has just joined, as the collector may."""

    finalize = None

    def append(self, waiter):
        super().append(waiter)
        finalize, self.finalize = self.finalize, None
        if finalize is not None:
            finalize()


@pytest.fixture
def lock(hub_name):
    lock = RLock()
    lock._waiters = InterruptedQueue()
    return lock


def test_it_gets_the_lock_with_what_it_interrupts(lock):
    log = []

    def finalize():
        with lock:
            log.append(("finalizer", lock.statistics().count))

    def waiter(name):
        with lock:
            log.append((name, lock.statistics().count))

    with lock:
        lock._waiters.finalize = finalize
        threads = [greenio.spawn(waiter, name) for name in "abc"]
        settle()
        # It is released past who has left.
        threads[1].kill()
        assert log == []
    with greenio.Timeout(5):
        threads[0].wait()
        threads[2].wait()
    assert log == [("finalizer", 2), ("a", 1), ("c", 1)]
    assert not lock.locked()
    assert not lock._waiting


def test_its_time_limit_holds(lock):
    log = []

    def waiter():
        with lock:
            log.append("waiter")

    with lock:
        lock._waiters.finalize = lambda: log.append(lock.acquire(timeout=0.002))
        thread = greenio.spawn(waiter)
        until(lambda: log)
    with greenio.Timeout(5):
        thread.wait()
    assert log == [False, "waiter"]
    assert not lock.locked()


def test_the_time_limit_of_what_it_interrupts_begins_afterwards(lock):
    log = []

    def finalize():
        with lock:
            log.append("finalizer")

    def waiter():
        log.append(lock.acquire(timeout=0.002))

    with lock:
        lock._waiters.finalize = finalize
        thread = greenio.spawn(waiter)
        greenio.sleep(0.02)
        assert log == []
    with greenio.Timeout(5):
        thread.wait()
    assert log == ["finalizer", True]


def test_in_an_os_thread(lock):
    log = []

    def finalize():
        with lock:
            log.append("finalizer")

    def waiter():
        with lock:
            log.append("waiter")

    lock._waiters.finalize = finalize
    with lock:
        thread = threading.Thread(target=waiter)
        thread.start()
        until(lambda: lock.statistics().waiting)
        assert log == []
    thread.join(5)
    assert log == ["finalizer", "waiter"]
    assert not lock.locked()


def test_a_finalizer_at_exit_may_notify_whoever_holds_the_lock(loop):
    assert (
        run(
            """
            import greenio; greenio.monkey_patch()
            import os, threading

            class Garbage:
                def __init__(self, write=os.write):
                    self.condition = threading.Condition()
                    self.write = write

                def __del__(self):
                    with self.condition:
                        self.condition.notify_all()
                        self.condition.wait(0)
                    self.write(1, b"notified")

            garbage = Garbage()
            garbage.condition.acquire()
            """,
            hub=loop,
        )
        == "notified"
    )
