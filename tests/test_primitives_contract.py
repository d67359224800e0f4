"""What every primitive promises to every kind of waiter, on every loop.

Each case names one call that waits and one that wakes it. Green threads, coroutines and
OS threads, on this loop and on another thread's, must all be able to play both parts.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from greenlet import GreenletExit

import greenio
from _support import KINDS, STOPPABLE, live_waiters, settle, until
from greenio.event import Event
from greenio.lock import Condition, Lock, RLock
from greenio.queue import (
    Empty,
    Full,
    LifoQueue,
    LightQueue,
    PriorityQueue,
    Queue,
    SimpleQueue,
)
from greenio.semaphore import BoundedSemaphore, CappedSemaphore, Semaphore


@dataclass(frozen=True)
class Case:
    """One way to wait.

    Attributes:
        make: Makes the primitive, in a state in which `wait` has to wait.
        wait: The method that waits, and its arguments.
        wake: The method that wakes one waiter, and its arguments.
        value: What `wait` returns then.
        late: What `wait` returns, or raises, when its time is up.
        waiting: How many wait.
    """

    make: Callable[[], Any]
    wait: tuple[Any, ...]
    wake: tuple[Any, ...]
    value: Any
    late: Any
    waiting: Callable[[Any], int]


def _held(lock: Any) -> Any:
    lock.acquire()
    return lock


def _full(queue: Any) -> Any:
    queue.put("old")
    return queue


def _acquiring(primitive: Any) -> int:
    return primitive.statistics().waiting


CASES = {
    "Event": Case(Event, ("wait",), ("send", "new"), "new", None, _acquiring),
    "Semaphore": Case(
        lambda: Semaphore(0), ("acquire",), ("release",), True, False, _acquiring
    ),
    "BoundedSemaphore": Case(
        lambda: _held(BoundedSemaphore(1)),
        ("acquire",),
        ("release",),
        True,
        False,
        _acquiring,
    ),
    "CappedSemaphore.acquire": Case(
        lambda: CappedSemaphore(0, 1),
        ("acquire",),
        ("release",),
        True,
        False,
        lambda semaphore: semaphore.statistics().acquiring,
    ),
    "CappedSemaphore.release": Case(
        lambda: CappedSemaphore(1, 1),
        ("release",),
        ("acquire",),
        True,
        False,
        lambda semaphore: semaphore.statistics().releasing,
    ),
    "Lock": Case(
        lambda: _held(Lock()), ("acquire",), ("release",), True, False, _acquiring
    ),
    **{
        f"{cls.__name__}.get": Case(
            cls, ("get",), ("put", "new"), "new", Empty, lambda queue: queue.getting()
        )
        for cls in (LightQueue, Queue, LifoQueue, PriorityQueue, SimpleQueue)
    },
    **{
        f"{cls.__name__}.put": Case(
            lambda cls=cls: _full(cls(1)),
            ("put", "new"),
            ("get",),
            None,
            Full,
            lambda queue: queue.putting(),
        )
        for cls in (LightQueue, Queue, LifoQueue, PriorityQueue)
    },
    "channel.get": Case(
        lambda: LightQueue(0),
        ("get",),
        # Who puts goes on at once only if he does not wait.
        ("put_nowait", "new"),
        "new",
        Empty,
        lambda queue: queue.getting(),
    ),
    "channel.put": Case(
        lambda: LightQueue(0),
        ("put", "new"),
        ("get",),
        None,
        Full,
        lambda queue: queue.putting(),
    ),
}


# Those whose wake is for one waiter, so that somebody else gets it if that one ends.
PASSING_ON = [name for name in CASES if name != "Event"]
every_case = pytest.mark.parametrize("name", CASES)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_stoppable_kind = pytest.mark.parametrize("kind", STOPPABLE)


def _wake(case: Case, primitive: Any) -> Any:
    method, *args = case.wake
    return getattr(primitive, method)(*args)


def _begin(cast: Any, kind: str, case: Case, primitive: Any, **kwargs: Any) -> Any:
    """Start an actor, and return it when it waits."""
    before = case.waiting(primitive)
    method, *args = case.wait
    actor = cast.start(kind, primitive, method, *args, **kwargs)
    until(lambda: case.waiting(primitive) == before + 1)
    assert not actor.finished
    return actor


@every_case
@every_kind
def test_woken_by_anybody(cast, name, kind):
    case = CASES[name]
    for waker in KINDS:
        primitive = case.make()
        actor = _begin(cast, kind, case, primitive)
        method, *args = case.wake
        cast.start(waker, primitive, method, *args).outcome()
        assert actor.outcome() == case.value, waker
        assert case.waiting(primitive) == 0, waker


@every_case
@every_kind
def test_a_time_limit(cast, name, kind):
    case = CASES[name]
    primitive = case.make()
    method, *args = case.wait
    # Not `_begin`: on another OS thread the time may be up before anybody looks.
    actor = cast.start(kind, primitive, method, *args, timeout=0.01)
    if isinstance(case.late, type):
        with pytest.raises(case.late):
            actor.outcome()
    else:
        assert actor.outcome() is case.late
    assert case.waiting(primitive) == 0
    # Nothing was given to the one that left.
    actor = _begin(cast, kind, case, primitive)
    _wake(case, primitive)
    assert actor.outcome() == case.value


@every_case
@every_kind
def test_woken_before_its_time_is_up(cast, name, kind):
    case = CASES[name]
    primitive = case.make()
    actor = _begin(cast, kind, case, primitive, timeout=30)
    _wake(case, primitive)
    assert actor.outcome() == case.value


@every_case
@every_kind
def test_a_time_limit_of_zero_only_looks(cast, name, kind):
    case = CASES[name]
    primitive = case.make()
    method, *args = case.wait
    actor = cast.start(kind, primitive, method, *args, timeout=0)
    if isinstance(case.late, type):
        with pytest.raises(case.late):
            actor.outcome()
    else:
        assert actor.outcome() is case.late
    assert case.waiting(primitive) == 0


@every_case
@every_stoppable_kind
def test_stopped_while_waiting(cast, name, kind):
    case = CASES[name]
    primitive = case.make()
    actor = _begin(cast, kind, case, primitive)
    actor.stop()
    until(lambda: case.waiting(primitive) == 0 and actor.error is not None)
    with pytest.raises((GreenletExit, asyncio.CancelledError)):
        actor.outcome()
    # Nothing was given to the one that left.
    heir = _begin(cast, "green", case, primitive)
    _wake(case, primitive)
    assert heir.outcome() == case.value


@pytest.mark.parametrize("name", [name for name in PASSING_ON if name != "channel.put"])
@pytest.mark.parametrize("kind", ["green", "coroutine"])
def test_stopped_in_the_turn_in_which_it_was_woken(cast, name, kind):
    # Not for a putter of a channel: whoever woke it has its item.
    case = CASES[name]
    primitive = case.make()
    for heir_kind in KINDS:
        actor = _begin(cast, kind, case, primitive)
        heir = _begin(cast, heir_kind, case, primitive)
        _wake(case, primitive)
        actor.stop()
        assert heir.outcome() == case.value, heir_kind
        until(lambda actor=actor: actor.error is not None)
        assert isinstance(actor.error, (GreenletExit, asyncio.CancelledError))
        # The one wake was used up by the heir.
        assert case.waiting(primitive) == 0


@pytest.mark.parametrize("name", PASSING_ON)
def test_first_come_first_served_whoever_they_are(cast, name):
    case = CASES[name]
    primitive = case.make()
    actors = [_begin(cast, kind, case, primitive) for kind in (*KINDS, *KINDS)]
    for number, actor in enumerate(actors):
        assert [other.finished for other in actors].count(True) == number
        _wake(case, primitive)
        assert actor.outcome() == case.value
        settle()


@every_case
@pytest.mark.parametrize("kind", ["green", "coroutine"])
def test_woken_by_a_thread_between_looking_and_queueing(cast, name, kind, monkeypatch):
    case = CASES[name]
    primitive = case.make()
    wakers = []

    def wake_meanwhile():
        waker = threading.Thread(target=_wake, args=(case, primitive))
        waker.start()
        wakers.append(waker)
        # It either gets through now, or has to wait for whoever holds the mutex.
        waker.join(0.01)

    namespace = getattr(type(primitive), case.wait[0]).__globals__
    what = "new_waiter" if kind == "green" else "new_task_waiter"
    original = namespace[what]

    def intercepted(*args):
        waiter = original(*args)
        wake_meanwhile()
        return waiter

    monkeypatch.setitem(namespace, what, intercepted)
    method, *args = case.wait
    actor = cast.start(kind, primitive, method, *args, timeout=10)
    assert actor.outcome() == case.value
    for waker in wakers:
        waker.join()
    assert len(wakers) == 1


@every_case
def test_in_the_loop_greenlet_waiting_is_an_error_and_leaves_nothing(run_async, name):
    case = CASES[name]

    async def main():
        primitive = case.make()
        method, *args = case.wait
        for kwargs in ({}, {"timeout": 5}):
            with pytest.raises(
                greenio.BlockingInLoopError, match=f"{method}_async|_as"
            ):
                getattr(primitive, method)(*args, **kwargs)
        assert case.waiting(primitive) == 0
        assert not live_waiters()
        return "checked"

    assert run_async(main) == "checked"


@pytest.mark.parametrize("name", PASSING_ON)
@pytest.mark.parametrize("kind", ["green", "coroutine"])
def test_those_whose_loop_is_gone_are_passed_over(cast, loop_factory, name, kind):
    case = CASES[name]
    primitive = case.make()
    # A loop that is closed without a word to those who wait on it.
    loop = loop_factory()
    lost = []

    async def start():
        method, *args = case.wait
        if kind == "green":
            lost.append(greenio.spawn(getattr(primitive, method), *args))
        else:
            coroutine = getattr(primitive, f"{method}_async")(*args)
            task = asyncio.ensure_future(coroutine)
            task._log_destroy_pending = False
            lost.append(task)
        while case.waiting(primitive) == 0:
            await asyncio.sleep(0)

    def run():
        loop.run_until_complete(start())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    heir = _begin(cast, "green", case, primitive)
    assert case.waiting(primitive) == 2
    _wake(case, primitive)
    assert heir.outcome() == case.value
    if kind == "coroutine":
        lost.pop().get_coro().close()


# -- Condition and RLock, whose callers must hold the lock --------------------------------


class Box:
    """A condition with a state, for actors that make one call."""

    def __init__(self, lock: Any) -> None:
        self.condition = Condition(lock)
        self.items: list[Any] = []
        self.waiting = 0

    def take(self, timeout: float | None = None) -> Any:
        with self.condition:
            self.waiting += 1
            try:
                if not self.condition.wait_for(lambda: self.items, timeout):
                    return None
                return self.items.pop(0)
            finally:
                self.waiting -= 1

    async def take_async(self, timeout: float | None = None) -> Any:
        async with self.condition:
            self.waiting += 1
            try:
                if not await self.condition.wait_for_async(lambda: self.items, timeout):
                    return None
                return self.items.pop(0)
            finally:
                self.waiting -= 1

    def add(self, item: Any) -> None:
        with self.condition:
            self.items.append(item)
            self.condition.notify()

    async def add_async(self, item: Any) -> None:
        async with self.condition:
            self.items.append(item)
            self.condition.notify()


@every_kind
@pytest.mark.parametrize("lock", [Lock, RLock])
def test_a_condition_between_any_two(cast, kind, lock):
    box = Box(lock())
    for waker in KINDS:
        actor = cast.start(kind, box, "take")
        until(lambda: box.waiting == 1)
        cast.start(waker, box, "add", "item").outcome()
        assert actor.outcome() == "item", waker
    assert cast.start(kind, box, "take", timeout=0.01).outcome() is None
    assert box.condition.acquire(False)
    box.condition.release()


class Section:
    """A critical section, for actors that make one call."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.inside = 0

    def enter(self, times: int) -> int:
        for _ in range(times):
            with self.lock, self.lock:
                self.inside += 1
                assert self.inside == 1
                greenio.sleep(0)
                self.inside -= 1
        return times

    async def enter_async(self, times: int) -> int:
        for _ in range(times):
            async with self.lock, self.lock:
                self.inside += 1
                assert self.inside == 1
                await asyncio.sleep(0)
                self.inside -= 1
        return times


def test_an_rlock_keeps_everybody_apart(cast):
    section = Section()
    actors = [cast.start(kind, section, "enter", 20) for kind in (*KINDS, *KINDS)]
    assert [actor.outcome() for actor in actors] == [20] * len(actors)
    assert not section.lock.locked()
