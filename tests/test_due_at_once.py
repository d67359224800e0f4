"""Delays of nothing and less: at once, in the order in which they were asked for."""

from __future__ import annotations

import pytest

import greenio
from _fresh import run
from _support import settle
from greenio import GreenPool, Queue, event, hubs, lock, queue


@pytest.mark.parametrize("seconds", [-1, -0.001, -float("inf"), 0])
def test_less_than_nothing_is_nothing(hub_name, seconds):
    ran = []
    greenio.spawn_after(seconds, ran.append, "spawn_after")
    greenio.call_after_global(seconds, ran.append, "call_after")
    greenio.sleep(seconds)
    settle()
    assert sorted(ran) == ["call_after", "spawn_after"]
    with pytest.raises(greenio.Timeout):
        with greenio.Timeout(seconds):
            greenio.sleep(100)
    with greenio.Timeout(seconds, False):
        greenio.sleep(100)
        raise AssertionError("not reached")
    greenio.exc_after(seconds, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        greenio.sleep(100)


def test_waits_with_less_than_nothing_only_look(hub_name):
    assert event.Event().wait(-1) is None
    with pytest.raises(queue.Empty):
        Queue().get(timeout=-1)
    full = Queue(1)
    full.put(1)
    with pytest.raises(queue.Full):
        full.put(2, timeout=-1)
    assert full.join(timeout=-1) is False
    condition = lock.Condition()
    with condition:
        assert condition.wait(-1) is False
    thread = greenio.spawn(greenio.sleep, 100)
    assert greenio.joinall([thread], timeout=-1) == []
    assert list(greenio.iwait([thread], timeout=-1)) == []
    thread.kill()


@pytest.mark.parametrize("hub", ["asyncio", "uvloop"])
def test_the_standard_librarys_own_keep_refusing_them(hub):
    run(
        """
        import greenio
        greenio.monkey_patch()
        import queue, threading, time
        for call in (
            lambda: time.sleep(-1),
            lambda: queue.Queue().get(timeout=-1),
            lambda: queue.SimpleQueue().get(timeout=-1),
            lambda: threading.Lock().acquire(timeout=-2),
        ):
            try:
                call()
            except ValueError:
                continue
            raise AssertionError(call.__code__.co_firstlineno)
        """,
        hub=hub,
    )


def test_what_is_due_at_once_keeps_its_place(hub_name):
    order = []
    hub = hubs.get_hub()

    def limited():
        try:
            with greenio.Timeout(0):
                order.append("limited")
                greenio.sleep(100)
        except greenio.Timeout:
            order.append("timed out")

    greenio.spawn(limited)
    hub.schedule_call_global(0, order.append, "called")
    greenio.spawn(order.append, "spawned")
    greenio.spawn_after(0, order.append, "spawned after")
    settle()
    assert order == ["limited", "called", "spawned", "spawned after", "timed out"]


def test_a_time_limit_that_comes_before_the_wake_up_counts(hub_name):
    items = Queue()

    def bail():
        greenio.Timeout(0, RuntimeError())
        try:
            return items.get()
        except RuntimeError:
            return "timed out"

    first, second = greenio.spawn(bail), greenio.spawn(items.get)
    greenio.sleep(0)
    items.put("hi")
    assert (first.wait(), second.wait()) == ("timed out", "hi")


def test_a_time_limit_before_a_slot(hub_name):
    pool = GreenPool(1)
    pool.spawn(int)
    with pytest.raises(greenio.Timeout), greenio.Timeout(0):
        pool.spawn(int)
    pool.waitall()
    assert pool.free() == 1


def test_a_time_limit_that_is_called_off_in_its_turn(hub_name):
    with greenio.Timeout(0):
        pass
    settle()
    assert hubs.get_hub().get_timers_count() == 0


@pytest.mark.parametrize("limit", [0, -1])
def test_who_polls_with_a_limit_of_zero_lets_the_others_run(hub_name, limit):
    """As with eventlet, where programs wait for others in such loops."""
    event, queue, full = greenio.Event(), greenio.Queue(), greenio.Queue(1)
    full.put(1)
    semaphore = greenio.Semaphore(0)

    def others():
        event.send("sent")
        queue.put("put")
        full.get()
        semaphore.release()

    def polled(wait):
        for _ in range(3):
            try:
                result = wait()
            except (greenio.queue.Empty, greenio.queue.Full):
                continue
            if result not in (None, False):
                return result
        return "starved"

    greenio.spawn(others)
    assert polled(lambda: event.wait(limit)) == "sent"
    event.reset()
    greenio.spawn_after(0, others)
    queue.get()
    assert polled(lambda: queue.get(timeout=limit)) == "put"
    if limit == 0:
        semaphore.acquire()
        greenio.spawn(semaphore.release)
        assert polled(lambda: semaphore.acquire(timeout=0)) is True
