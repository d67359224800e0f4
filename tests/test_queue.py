"""`greenio.queue`: what the classes do."""

from __future__ import annotations

import asyncio
import queue as standard
from collections import OrderedDict

import pytest

import greenio
from _support import settle, until
from greenio.queue import (
    Empty,
    Full,
    LifoQueue,
    LightQueue,
    PriorityQueue,
    Queue,
    SimpleQueue,
)

pytestmark = pytest.mark.usefixtures("hub_name")

ALL = [LightQueue, Queue, LifoQueue, PriorityQueue]

every = pytest.mark.parametrize("cls", ALL)
JOINABLE = [Queue, LifoQueue, PriorityQueue]


# -- order and size -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (LightQueue, [2, 3, 1]),
        (Queue, [2, 3, 1]),
        (SimpleQueue, [2, 3, 1]),
        (LifoQueue, [1, 3, 2]),
        (PriorityQueue, [1, 2, 3]),
    ],
)
def test_order(cls, expected):
    queue = cls()
    for item in (2, 3, 1):
        queue.put(item)
    assert queue.qsize() == 3
    assert [queue.get() for _ in range(3)] == expected
    assert queue.empty()


def test_empty_and_full_are_the_standard_classes():
    assert Empty is standard.Empty
    assert Full is standard.Full


@every
def test_without_limit(cls):
    queue = cls()
    assert queue.maxsize is None
    assert not queue.full()
    for item in range(1000):
        queue.put_nowait(item)
    assert queue.qsize() == 1000
    assert not queue.full()
    assert cls(-1).maxsize is None


@every
def test_with_a_limit(cls):
    queue = cls(2)
    assert queue.maxsize == 2
    queue.put(1)
    assert not queue.full()
    queue.put(2)
    assert queue.full()
    with pytest.raises(Full):
        queue.put_nowait(3)
    with pytest.raises(Full):
        queue.put(3, block=False)
    with pytest.raises(Full):
        queue.put(3, timeout=0)
    with pytest.raises(Full):
        queue.put(3, timeout=0.001)
    assert queue.qsize() == 2
    assert sorted([queue.get(), queue.get()]) == [1, 2]


@every
def test_nothing_to_get(cls):
    queue = cls()
    with pytest.raises(Empty):
        queue.get_nowait()
    with pytest.raises(Empty):
        queue.get(block=False)
    with pytest.raises(Empty):
        queue.get(timeout=0)
    with pytest.raises(Empty):
        queue.get(timeout=0.001)
    assert queue.getting() == 0


@every
def test_bad_arguments(cls):
    queue = cls()
    with pytest.raises(ValueError, match="timeout in seconds"):
        queue.put(1, timeout=float("nan"))
    with pytest.raises(ValueError, match="timeout in seconds"):
        queue.get(timeout=float("nan"))
    with pytest.raises(TypeError, match="maximum size"):
        cls("big")
    assert queue.empty()


# -- task_done and join -------------------------------------------------------------------


@pytest.mark.parametrize("cls", JOINABLE)
def test_join_waits_until_everything_is_dealt_with(cls):
    queue = cls()
    assert queue.join() is True
    for item in range(3):
        queue.put(item)
    assert queue.unfinished_tasks == 3
    assert queue.join(timeout=0) is False
    assert queue.join(timeout=0.001) is False
    joiners = [greenio.spawn(queue.join) for _ in range(2)]
    for _ in range(3):
        settle()
        assert not any(joiner.dead for joiner in joiners)
        queue.get()
        queue.task_done()
    assert [joiner.wait() for joiner in joiners] == [True, True]
    assert queue.unfinished_tasks == 0
    assert queue.join() is True


@pytest.mark.parametrize("cls", JOINABLE)
def test_task_done_too_often(cls):
    queue = cls()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()
    queue.put(1)
    queue.task_done()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


