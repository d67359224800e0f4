"""`greenio.queue`: who waits, and is served in which order."""

from __future__ import annotations

import pytest

import greenio
from _support import settle
from greenio.queue import Empty, Full, LifoQueue, LightQueue, PriorityQueue, Queue

pytestmark = pytest.mark.usefixtures("hub_name")

ALL = [LightQueue, Queue, LifoQueue, PriorityQueue]

every = pytest.mark.parametrize("cls", ALL)


# -- waiting ------------------------------------------------------------------------------


@every
def test_items_go_to_getters_in_their_order(cls):
    queue = cls()
    threads = [greenio.spawn(queue.get) for _ in range(3)]
    settle()
    assert queue.getting() == 3
    assert queue.statistics().getting == 3
    for item in (3, 1, 2):
        queue.put(item)
    assert queue.getting() == 0
    # They are the getters' already.
    with pytest.raises(Empty):
        queue.get_nowait()
    assert [thread.wait() for thread in threads] == [3, 1, 2]


@every
def test_putters_get_in_in_their_order(cls):
    queue = cls(1)
    queue.put(0)
    threads = [greenio.spawn(queue.put, item) for item in (1, 2, 3)]
    settle()
    assert queue.putting() == 3
    assert queue.statistics().putting == 3
    assert queue.qsize() == 1
    assert [queue.get() for _ in range(4)] == [0, 1, 2, 3]
    for thread in threads:
        thread.wait()
    assert queue.putting() == 0


@every
def test_nobody_barges_past_a_putter(cls):
    queue = cls(1)
    queue.put(0)
    thread = greenio.spawn(queue.put, 1)
    settle()
    assert queue.get() == 0
    # The place is taken already.
    with pytest.raises(Full):
        queue.put_nowait(2)
    thread.wait()
    assert queue.get() == 1


def test_the_putter_goes_on_before_the_getter():
    order = []
    queue = Queue()

    def getter():
        order.append(queue.get())

    thread = greenio.spawn(getter)
    settle()
    queue.put("item")
    order.append("put")
    thread.wait()
    assert order == ["put", "item"]


@every
def test_a_killed_getter_leaves(cls):
    queue = cls()
    thread = greenio.spawn(queue.get)
    settle()
    thread.kill()
    assert queue.getting() == 0
    queue.put(1)
    assert queue.qsize() == 1


@every
def test_a_killed_putter_takes_its_item_along(cls):
    queue = cls(1)
    queue.put(0)
    first, second = (greenio.spawn(queue.put, item) for item in (1, 2))
    settle()
    first.kill()
    assert queue.putting() == 1
    assert queue.get() == 0
    second.wait()
    assert queue.get() == 2
    assert queue.empty()


@every
def test_a_getter_killed_with_an_item_in_hand_puts_it_back(cls):
    queue = cls()
    thread = greenio.spawn(queue.get)
    settle()
    queue.put("a")
    queue.put("b")
    assert queue.qsize() == 1
    thread.kill()
    assert queue.qsize() == 2
    # "a" comes out next, where the kind of queue has a say in that.
    assert [queue.get(), queue.get()] == ["a", "b"]


@every
def test_a_getter_killed_with_an_item_in_hand_hands_it_on(cls):
    queue = cls()
    first, second = (greenio.spawn(queue.get) for _ in range(2))
    settle()
    queue.put("a")
    first.kill()
    assert second.wait() == "a"
    assert queue.empty()


def test_the_item_of_a_killed_getter_comes_out_in_priority_order():
    queue = PriorityQueue()
    thread = greenio.spawn(queue.get)
    settle()
    for item in (5, 1, 9):
        queue.put(item)
    thread.kill()
    assert [queue.get() for _ in range(3)] == [1, 5, 9]


@every
def test_a_putter_killed_with_its_item_in_takes_it_out_again(cls):
    queue = cls(1)
    queue.put("a")
    first, second = (greenio.spawn(queue.put, item) for item in "bc")
    settle()
    assert queue.get() == "a"
    assert queue.qsize() == 1
    first.kill()
    # ... and the next one gets in.
    assert queue.qsize() == 1
    second.wait()
    assert queue.get() == "c"
    assert queue.empty()


