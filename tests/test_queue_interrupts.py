"""Who waits in the middle of an operation on a queue loses no item and doubles none.

That is a finalizer or a signal handler, which may come at any place where the interpreter
looks, or a method of a subclass. While it waits others use the same queue.
"""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import nullcontext, suppress
from functools import partial

import pytest

import greenio
from _injection import call_at, look_in
from greenio import queue
from greenio._std.errors import BlockingInLoopError


@pytest.fixture(autouse=True)
def places():
    before = look_in("_sync", "_kernel/waiters.py")
    yield
    look_in(*before)


class Slow(queue.Queue):
    """Whose order is a user's, who waits in the middle of it."""

    def _put(self, item):
        greenio.sleep(0)
        super()._put(item)
        greenio.sleep(0)

    def _get(self):
        item = super()._get()
        greenio.sleep(0)
        return item


KINDS = {
    "rendezvous": lambda: queue.Queue(0),
    "one": lambda: queue.Queue(1),
    "two": lambda: queue.LightQueue(2),
    "no limit": queue.Queue,
    "by priority": lambda: queue.PriorityQueue(1),
    "last in first out": lambda: queue.LifoQueue(1),
}
SLOW_KINDS = {"slow rendezvous": lambda: Slow(0), "slow one": lambda: Slow(1)}


class Traffic:
    """Putters and getters of one queue, as many of each."""

    def __init__(self, make):
        self.items = make()
        self.put = itertools.count()
        self.got = []
        self.threads = []

    def putter(self):
        self.items.put(next(self.put))

    def getter(self):
        self.got.append(self.items.get())
        if isinstance(self.items, queue.Queue):
            self.items.task_done()

    def start(self, *parts):
        self.threads += [greenio.spawn(part) for part in parts]

    def check(self, place):
        items = self.items
        assert Counter(self.got) == Counter(range(len(self.got))), place
        assert len(self.got) * 2 == len(self.threads), place
        assert (items.qsize(), items.getting(), items.putting()) == (0, 0, 0), place
        if isinstance(items, queue.Queue):
            assert items.join(timeout=0), place
            assert items.unfinished_tasks == 0, place


# Who was there before the operation, who operates, and who comes in the middle of it.
PUT, GET = Traffic.putter, Traffic.getter
SCENES = {
    "get, others get": ([PUT] * 3, GET, [GET] * 2),
    "get, others put": ([PUT] * 2, GET, [PUT, GET, GET]),
    "get, waits": ([], GET, [PUT, PUT, GET]),
    "put, others get": ([], PUT, [GET, GET, PUT]),
    "put, others put": ([GET] * 3, PUT, [PUT] * 2),
    "put, waits": ([PUT] * 2, PUT, [GET] * 3),
}


def play(make, scene, interrupt_at):
    """Play a scene; `interrupt_at` says where, from what comes in the middle."""
    before, operation, meanwhile = SCENES[scene]
    traffic = Traffic(make)
    came = []

    def come():
        if not came:
            came.append(True)
            traffic.start(*(part.__get__(traffic) for part in meanwhile))
        # It may come in the loop's own greenlet, where nobody may wait.
        with suppress(BlockingInLoopError):
            greenio.sleep(0)
            greenio.sleep(0)

    def operate():
        with interrupt_at(come) as told:
            operation(traffic)
        return told

    traffic.start(*(part.__get__(traffic) for part in before))
    greenio.sleep(0)
    traffic.start(operate)
    operating = traffic.threads[-1]
    greenio.sleep(0)
    greenio.sleep(0)
    come()
    with greenio.Timeout(10):
        for thread in traffic.threads:
            thread.wait()
    return traffic, operating.wait()


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_each_item_comes_out_once(hub_name, make, scene):
    for number in itertools.count():
        traffic, told = play(make, scene, partial(call_at, number))
        traffic.check(f"place {number}")
        if not told:
            break
    assert number > 5


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("make", SLOW_KINDS.values(), ids=SLOW_KINDS)
def test_a_subclass_may_wait_in_its_methods(hub_name, make, scene):
    traffic, _ = play(make, scene, nullcontext)
    traffic.check(scene)


def test_a_dealt_with_item_may_be_reported_before_its_putter_goes_on(hub_name):
    items = Slow()
    getter = greenio.spawn(lambda: (items.get(), items.task_done()))
    items.put(1)
    getter.wait()
    assert items.join(timeout=0)


def test_who_joins_is_told_when_an_item_did_not_get_in(hub_name):
    class Refusing(queue.Queue):
        def _put(self, item):
            greenio.sleep(0)
            raise ValueError(item)

    items = Refusing()
    putter = greenio.spawn(items.put, 1)
    greenio.sleep(0)
    assert items.unfinished_tasks == 1
    joiner = greenio.spawn(items.join)
    with pytest.raises(ValueError, match="1"):
        putter.wait()
    with greenio.Timeout(10):
        assert joiner.wait() is True


def test_who_is_killed_while_letting_another_in_leaves_the_queue_in_order(hub_name):
    class Waiting(queue.Queue):
        slow = False

        def _put(self, item):
            if self.slow:
                greenio.sleep(30)
            super()._put(item)

    items = Waiting(1)
    items.put(0)
    putter = greenio.spawn(items.put, 1)
    greenio.sleep(0)
    items.slow = True
    getter = greenio.spawn(items.get)
    greenio.sleep(0)
    other = greenio.spawn(items.get)
    greenio.sleep(0)
    items.slow = False
    getter.kill()
    with greenio.Timeout(10):
        # The item that it had taken out already is given to somebody else.
        assert other.wait() == 0
        assert items.get() == 1
        putter.wait()