@pytest.mark.parametrize("cls", JOINABLE)
def test_an_item_counts_once_however_it_travels(cls):
    # Straight to a getter, into the queue, from a waiting putter, and back.
    queue = cls(1)
    getter = greenio.spawn(queue.get)
    settle()
    queue.put(1)
    assert queue.unfinished_tasks == 1
    getter.kill()
    assert queue.unfinished_tasks == 1
    putter = greenio.spawn(queue.put, 2)
    settle()
    assert queue.unfinished_tasks == 1
    queue.get()
    putter.wait()
    assert queue.unfinished_tasks == 2
    late = greenio.spawn(queue.put, 3)
    settle()
    queue.get()
    assert queue.unfinished_tasks == 3
    late.kill()
    assert queue.unfinished_tasks == 2
    assert queue.empty()


@pytest.mark.parametrize("cls", JOINABLE)
def test_join_ends_when_the_last_item_is_withdrawn(cls):
    queue = cls(1)
    queue.put(1)
    joiner = greenio.spawn(queue.join)
    putter = greenio.spawn(queue.put, 2)
    settle()
    queue.get()
    queue.task_done()
    assert queue.unfinished_tasks == 1
    putter.kill()
    assert queue.unfinished_tasks == 0
    assert joiner.wait() is True


# -- subclasses ---------------------------------------------------------------------------


class UniqueQueue(Queue):
    """As in many programs: an item that is in already is not put in again."""

    def _init(self, maxsize):
        self.queue = OrderedDict()

    def _put(self, item):
        self.queue[item] = None

    def _get(self):
        return self.queue.popitem(last=False)[0]


def test_a_subclass_with_a_container_of_its_own():
    queue = UniqueQueue()
    for item in "abcab":
        queue.put(item)
    assert queue.qsize() == 3
    assert [queue.get() for _ in range(3)] == ["a", "b", "c"]
    thread = greenio.spawn(queue.get)
    settle()
    queue.put("x")
    queue.put("y")
    thread.kill()
    assert sorted([queue.get(), queue.get()]) == ["x", "y"]


def test_a_subclass_with_a_container_of_its_own_has_a_limit_too():
    queue = UniqueQueue(1)
    queue.put("a")
    first, second = (greenio.spawn(queue.put, item) for item in "bc")
    settle()
    assert queue.putting() == 2
    assert [queue.get() for _ in range(3)] == ["a", "b", "c"]
    first.wait()
    second.wait()


def test_every_item_goes_through_the_methods_of_a_subclass():
    class Marked(LightQueue):
        def _put(self, item):
            super()._put(("put", item))

        def _get(self):
            return ("got", super()._get())

    queue = Marked()
    thread = greenio.spawn(queue.get)
    settle()
    queue.put(1)
    assert thread.wait() == ("got", ("put", 1))
    channel = Marked(0)
    putter = greenio.spawn(channel.put, 2)
    settle()
    assert channel.get() == ("got", ("put", 2))
    putter.wait()


# -- priorities ---------------------------------------------------------------------------


def test_an_item_that_does_not_compare_is_refused_and_not_kept():
    queue = PriorityQueue()
    queue.put(1)
    with pytest.raises(TypeError):
        queue.put("text")
    queue.put(0)
    assert queue.unfinished_tasks == 2
    assert [queue.get(), queue.get()] == [0, 1]
    assert queue.empty()


def test_a_waiting_putter_is_told_that_its_item_does_not_compare():
    queue = PriorityQueue(2)
    queue.put(1)
    queue.put(2)
    bad = greenio.spawn(queue.put, "text")
    good = greenio.spawn(queue.put, 3)
    settle()
    # The getter is not to blame.
    assert queue.get() == 1
    with pytest.raises(TypeError):
        bad.wait()
    good.wait()
    assert [queue.get(), queue.get()] == [2, 3]
    assert queue.unfinished_tasks == 3


# -- coroutines ---------------------------------------------------------------------------


@every
def test_from_coroutines(run_async, cls):
    async def main():
        queue = cls(1)
        assert await _taken(queue) is Empty
        with pytest.raises(Empty):
            await queue.get_async(timeout=0.001)
        await queue.put_async(1)
        with pytest.raises(Full):
            await queue.put_async(2, timeout=0)
        with pytest.raises(Full):
            await queue.put_async(2, timeout=0.001)
        with pytest.raises(greenio.BlockingInLoopError, match="_async"):
            queue.put(2)
        assert queue.get() == 1
        with pytest.raises(greenio.BlockingInLoopError, match="_async"):
            queue.get()
        queue.put(3)
        with pytest.raises(Full):
            queue.put_nowait(4)
        assert queue.get_nowait() == 3
        with pytest.raises(Empty):
            queue.get_nowait()
        return queue.putting() + queue.getting()

    assert run_async(main) == 0


