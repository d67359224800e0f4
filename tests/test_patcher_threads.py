"""Green threads, queues and locks under the names of `threading` and `queue`."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading as plain_threading
import time as plain_time

import pytest

import greenio
from _support import settle, until
from greenio._patch import threads as patched
from greenio.green import queue, threading, time
from greenio.green.thread import allocate_lock

pytestmark = pytest.mark.usefixtures("hub_name")

# How long something lasts that must not stop the others.
A_WHILE = 0.05


# -- queue and threading ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "LifoQueue", "PriorityQueue"])
def test_queues(ticker, kind):
    items = getattr(queue, kind)()
    greenio.spawn_after(A_WHILE, items.put, 1)
    assert items.get() == 1
    with pytest.raises(queue.Empty):
        items.get(timeout=0.01)


def test_threads_are_green(ticker):
    seen = []

    def work(name):
        time.sleep(A_WHILE)
        current = threading.current_thread()
        seen.append((name, current.name, current.ident, threading.get_ident()))

    threads = [
        threading.Thread(target=work, args=(number,), name=f"worker {number}")
        for number in range(3)
    ]
    for thread in threads:
        assert not thread.is_alive()
        thread.start()
        # Starting one lets nobody else run, and leaves nothing half done.
        assert thread.is_alive()
        assert thread.ident is not None
    assert not seen
    assert set(threads) <= set(threading.enumerate())
    for thread in threads:
        thread.join()
        assert not thread.is_alive()
    assert [entry[:2] for entry in seen] == [(n, f"worker {n}") for n in range(3)]
    assert all(ident == current for _, _, ident, current in seen)
    assert len({ident for _, _, ident, _ in seen}) == 3
    with pytest.raises(RuntimeError, match="once"):
        threads[0].start()


def test_join_with_a_time_limit():
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    thread.join(0.01)
    assert thread.is_alive()
    release.set()
    thread.join(5)
    assert not thread.is_alive()


def test_a_thread_started_by_a_coroutine(run_async):
    done = []

    async def main():
        import asyncio

        thread = threading.Thread(
            target=lambda: done.append(threading.current_thread())
        )
        thread.start()
        assert thread.is_alive()
        while thread.is_alive():
            await asyncio.sleep(0)
        assert done == [thread]

    run_async(main)


def test_a_thread_started_by_a_real_thread():
    """It has no hub to run a green one, so it gets a real one."""
    native = plain_threading.get_ident
    seen = {}

    def inner():
        seen["inner"] = native()

    def outer():
        seen["outer"] = native()
        thread = threading.Thread(target=inner)
        thread.start()
        thread.join(20)
        seen["alive"] = thread.is_alive()

    real = plain_threading.Thread(target=outer)
    real.start()
    until(lambda: not real.is_alive())
    assert seen["alive"] is False
    assert len({seen["inner"], seen["outer"], native()}) == 3


def test_start_new_thread():
    from greenio.green import thread as _thread

    seen = []
    ident = _thread.start_new_thread(
        lambda *args, **kw: seen.append((args, kw, _thread.get_ident())), (1,), {"b": 2}
    )
    until(lambda: seen)
    assert seen == [((1,), {"b": 2}, ident)]
    _thread.start_new_thread(_thread.exit, ())
    settle()
    for wrong in (("x", ()), (print, [1]), (print, (), 5)):
        with pytest.raises(TypeError):
            _thread.start_new_thread(*wrong)


def test_an_exception_in_a_thread_that_nobody_joins(monkeypatch):
    """What `start_new_thread` started has a hook of the interpreter's for it."""
    from greenio.green import thread as _thread

    def fail():
        raise ValueError("task failed")

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    _thread.start_new_thread(fail, ())
    until(lambda: seen)
    (args,) = seen
    assert repr(args.exc_value) == "ValueError('task failed')"
    assert args.exc_type is ValueError
    assert args.err_msg.startswith("Exception ignored in thread started by")
    assert args.object is fail or repr(fail) in args.err_msg
    assert args.exc_traceback.tb_frame.f_code is fail.__code__
    # It has the type that the interpreter's own hook takes.
    sys.__unraisablehook__(args)


def test_current_thread_of_a_thread_that_threading_did_not_start():
    from greenio.green import thread as _thread

    seen = []

    def who():
        thread = threading.current_thread()
        assert threading.current_thread() is thread
        assert thread in threading.enumerate()
        assert thread.ident == _thread.get_ident()
        assert thread.is_alive()
        greenio.sleep(0)
        seen.append(thread)

    started = [_thread.start_new_thread(who, ()) for _ in range(3)]
    until(lambda: len(seen) == 3)
    assert [thread.ident for thread in seen] == started
    assert all("Dummy" in repr(thread) for thread in seen)
    until(lambda: not set(seen) & set(threading.enumerate()))


@pytest.mark.parametrize("make", [allocate_lock, threading.RLock])
def test_repr_of_locks(make):
    lock = make()
    assert repr(lock).startswith("<unlocked ")
    with lock:
        assert repr(lock).startswith("<locked ")


