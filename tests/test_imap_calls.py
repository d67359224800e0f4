"""The calls of an `imap`: which greenlets make them, and who can tell."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys

import pytest
from greenlet import GreenletExit, getcurrent

import greenio
from _support import end_loop
from _tellers import TELLERS, kept, link_something, nothing_kept  # noqa: F401 - a fixture
from greenio import GreenPool, event, hubs, sleep, spawn
from greenio._kernel.run_queue import HANDOFFS

UNORDERED = [False, True]


def mapped(pool, function, items, unordered=False):
    return (pool.imap_unordered if unordered else pool.imap)(function, items)


def bodies(functions, unordered=False):
    """Call functions by an `imap`; return who made each call, by the frame below."""
    frames = []

    def call(function):
        frames.append(sys._getframe(1))
        function()

    pool = GreenPool(20)
    # The first one ends with its call if the consumer waits for that.
    assert len(list(mapped(pool, call, [nothing, *functions], unordered))) == len(
        frames
    )
    assert (pool.free(), pool.running()) == (20, 0)
    del frames[0]
    return [frames.index(frame) for frame in frames]


def nothing():
    pass


@pytest.mark.parametrize("unordered", UNORDERED)
def test_one_makes_what_nobody_can_tell(hub_name, unordered):
    assert bodies([nothing] * 5, unordered) == [0] * 5


@pytest.mark.parametrize("unordered", UNORDERED)
@pytest.mark.parametrize("act", TELLERS)
def test_a_new_one_after_who_can_be_told_from_others(hub_name, act, unordered):
    assert bodies([nothing, act, nothing, nothing], unordered) == [0, 0, 2, 2]


def test_a_link_is_called_once_and_sees_its_call(hub_name):
    def call(item):
        if item == 2:
            link_something()
        return item

    assert list(GreenPool(5).imap(call, range(5))) == list(range(5))
    (thread,) = kept
    assert thread.wait() == 2


def test_each_call_has_the_context_of_its_input(hub_name):
    variable = contextvars.ContextVar("variable", default=None)

    def items():
        for number in range(4):
            variable.set(number)
            yield number

    def look(number):
        seen = variable.get()
        variable.set(-1)
        return seen == number

    assert list(GreenPool(3).imap(look, items())) == [True] * 4
    assert variable.get() is None


@pytest.mark.parametrize("unordered", UNORDERED)
def test_no_more_are_made_in_a_turn_than_are_woken(hub_name, unordered):
    turns = 0
    seen = []

    def turn():
        nonlocal turns
        turns += 1
        again()

    def again():
        loop.call_soon(turn)

    loop = hubs.get_hub().loop
    spawn(again)
    size = 5 * HANDOFFS
    results = mapped(
        GreenPool(size), lambda _: seen.append(turns), range(size), unordered
    )
    assert list(results) == [None] * size
    again = nothing
    assert max(map(seen.count, seen)) <= 2 * HANDOFFS


@pytest.mark.parametrize("unordered", UNORDERED)
def test_those_that_wait_begin_in_one_turn(hub_name, unordered):
    began, gate = [], event.Event()

    def wait(item):
        began.append(item)
        gate.wait()
        return item

    pool = GreenPool(50)
    results = mapped(pool, wait, range(50), unordered)
    for _ in range(3):
        sleep(0)
    assert began == list(range(50))
    assert (pool.running(), pool.free()) == (50, 0)
    gate.send()
    assert sorted(results) == list(range(50))
    assert (pool.running(), pool.free()) == (0, 50)


class TestBeforeTheyBegin:
    """Looked at by the input, so that no call has begun when the second item is read."""

    def look_in_between(self, act, unordered, function=str):
        pool = GreenPool(3)

        def items():
            yield 0
            act(pool)
            yield 1

        results = mapped(pool, function, items(), unordered)
        outcomes = []
        while True:
            try:
                outcomes.append(next(results))
            except StopIteration:
                break
            except GreenletExit as exc:
                outcomes.append(exc)
        pool.waitall()
        assert (pool.free(), pool.running(), pool.waiting()) == (3, 0, 0)
        return outcomes

    @pytest.mark.parametrize("unordered", UNORDERED)
    def test_they_count_as_running(self, hub_name, unordered):
        seen = []

        def look(pool):
            seen.append((pool.running(), pool.free()))
            assert not pool.no_coros_running.ready()

        assert self.look_in_between(look, unordered) == ["0", "1"]
        assert seen == [(1, 2)]

    @pytest.mark.parametrize("unordered", UNORDERED)
    def test_who_asks_gets_the_green_thread_that_makes_the_call(
        self, hub_name, unordered
    ):
        threads, makers = [], []

        def look(pool):
            threads.extend(pool.coroutines_running)
            assert pool.running() == 1

        def call(item):
            makers.append(getcurrent())
            return item

        assert self.look_in_between(look, unordered, call) == [0, 1]
        (thread,) = threads
        assert thread is makers[0]
        assert thread is not makers[1]
        assert thread.wait() == 0

    @pytest.mark.parametrize("unordered", UNORDERED)
    def test_killed(self, hub_name, unordered):
        def end(pool):
            for thread in pool.coroutines_running.copy():
                thread.kill()

        first, second = self.look_in_between(end, unordered)
        assert isinstance(first, GreenletExit)
        assert second == "1"

    @pytest.mark.parametrize("unordered", UNORDERED)
    def test_waitall_waits_for_them(self, hub_name, unordered):
        ended = []

        def wait(pool):
            pool.waitall()
            ended.append(list(makes))

        makes = []
        assert self.look_in_between(wait, unordered, makes.append) == [None, None]
        assert ended == [[0]]


@pytest.mark.parametrize("unordered", UNORDERED)
def test_killed_in_a_call(hub_name, unordered):
    pool, gate = GreenPool(3), event.Event()
    results = mapped(pool, lambda item: gate.wait() or item, range(3), unordered)
    sleep(0)
    sleep(0)
    threads = pool.coroutines_running.copy()
    assert len(threads) == 3
    for thread in threads:
        thread.kill()
    for _ in threads:
        with pytest.raises(GreenletExit):
            next(results)
    assert list(results) == []
    assert pool.free() == 3


@pytest.mark.parametrize("unordered", UNORDERED)
def test_a_failure_is_raised_and_others_go_on(hub_name, unordered):
    def fail(item):
        if item % 2:
            raise KeyError(item)
        return item

    results = mapped(GreenPool(10), fail, range(6), unordered)
    outcomes = []
    while len(outcomes) < 6:
        try:
            outcomes.append(next(results))
        except KeyError as exc:
            outcomes.append(exc.args)
    assert outcomes == [0, (1,), 2, (3,), 4, (5,)]


def test_failures_that_nobody_asks_for_are_reported(hub_name):
    def fail(item):
        raise KeyError(item)

    reports = []
    hubs.get_hub().loop.set_exception_handler(
        lambda _, context: reports.append(context["exception"].args)
    )
    results = GreenPool(3).imap(fail, range(3))
    for _ in range(3):
        sleep(0)
    assert reports == []
    del results
    sleep(0)
    gc.collect()
    assert sorted(reports) == [(0,), (1,), (2,)]


@pytest.mark.parametrize("unordered", UNORDERED)
def test_in_debug_mode_each_has_its_own(hub_name, unordered):
    loop = hubs.get_hub().loop
    loop.set_debug(True)
    try:
        assert bodies([nothing] * 3, unordered) == [0, 1, 2]
    finally:
        loop.set_debug(False)


@pytest.mark.parametrize("unordered", UNORDERED)
def test_where_the_loop_is_hidden_each_has_its_own(hub_name, unordered):
    hidden = greenio.loop_hidden()(bodies)
    assert spawn(hidden, [nothing] * 3, unordered).wait() == [0, 1, 2]


@pytest.mark.parametrize("unordered", UNORDERED)
def test_an_imap_in_a_call_of_an_imap(hub_name, unordered):
    pool = GreenPool(2)

    def total(item):
        return sum(mapped(pool, abs, range(item), unordered))

    assert sorted(mapped(pool, total, range(6), unordered)) == [0, 0, 1, 3, 6, 10]
    assert pool.free() == 2


def test_coroutines_take_their_results(run_async):
    async def call(item):
        if item % 3 == 0:
            await asyncio.sleep(0)
        return item

    async def main():
        pool = GreenPool(4)
        assert [item async for item in pool.imap(call, range(20))] == list(range(20))
        unordered = [item async for item in pool.imap_unordered(call, range(20))]
        assert sorted(unordered) == list(range(20))
        assert pool.free() == 4

    run_async(main)


@pytest.mark.parametrize("unordered", UNORDERED)
def test_calls_end_with_their_hub(unordered):
    ended = []

    def call(item):
        try:
            sleep(1000)
        finally:
            ended.append(item)

    def main():
        main.results = mapped(GreenPool(5), call, range(5), unordered)
        sleep(0)
        sleep(0)

    greenio.run(main)
    assert sorted(ended) == list(range(5))


# -- who is interrupted ---------------------------------------------------------------------


def test_a_cancelled_coroutine_loses_no_result(run_async):
    async def main():
        gate = event.Event()

        def work(item):
            gate.wait()
            return item

        results = GreenPool(3).imap_async(work, range(3))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(results.__anext__(), 0.001)
        gate.send()
        return [item async for item in results]

    assert run_async(main) == [0, 1, 2]


def test_a_time_limit_on_calls_that_the_consumer_makes_itself(hub_name):
    """In a pool whose only green thread maps over the same pool."""
    pool = GreenPool(1)

    def outer():
        with greenio.Timeout(0.001, False):
            list(pool.imap(sleep, [60]))
            return "the end"
        return "given up"

    assert pool.spawn(outer).wait() == "given up"
    pool.waitall()
    assert (pool.free(), pool.running()) == (1, 0)


def test_one_that_is_closed_while_it_waits_for_room(hub_name):
    pool, gate, called = GreenPool(1), event.Event(), []
    busy = pool.spawn(gate.wait)
    results = pool.imap(called.append, range(3))
    sleep(0)
    assert pool.waiting() == 1
    results.close()
    sleep(0)
    assert pool.waiting() == 0
    gate.send()
    busy.wait()
    pool.waitall()
    assert called == []
    assert (pool.free(), pool.running()) == (1, 0)


def test_one_whose_loop_has_ended_may_be_closed(loop_factory):
    loop = loop_factory()

    async def main():
        results = GreenPool(1).imap(sleep, [60, 60])
        await asyncio.sleep(0)
        return results

    results = loop.run_until_complete(main())
    end_loop(loop)
    results.close()
