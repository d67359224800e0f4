"""`greenio.lock`: Lock, RLock and Condition."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from greenlet import GreenletExit

import greenio
from _support import settle, until
from greenio import spawn
from greenio.event import Event
from greenio.lock import Condition, Lock, RLock
from greenio.semaphore import Semaphore

pytestmark = pytest.mark.usefixtures("hub_name")


# -- Lock -------------------------------------------------------------------------------


def test_one_holder_at_a_time():
    lock = Lock()
    assert not lock.locked()
    assert lock.acquire() is True
    assert lock.locked()
    assert lock.acquire(False) is False
    assert lock.acquire(timeout=0.001) is False
    lock.release()
    assert not lock.locked()


def test_it_is_a_semaphore_as_eventlets_is():
    assert isinstance(Lock(), Semaphore)


def test_releasing_an_unlocked_lock_is_an_error():
    lock = Lock()
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.release()
    assert lock.acquire(False) is True


def test_another_may_release_it():
    lock = Lock()
    lock.acquire()
    thread = greenio.spawn(lock.release)
    with lock:
        assert lock.locked()
    thread.wait()


def test_it_is_handed_over_in_order():
    lock = Lock()
    order = []

    def worker(name):
        with lock:
            order.append(name)
            greenio.sleep(0)

    lock.acquire()
    threads = [greenio.spawn(worker, name) for name in range(4)]
    settle()
    lock.release()
    for thread in threads:
        thread.wait()
    assert order == [0, 1, 2, 3]
    assert not lock.locked()


def test_a_killed_waiter_that_was_handed_the_lock_passes_it_on():
    lock = Lock()
    lock.acquire()
    first, second = (greenio.spawn(lock.acquire) for _ in range(2))
    settle()
    lock.release()
    first.kill()
    assert second.wait() is True
    assert lock.locked()
    lock.release()
    assert not lock.locked()


def test_reinitialised_after_fork():
    for lock in (Lock(), RLock()):
        lock.acquire()
        lock._at_fork_reinit()
        assert not lock.locked()
        with lock:
            pass


# -- RLock ------------------------------------------------------------------------------


def test_its_holder_may_acquire_it_again():
    lock = RLock()
    with lock, lock:
        assert lock.statistics().count == 2
        assert lock.acquire(blocking=False) is True
        lock.release()
        other = greenio.spawn(lock.acquire, False)
        assert other.wait() is False
        assert lock.locked()
    assert not lock.locked()
    assert lock.statistics().owner is None


def test_only_its_holder_may_release_it():
    lock = RLock()
    with pytest.raises(RuntimeError, match="un-acquired"):
        lock.release()
    with lock:
        other = greenio.spawn(lock.release)
        with pytest.raises(RuntimeError, match="un-acquired"):
            other.wait()
        assert lock.locked()


def test_rlock_time_limits():
    lock = RLock()
    holder = greenio.spawn(_hold, lock)
    until(lock.locked)
    assert lock.acquire(timeout=0) is False
    assert lock.acquire(timeout=0.001) is False
    assert lock.statistics().waiting == 0
    with pytest.raises(ValueError, match="timeout of 0"):
        lock.acquire(timeout=-3)
    holder.kill()
    assert lock.acquire(timeout=5) is True
    lock.release()


def _hold(lock):
    with lock:
        while True:
            greenio.sleep(10)


def test_rlock_is_handed_over_in_order():
    lock = RLock()
    order = []

    def worker(name):
        with lock, lock:
            order.append(name)
            greenio.sleep(0)

    lock.acquire()
    threads = [greenio.spawn(worker, name) for name in range(4)]
    settle()
    assert lock.statistics().waiting == 4
    lock.release()
    # It is the first waiter's by now.
    assert lock.acquire(blocking=False) is False
    for thread in threads:
        thread.wait()
    assert order == [0, 1, 2, 3]
    assert not lock.locked()


def test_rlock_is_passed_on_by_a_killed_waiter():
    lock = RLock()
    lock.acquire()
    first, second = (greenio.spawn(lock.acquire) for _ in range(2))
    settle()
    lock.release()
    first.kill()
    assert second.wait() is True
    assert lock.statistics().owner is second


def test_tasks_own_an_rlock_each_for_itself(run_async):
    async def main():
        lock = RLock()
        entered = asyncio.Event()
        leave = asyncio.Event()

        async def holder():
            async with lock, lock:
                entered.set()
                await leave.wait()

        task = asyncio.ensure_future(holder())
        await entered.wait()
        assert await lock.acquire_async(timeout=0) is False
        assert await lock.acquire_async(timeout=0.001) is False
        assert lock.acquire(False) is False
        with pytest.raises(RuntimeError, match="un-acquired"):
            lock.release()
        waiting = asyncio.ensure_future(lock.acquire_async())
        await asyncio.sleep(0)
        leave.set()
        assert await waiting is True
        await task
        return lock.statistics().owner is waiting

    assert run_async(main) is True


def test_rlock_between_a_green_thread_and_an_os_thread():
    lock = RLock()
    entered = threading.Event()
    leave = threading.Event()

    def hold():
        with lock, lock:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    assert lock.acquire(False) is False
    waiting = greenio.spawn(lock.acquire)
    settle()
    assert not waiting.dead
    leave.set()
    assert waiting.wait() is True
    thread.join()


@pytest.mark.parametrize("make", [Lock, RLock, Semaphore])
def test_a_finalizer_may_use_the_lock_that_is_being_used(make):
    # It may run in the middle of acquire and release.
    lock = make()
    runs = 0

    class Resource:
        def __init__(self):
            self.me = self

        def __del__(self):
            nonlocal runs
            if lock.acquire(blocking=False):
                runs += 1
                lock.release()

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            Resource()
            with lock:
                Resource()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert runs > 0
    assert not lock.locked()


# -- Condition --------------------------------------------------------------------------


@pytest.fixture(params=[None, Lock, RLock], ids=["default", "Lock", "RLock"])
def condition(request):
    return Condition(request.param and request.param())


def _wait(condition, *args):
    with condition:
        return condition.wait(*args)


def test_notify_wakes_the_first(condition):
    threads = [greenio.spawn(_wait, condition) for _ in range(3)]
    settle()
    assert condition.statistics().waiting == 3
    assert not condition.statistics().locked
    with condition:
        assert condition.statistics().locked
        condition.notify()
        settle()
        # Nobody goes on before the lock is free.
        assert not any(thread.dead for thread in threads)
    settle()
    assert [thread.dead for thread in threads] == [True, False, False]
    with condition:
        condition.notify(2)
    assert [thread.wait() for thread in threads] == [True] * 3


def test_notify_all(condition):
    threads = [greenio.spawn(_wait, condition) for _ in range(5)]
    settle()
    with condition:
        condition.notify_all()
        condition.notify(3)
    assert [thread.wait() for thread in threads] == [True] * 5


def test_it_needs_its_lock(condition):
    with pytest.raises(RuntimeError, match="with condition"):
        condition.wait()
    with pytest.raises(RuntimeError, match="with condition"):
        condition.notify()
    with pytest.raises(RuntimeError, match="with condition"):
        condition.notify_all()


def test_a_time_limit_takes_the_lock_again(condition):
    with condition:
        assert condition.wait(0.001) is False
        assert condition.wait(0) is False
        assert condition._lock.locked()
    assert not condition._lock.locked()
    assert "0 waiting" in repr(condition)


def test_a_recursively_held_lock_is_released_altogether():
    condition = Condition()
    with condition:
        waiting = greenio.spawn(_wait_twice_held, condition)
    settle()
    with condition:
        condition.notify()
    assert waiting.wait() == 2
    assert not condition._lock.locked()


def _wait_twice_held(condition):
    with condition, condition:
        condition.wait()
        return condition._lock.statistics().count


def test_a_killed_waiter_takes_the_lock_again_and_passes_the_notification_on(condition):
    ended = []

    def wait(name):
        with condition:
            try:
                condition.wait()
            finally:
                ended.append((name, condition._lock.locked()))

    first, second = (greenio.spawn(wait, name) for name in "ab")
    settle()
    with condition:
        condition.notify()
        first.kill()
        # It cannot end before it has the lock.
        assert not first.dead
    second.wait()
    until(lambda: first.dead)
    assert sorted(ended) == [("a", True), ("b", True)]
    assert not condition._lock.locked()


def test_a_second_kill_waits_for_the_lock_too(condition):
    thread = greenio.spawn(_wait, condition)
    settle()
    with condition:
        thread.kill()
        thread.kill(ZeroDivisionError)
        assert not thread.dead
    with pytest.raises(ZeroDivisionError):
        thread.wait()
    assert not condition._lock.locked()


def test_wait_for(condition):
    state = []

    def wait():
        with condition:
            return condition.wait_for(lambda: len(state) >= 2 and state)

    thread = greenio.spawn(wait)
    settle()
    for value in (1, 2):
        with condition:
            state.append(value)
            condition.notify()
        settle()
    assert thread.wait() == [1, 2]
    with condition:
        assert condition.wait_for(lambda: False, timeout=0.001) is False
        assert condition.wait_for(lambda: True, timeout=0) is True


def test_coroutines_wait_on_a_condition(run_async, condition):
    async def main():
        state = []

        async def consumer():
            async with condition:
                await condition.wait_for_async(lambda: state)
                return state.pop()

        def producer():
            with condition:
                state.append("item")
                condition.notify()

        task = asyncio.ensure_future(consumer())
        await asyncio.sleep(0)
        greenio.spawn(producer)
        assert await task == "item"
        async with condition:
            assert await condition.wait_async(0.001) is False
            assert await condition.wait_for_async(lambda: 0, timeout=0.001) == 0
            with pytest.raises(greenio.BlockingInLoopError):
                condition.wait()
            assert condition._lock.locked()
        return condition._lock.locked()

    assert run_async(main) is False


def test_a_cancelled_coroutine_takes_the_lock_again(run_async, condition):
    async def main():
        held = []

        async def consumer():
            async with condition:
                try:
                    await condition.wait_async()
                finally:
                    held.append(condition._lock.locked())

        first, second = (asyncio.ensure_future(consumer()) for _ in range(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        async with condition:
            condition.notify()
            first.cancel()
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.sleep(0)
            assert not first.done()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first
        return held, condition._lock.locked()

    assert run_async(main) == ([True, True], False)


def test_the_standard_condition_works_with_our_locks():
    # The standard class only asks for the lock's methods; with a patched threading
    # module, its waiters' locks are ours as well.
    lock = RLock()
    condition = threading.Condition(lock)
    with condition, condition:
        assert condition.wait(0.001) is False
        assert lock.statistics().count == 2
        condition.notify_all()
    assert lock._recursion_count() == 0


# -- a release that is interrupted ----------------------------------------------------------


class InterruptedLock(RLock):
    """Its hand-over is interrupted where a finalizer that waits may do so."""

    go_on: Event

    def _hand_over(self):
        waiter = self._waiters.pop_first() if self._waiters else None
        if waiter is None:
            self._owner, self._count = None, 0
            return
        turn = waiter.value
        assert waiter.wake(turn)
        self.go_on.wait()
        self._owner, self._count = turn


def test_nobody_has_the_lock_before_it_is_handed_over():
    lock, log = InterruptedLock(), []
    lock.go_on = Event()

    def holder():
        with lock:
            settle(4)
        log.append("released")

    def waiter():
        with lock:
            log.append(lock._is_owned())

    async def coroutine():
        async with lock:
            log.append(lock._is_owned())

    for wait in (waiter, lambda: greenio.await_(coroutine())):
        lock.go_on = Event()
        threads = [spawn(holder), spawn(wait)]
        settle()
        assert log == []
        lock.go_on.send()
        for thread in threads:
            thread.wait()
        assert sorted(map(str, log)) == ["True", "released"]
        log.clear()
    assert not lock.locked()


def test_killed_before_it_is_handed_over():
    lock = InterruptedLock()

    def holder():
        with lock:
            settle(4)

    def waiter():
        with lock:
            raise AssertionError("it was killed")

    async def coroutine():
        async with lock:
            raise AssertionError("it was killed")

    for wait in (waiter, lambda: greenio.await_(coroutine())):
        lock.go_on = Event()
        threads = [spawn(holder), spawn(wait)]
        settle()
        killer = spawn(threads[1].kill)
        settle()
        lock.go_on.send()
        threads[0].wait()
        killer.wait()
        with pytest.raises(GreenletExit):
            threads[1].wait()
        assert lock.acquire(timeout=1)
        lock.release()
        assert not lock.locked()