def test_current_thread_of_a_spawned_green_thread():
    before = threading.active_count()

    def who():
        current = threading.current_thread()
        assert threading.current_thread() is current
        assert isinstance(current, threading.Thread)
        assert current.is_alive()
        assert current.ident == threading.get_ident()
        return current

    one, two = greenio.spawn(who), greenio.spawn(who)
    assert one.wait() is not two.wait()
    assert one.wait().ident != two.wait().ident
    assert one.wait().name.startswith("GreenThread-")
    assert not one.wait().is_alive()
    one.wait().join()
    # There may be very many of them, so they are in no list.
    assert threading.active_count() == before
    assert threading.current_thread() is threading.main_thread()
    assert threading.main_thread() is plain_threading.main_thread()


def test_threads_of_green_threads_share_nothing_that_can_be_told():
    """What has no state is made once: it takes three locks, and longer than a spawn."""

    def who(name):
        current = threading.current_thread()
        greenio.sleep(0)
        if name:
            current.name = name
        greenio.sleep(0)
        assert repr(current).startswith(f"<_GreenletThread({current.name}, started")
        assert current.daemon
        assert current.native_id == threading.get_native_id()
        return current

    green_threads = [greenio.spawn(who, name) for name in ("one", None)]
    one, other = (green_thread.wait() for green_thread in green_threads)
    assert one.name == "one"
    assert other.name.startswith("GreenThread-")
    assert one._started is other._started


def test_the_thread_of_a_green_thread_has_what_eventlets_has():
    threads, go_on = [], greenio.Event()

    def work():
        current = threading.current_thread()
        threads.append(current)
        assert current._g is greenio.getcurrent()
        assert current.is_daemon() is current.isAlive() is True
        current.start()
        current.set_name("worker")
        assert current.get_name() == current.name == "worker"
        with pytest.raises(RuntimeError, match="current thread"):
            current.join()
        go_on.wait()
        return "done"

    working = greenio.spawn(work)
    until(lambda: threads)
    (thread,) = threads
    assert thread._g is working
    thread.join(0)
    assert not working.dead
    go_on.send()
    thread.join(timeout=30)
    assert working.dead
    assert not thread.isAlive()
    assert working.wait() == "done"


def test_nothing_is_left_of_threads():

    gc.collect()
    before = len(patched._sentinels), len(threading._active)
    for _ in range(20):
        thread = threading.Thread(target=threading.current_thread)
        thread.start()
        thread.join()
    for _ in range(20):
        greenio.spawn(threading.current_thread).wait()
    assert (len(patched._sentinels), len(threading._active)) == before
    assert not threading._limbo


def test_an_exception_in_a_thread(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)

    def fail():
        raise ValueError("in a thread")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    (args,) = seen
    assert (args.exc_type, args.thread) == (ValueError, thread)


def test_a_killed_thread_has_not_failed(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    inside = []

    def wait():
        inside.append(greenio.greenthread.getcurrent())
        time.sleep(60)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: inside)
    inside[0].kill()
    thread.join(5)
    assert not thread.is_alive()
    assert not seen


@pytest.mark.parametrize("started", [False, True])
def test_a_thread_that_is_killed_can_be_joined(started):
    thread = threading.Thread(target=time.sleep, args=(60,))
    thread.start()
    hub = greenio.hubs.get_hub()
    if started:
        until(lambda: hub.timers)
    for green_thread in hub.green_threads():
        green_thread.kill()
    thread.join(5)
    assert not thread.is_alive()


def test_conditions_events_barriers_timers(ticker):
    condition, ready = threading.Condition(), []
    event, barrier = threading.Event(), threading.Barrier(2)

    def other():
        time.sleep(A_WHILE)
        with condition:
            ready.append(1)
            condition.notify()
        event.set()
        barrier.wait(5)

    thread = threading.Thread(target=other)
    thread.start()
    with condition:
        assert condition.wait_for(lambda: ready, 5)
        assert not condition.wait(0.01)
    assert event.wait(5)
    assert barrier.wait(5) in (0, 1)
    thread.join()
    fired = []
    timer = threading.Timer(0.01, fired.append, [1])
    timer.start()
    timer.join()
    assert fired == [1]
    semaphore = threading.Semaphore(0)
    assert not semaphore.acquire(timeout=0.01)
    greenio.spawn_after(0.01, semaphore.release)
    assert semaphore.acquire(timeout=5)


# -- locks ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [allocate_lock, threading.RLock])
def test_locks_as_threading_has_them(make):
    lock = make()
    assert lock.acquire()
    other = greenio.spawn(lock.acquire, False)
    assert other.wait() is False
    assert greenio.spawn(lock.acquire, True, 0.01).wait() is False
    lock.release()
    with pytest.raises(RuntimeError):
        lock.release()
    with lock:
        pass
    assert lock.acquire(timeout=1)
    lock.release()
    for wrong in ({"timeout": -2}, {"blocking": False, "timeout": 1}):
        with pytest.raises(ValueError, match="timeout"):
            lock.acquire(**wrong)
    with pytest.raises(OverflowError):
        lock.acquire(timeout=1e300)
    lock.acquire()
    lock._at_fork_reinit()
    assert lock.acquire(blocking=False)