async def _taken(queue):
    try:
        return await queue.get_async(timeout=0)
    except Empty:
        return Empty


def test_green_producer_and_coroutine_consumer(run_async):
    async def main():
        queue = Queue(2)

        def produce():
            for item in range(20):
                queue.put(item)
            queue.join()

        producer = greenio.spawn(produce)
        items = []
        for _ in range(20):
            items.append(await queue.get_async())
            queue.task_done()
        await producer
        assert await queue.join_async() is True
        return items

    assert run_async(main) == list(range(20))


def test_join_from_a_coroutine(run_async):
    async def main():
        queue = Queue()
        queue.put(1)
        assert await queue.join_async(timeout=0) is False
        assert await queue.join_async(timeout=0.001) is False
        with pytest.raises(greenio.BlockingInLoopError, match="_async"):
            queue.join()
        task = asyncio.ensure_future(queue.join_async())
        await asyncio.sleep(0)
        queue.task_done()
        return await task

    assert run_async(main) is True


@every
def test_cancelled_coroutines(run_async, cls):
    async def main():
        queue = cls(1)
        first, second = (asyncio.ensure_future(queue.get_async()) for _ in range(2))
        await asyncio.sleep(0)
        queue.put("a")
        first.cancel()
        assert await second == "a"
        queue.put("b")
        third, fourth = (
            asyncio.ensure_future(queue.put_async(item)) for item in ("c", "d")
        )
        await asyncio.sleep(0)
        # Cancelled, but still in line: the place is for the next one.
        third.cancel()
        assert queue.get() == "b"
        await fourth
        assert queue.get() == "d"
        return [task.cancelled() for task in (first, third)], queue.qsize()

    assert run_async(main) == ([True, True], 0)


@every
def test_a_coroutine_cancelled_with_its_item_in_takes_it_out_again(run_async, cls):
    async def main():
        queue = cls(1)
        queue.put("a")
        task = asyncio.ensure_future(queue.put_async("b"))
        await asyncio.sleep(0)
        assert queue.get() == "a"
        assert queue.qsize() == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return queue.qsize()

    assert run_async(main) == 0


# -- odds and ends ------------------------------------------------------------------------


def test_a_repr_tells_the_state():
    queue = Queue(3)
    queue.put(1)
    assert "Queue maxsize=3 qsize=1 0 getting 0 putting" in repr(queue)
    assert queue.statistics().qsize == 1
    assert queue.statistics().maxsize == 3
    assert bool(queue)


def test_subscripted_for_type_checkers():
    assert isinstance(Queue[int](2), Queue)


def test_a_pipeline_of_green_threads():
    numbers, squares = Queue(3), LightQueue(0)

    def square():
        for number in iter(numbers.get, None):
            squares.put(number**2)
        squares.put(None)

    worker = greenio.spawn(square)
    results = []
    collector = greenio.spawn(lambda: results.extend(iter(squares.get, None)))
    for number in range(50):
        numbers.put(number)
    numbers.put(None)
    until(lambda: worker.dead and collector.dead)
    assert results == [number**2 for number in range(50)]


def test_a_program_may_have_a_queue_in_an_order_of_its_own(hub_name):
    """As with eventlet, where such a `_put` says that it has counted."""

    class Longest(Queue):
        def _init(self, maxsize):
            self.queue = []

        def _put(self, item):
            self.queue.append(item)
            self.queue.sort(key=len)
            self._put_bookkeeping()

        def _get(self):
            return self.queue.pop()

    queue = Longest()
    for item in ("aa", "a", "aaa"):
        queue.put(item)
    assert [queue.get() for _ in range(3)] == ["aaa", "aa", "a"]
    assert queue.unfinished_tasks == 3