@every
def test_a_putter_killed_after_its_item_was_taken(cls):
    queue = cls(1)
    queue.put("a")
    thread = greenio.spawn(queue.put, "b")
    settle()
    assert [queue.get(), queue.get()] == ["a", "b"]
    thread.kill()
    assert queue.empty()
    queue.put("c")
    assert queue.get() == "c"


@every
def test_an_item_put_back_may_go_over_the_limit(cls):
    queue = cls(1)
    thread = greenio.spawn(queue.get)
    settle()
    queue.put("a")
    queue.put("b")
    thread.kill()
    assert queue.qsize() == 2
    assert queue.full()
    with pytest.raises(Full):
        queue.put_nowait("c")
    putter = greenio.spawn(queue.put, "d")
    settle()
    assert queue.get() == "a"
    assert queue.putting() == 1
    assert queue.get() == "b"
    putter.wait()
    assert queue.get() == "d"


@every
def test_a_timeout_around_a_put_does_not_leave_the_item(cls):
    queue = cls(1)
    queue.put(1)
    with pytest.raises(greenio.Timeout), greenio.Timeout(0.001):
        queue.put(2)
    assert queue.putting() == 0
    assert queue.get() == 1
    assert queue.empty()


# -- rendezvous ---------------------------------------------------------------------------


@every
def test_a_rendezvous_waits_for_the_getter(cls):
    queue = cls(0)
    assert queue.full()
    assert queue.empty()
    with pytest.raises(Full):
        queue.put_nowait(1)
    thread = greenio.spawn(queue.put, 1)
    settle()
    assert not thread.dead
    assert queue.qsize() == 0
    assert queue.get() == 1
    thread.wait()


@every
def test_a_rendezvous_with_a_waiting_getter_needs_no_waiting(cls):
    queue = cls(0)
    thread = greenio.spawn(queue.get)
    settle()
    queue.put_nowait(1)
    with pytest.raises(Full):
        queue.put_nowait(2)
    assert thread.wait() == 1


@every
def test_a_rendezvous_with_a_waiting_putter_needs_no_waiting(cls):
    queue = cls(0)
    first, second = (greenio.spawn(queue.put, item) for item in (1, 2))
    settle()
    assert queue.putting() == 2
    assert queue.get_nowait() == 1
    assert queue.get_nowait() == 2
    with pytest.raises(Empty):
        queue.get_nowait()
    first.wait()
    second.wait()


@every
def test_a_rendezvous_whose_getter_was_killed_keeps_the_item(cls):
    queue = cls(0)
    getter = greenio.spawn(queue.get)
    settle()
    queue.put_nowait("kept")
    getter.kill()
    assert queue.qsize() == 1
    putter = greenio.spawn(queue.put, "next")
    settle()
    assert queue.get() == "kept"
    assert queue.putting() == 1
    assert queue.get() == "next"
    putter.wait()


# -- resize -------------------------------------------------------------------------------


@every
def test_resize_lets_putters_in(cls):
    queue = cls(1)
    queue.put(0)
    threads = [greenio.spawn(queue.put, item) for item in (1, 2, 3)]
    settle()
    queue.resize(3)
    assert queue.maxsize == 3
    assert queue.qsize() == 3
    assert queue.putting() == 1
    queue.resize(None)
    assert queue.qsize() == 4
    assert queue.putting() == 0
    for thread in threads:
        thread.wait()


@every
def test_resize_to_less_keeps_what_is_in(cls):
    queue = cls(3)
    for item in range(3):
        queue.put(item)
    queue.resize(1)
    thread = greenio.spawn(queue.put, 3)
    settle()
    for _ in range(2):
        queue.get()
        assert queue.putting() == 1
    queue.get()
    thread.wait()
    assert queue.qsize() == 1
    queue.resize(0)
    assert queue.get() == 3