def test_arguments_of_an_rlock_are_pythons_affair():
    if sys.version_info >= (3, 15):
        with pytest.raises(TypeError, match="takes no arguments"):
            threading.RLock(1)
        with pytest.raises(TypeError, match="takes no arguments"):
            threading.RLock(a=1)
    elif sys.version_info >= (3, 13):
        with pytest.warns(DeprecationWarning, match="RLock"):
            assert threading.RLock(1, a=2).acquire()
    else:
        assert threading.RLock(1, a=2).acquire()


def test_any_thread_may_release_a_lock():
    lock = allocate_lock()
    lock.acquire()
    assert lock.locked()
    real = plain_threading.Thread(target=lock.release)
    real.start()
    assert lock.acquire(timeout=20)
    real.join()


def hold_in_a_real_thread(lock, holding, release):
    def hold():
        with lock:
            holding.set()
            release.wait(20)

    thread = plain_threading.Thread(target=hold)
    thread.start()
    assert holding.wait(20)
    return thread


@pytest.mark.parametrize("make", [allocate_lock, threading.RLock])
def test_the_loop_waits_for_a_real_thread(make, run_async):
    """A coroutine that logs, say, while an executor's worker does: as unpatched."""
    lock = make()

    async def main():
        holding, release = plain_threading.Event(), plain_threading.Event()
        thread = hold_in_a_real_thread(lock, holding, release)
        # A green thread of this loop waits before us. It could not pass the lock on
        # while the loop is blocked.
        first = greenio.spawn(lock.acquire)
        await greenio.run_green(greenio.sleep, 0)
        assert lock.acquire(timeout=0.01) is False
        plain_threading.Timer(0.02, release.set).start()
        assert lock.acquire()
        assert not first.dead
        lock.release()
        await first
        thread.join()

    run_async(main)


def test_the_loop_itself_takes_the_lock_that_a_real_thread_holds():
    """Not below the first wait in it, when the primitives' own mutex is held."""
    lock = threading.RLock()

    class Loop(asyncio.SelectorEventLoop):
        def add_reader(self, *args):
            with lock:
                return super().add_reader(*args)

    async def main():
        holding, release = plain_threading.Event(), plain_threading.Event()
        thread = hold_in_a_real_thread(lock, holding, release)

        def release_when_wanted():
            while not lock._waiters.waiting:
                plain_time.sleep(0.001)
            release.set()

        plain_threading.Thread(target=release_when_wanted).start()
        assert lock.acquire()
        lock.release()
        thread.join()
        return "done"

    loop = Loop()
    try:
        assert loop.run_until_complete(main()) == "done"
    finally:
        loop.close()


@pytest.mark.parametrize("make", [allocate_lock, threading.RLock])
def test_the_loop_does_not_wait_for_its_own_green_threads(make, run_async):
    lock = make()

    async def main():
        release = greenio.Event()

        def hold():
            with lock:
                release.wait()

        holder = greenio.spawn(hold)
        await greenio.run_green(greenio.sleep, 0)
        with pytest.raises(greenio.BlockingInLoopError, match="run_green"):
            lock.acquire()
        # Handed over to another green thread, it still is one of this loop's.
        waiting = greenio.spawn(lock.acquire)
        await greenio.run_green(greenio.sleep, 0)
        release.send()
        await holder
        with pytest.raises(greenio.BlockingInLoopError):
            lock.acquire()
        await waiting

    run_async(main)


# -- queues and handles by themselves ---------------------------------------------------


def test_a_simple_queue_without_waiting():
    items = queue.SimpleQueue()
    with pytest.raises(ValueError, match="non-negative"):
        items.get(timeout=-1)
    with pytest.raises(queue.Empty):
        items.get(False, timeout=-1)
    items.put_nowait(1)
    assert (items.qsize(), items.empty()) == (1, False)
    assert items.get_nowait() == 1
    with pytest.raises(queue.Empty):
        items.get_nowait()
    assert queue.SimpleQueue[int].__args__ == (int,)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="threads have no handles")
def test_the_handle_of_a_thread():
    from greenio.green import thread

    handle = thread._ThreadHandle()
    assert "ident=" in repr(handle)
    with pytest.raises(RuntimeError, match="not started"):
        handle.join()
    seen = []

    def work():
        with pytest.raises(RuntimeError, match="Cannot join current thread"):
            handle.join()
        seen.append("worked")

    thread.start_joinable_thread(work, handle=handle)
    with pytest.raises(RuntimeError, match="already started"):
        thread.start_joinable_thread(work, handle=handle)
    handle.join(-1)
    assert handle.is_done()
    assert seen == ["worked"]
