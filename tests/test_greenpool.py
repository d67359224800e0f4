"""`greenio.greenpool`: at most so many at once, and results in order."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

import greenio
from _support import settle
from greenio import GreenPile, GreenPool, event, sleep, spawn


def double(x):
    sleep(0)
    return x * 2


class Meter:
    """Counts how many are inside at a time."""

    def __init__(self):
        self.inside = 0
        self.most = 0

    def __call__(self, x=None):
        self.inside += 1
        self.most = max(self.most, self.inside)
        sleep(0)
        sleep(0)
        self.inside -= 1
        return x


# -- spawn ------------------------------------------------------------------------------


def test_spawn_returns_a_green_thread(hub_name):
    pool = GreenPool(2)
    assert pool.spawn(double, 4).wait() == 8
    assert (pool.running(), pool.free(), pool.waiting()) == (0, 2, 0)


def test_no_more_than_its_size_at_once(hub_name):
    pool, meter = GreenPool(3), Meter()
    threads = [pool.spawn(meter, n) for n in range(20)]
    assert [thread.wait() for thread in threads] == list(range(20))
    assert meter.most == 3


def test_numbers_while_running(hub_name):
    pool, gate = GreenPool(2), event.Event()
    pool.spawn_n(gate.wait)
    pool.spawn_n(gate.wait)
    waiting = spawn(pool.spawn_n, gate.wait)
    sleep(0)
    assert (pool.running(), pool.free(), pool.waiting()) == (2, 0, 1)
    assert len(pool.coroutines_running) == 2
    gate.send()
    waiting.wait()
    pool.waitall()
    assert (pool.running(), pool.free(), pool.waiting()) == (0, 2, 0)


def test_waiting_spawners_are_served_in_order(hub_name):
    pool, order = GreenPool(1), []
    gate = event.Event()
    pool.spawn_n(gate.wait)
    for n in range(5):
        spawn(pool.spawn_n, order.append, n)
        sleep(0)
    gate.send()
    while len(order) < 5:
        sleep(0)
    assert order == list(range(5))


def test_full_pool_runs_its_own_spawns_in_place(hub_name):
    pool = GreenPool(1)

    def outer():
        inner = pool.spawn(double, 5)
        pool.spawn_n(double, 6)
        assert inner.dead
        return inner.wait()

    assert pool.spawn(outer).wait() == 10
    assert pool.free() == 1


def test_killed_while_waiting_for_a_slot(hub_name):
    pool, gate = GreenPool(1), event.Event()
    pool.spawn_n(gate.wait)
    ran = []
    waiting = spawn(pool.spawn_n, ran.append, 1)
    sleep(0)
    waiting.kill()
    assert pool.waiting() == 0
    gate.send()
    pool.waitall()
    assert (pool.free(), ran) == (1, [])


def test_killed_with_a_slot_just_handed_over(hub_name):
    pool, gate = GreenPool(1), event.Event()
    pool.spawn_n(gate.wait)
    first = spawn(pool.spawn_n, sleep, 0)
    sleep(0)
    ran = []
    second = spawn(pool.spawn_n, ran.append, "second")
    sleep(0)
    gate.send()
    # The first is about to be given the slot; it never uses it.
    spawn(first.kill)
    second.wait()
    pool.waitall()
    assert (pool.free(), pool.waiting()) == (1, 0)
    assert ran == ["second"]


def test_killing_an_unstarted_thread_gives_the_slot_back(hub_name):
    pool = GreenPool(1)
    thread = pool.spawn(double, 1)
    thread.kill()
    assert pool.free() == 1
    assert pool.spawn(double, 2).wait() == 4


def test_resize(hub_name):
    pool, gate, meter = GreenPool(1), event.Event(), Meter()
    pool.spawn_n(gate.wait)
    waiting = [spawn(pool.spawn_n, gate.wait) for _ in range(2)]
    sleep(0)
    assert pool.waiting() == 2
    pool.resize(3)
    for thread in waiting:
        thread.wait()
    assert (pool.running(), pool.free()) == (3, 0)
    pool.resize(1)
    assert pool.free() == -2
    gate.send()
    pool.waitall()
    assert pool.free() == 1
    list(pool.imap(meter, range(5)))
    assert meter.most == 1


@pytest.mark.parametrize("size", [-1, -100])
def test_negative_sizes_are_refused(size):
    with pytest.raises(ValueError, match="0 or more"):
        GreenPool(size)


@pytest.mark.parametrize(("size", "whole"), [("4", 4), (" 10\n", 10), (2.5, 2)])
def test_what_int_takes_is_a_size(size, whole):
    """As with eventlet: a setting from the environment is a text."""
    assert (GreenPool(size).size, GreenPool(size).free()) == (whole, whole)
    assert GreenPile(size).pool.size == whole


@pytest.mark.parametrize("size", ["four", "2.5", "", float("nan"), None, True])
def test_other_sizes_are_refused(size):
    with pytest.raises(TypeError, match="whole number"):
        GreenPool(size)


def test_only_functions_can_be_spawned(hub_name):
    pool = GreenPool(1)
    with pytest.raises(TypeError, match="takes a function"):
        pool.spawn(42)
    assert pool.free() == 1


def test_waitall_inside_the_pool_is_refused(hub_name):
    pool = GreenPool(2)
    with pytest.raises(RuntimeError, match="from outside"):
        pool.spawn(pool.waitall).wait()


def test_waitall_of_an_idle_pool_returns(hub_name):
    GreenPool(2).waitall()


def test_waitall_by_several(hub_name):
    pool, gate = GreenPool(2), event.Event()
    pool.spawn_n(gate.wait)
    waiters = [spawn(pool.waitall) for _ in range(3)]
    sleep(0)
    gate.send()
    for waiter in waiters:
        waiter.wait()


def test_nothing_running_can_be_waited_for_with_a_limit(hub_name):
    pool, gate = GreenPool(2), event.Event()
    idle = pool.no_coros_running
    assert idle.ready()
    assert idle.wait(timeout=0) is True
    pool.spawn(gate.wait)
    assert not idle.ready()
    assert idle.wait(timeout=0) is False
    assert idle.wait(timeout=0.001) is False
    spawn(gate.send)
    assert idle.wait(timeout=60) is True
    assert idle.ready()
    inside = pool.spawn(idle.wait)
    with pytest.raises(RuntimeError, match=r"no_coros_running\.wait\(\) was called by"):
        inside.wait()


def test_coroutines_wait_for_nothing_running_with_a_limit(run_async):
    async def main():
        pool, gate = GreenPool(2), event.Event()
        idle = pool.no_coros_running
        assert await idle.wait_async(0) is True
        pool.spawn(gate.wait)
        assert await idle.wait_async(0) is False
        assert await idle.wait_async(0.001) is False
        waiting = asyncio.ensure_future(idle.wait_async(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.send()
        assert await waiting is True
        assert await idle.wait_async() is True

    run_async(main)


def test_failures_are_reported_once(hub_name):
    seen = []
    loop = greenio.hubs.get_hub().loop
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))

    def fail():
        raise KeyError("nobody waits")

    GreenPool(1).spawn_n(fail)
    for _ in range(3):
        sleep(0)
    assert [type(error) for error in seen] == [KeyError]


# -- imap -------------------------------------------------------------------------------


def test_imap_keeps_order(hub_name):
    def pause(x):
        for _ in range(10 - x % 10):
            sleep(0)
        return x

    assert list(GreenPool(4).imap(pause, range(30))) == list(range(30))


def test_imap_of_several_iterables(hub_name):
    assert list(GreenPool(4).imap(pow, [2, 3], [3, 2, 99])) == [8, 9]


def test_starmap(hub_name):
    assert list(GreenPool(4).starmap(pow, [(2, 3), (3, 2)])) == [8, 9]


def test_imap_of_nothing(hub_name):
    assert list(GreenPool(4).imap(double, [])) == []


def test_imap_is_bounded(hub_name):
    meter = Meter()
    assert list(GreenPool(3).imap(meter, range(20))) == list(range(20))
    assert meter.most == 3


def test_imap_looks_ahead_no_further_than_the_size(hub_name):
    taken = []

    def numbers():
        for n in range(100):
            taken.append(n)
            yield n

    results = GreenPool(3).imap(double, numbers())
    assert next(results) == 0
    settle()
    assert len(taken) <= 4
    assert next(results) == 2


def test_imap_raises_at_the_place_and_goes_on(hub_name):
    def fail_on_two(x):
        sleep(0)
        if x == 2:
            raise KeyError(x)
        return x

    results = GreenPool(2).imap(fail_on_two, range(5))
    got = []
    while True:
        try:
            got.append(next(results))
        except KeyError as error:
            got.append(error.args[0] * 100)
        except StopIteration:
            break
    assert got == [0, 1, 200, 3, 4]


def test_imap_raises_what_the_input_raises(hub_name):
    def broken():
        yield 1
        raise OSError("no more input")

    results = GreenPool(2).imap(double, broken())
    assert next(results) == 2
    with pytest.raises(OSError, match="no more input"):
        next(results)
    assert list(results) == []


def test_timeout_while_waiting_loses_no_result(hub_name):
    gate = event.Event()

    def wait(x):
        gate.wait()
        return x

    pool = GreenPool(2)
    results = pool.imap(wait, range(3))
    for _ in range(3):
        with pytest.raises(greenio.Timeout), greenio.Timeout(0.001):
            next(results)
    gate.send()
    assert list(results) == [0, 1, 2]
    assert pool.free() == 2


def test_what_imap_returns_says_what_it_is(hub_name):
    results = GreenPool(3).imap(double, range(5))
    assert repr(results).startswith("<OrderedResults of <function double at ")
    assert repr(results).endswith(", 0 outstanding, pool of 3>")
    assert next(results) == 0
    assert ", 0 outstanding" not in repr(results)
    assert list(results) == [2, 4, 6, 8]


def test_imap_from_inside_the_full_pool(hub_name):
    pool = GreenPool(1)
    assert pool.spawn(lambda: list(pool.imap(double, range(3)))).wait() == [0, 2, 4]


def test_imap_unordered_yields_as_they_come(hub_name):
    gates = [event.Event() for _ in range(3)]

    def wait(n):
        gates[n].wait()
        return n

    results = GreenPool(3).imap_unordered(wait, range(3))
    gates[1].send()
    assert next(results) == 1
    gates[2].send()
    assert next(results) == 2
    gates[0].send()
    assert list(results) == [0]


# -- coroutines ---------------------------------------------------------------------------


def test_coroutines(run_async):
    async def main():
        pool, meter = GreenPool(3), Meter()
        assert [x async for x in pool.imap_async(meter, range(9))] == list(range(9))
        assert meter.most == 3
        threads = [await pool.spawn_async(meter, n) for n in range(7)]
        assert await asyncio.gather(*threads) == list(range(7))
        await pool.waitall_async()
        assert meter.most == 3
        assert pool.free() == 3
        assert [x async for x in pool.starmap_async(pow, [(2, 3)])] == [8]

    run_async(main)


def test_cancelled_coroutine_gives_its_slot_back(run_async):
    async def main():
        pool, gate = GreenPool(1), event.Event()
        await pool.spawn_async(gate.wait)
        waiting = asyncio.ensure_future(pool.spawn_async(double, 1))
        await asyncio.sleep(0)
        assert pool.waiting() == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.waiting() == 0
        gate.send()
        await pool.waitall_async()
        assert pool.free() == 1

    run_async(main)


def test_full_pool_in_the_loop_greenlet_is_refused(run_async):
    async def main():
        pool, gate = GreenPool(1), event.Event()
        pool.spawn(gate.wait)
        with pytest.raises(greenio.BlockingInLoopError, match="run_green"):
            pool.spawn(double, 1)
        gate.send()
        await pool.waitall_async()

    run_async(main)


# -- piles --------------------------------------------------------------------------------


def test_pile_yields_in_order_of_spawning(hub_name):
    pile = GreenPile(3)
    for n in range(10):
        pile.spawn(double, n)
    assert list(pile) == [n * 2 for n in range(10)]
    assert list(pile) == []


def test_pile_of_nothing_ends_at_once(hub_name):
    assert list(GreenPile()) == []


def test_pile_on_a_pool(hub_name):
    pool = GreenPool(2)
    piles = [GreenPile(pool) for _ in range(2)]
    for n in range(6):
        piles[n % 2].spawn(double, n)
    assert [list(pile) for pile in piles] == [[0, 4, 8], [2, 6, 10]]
    assert all(pile.pool is pool for pile in piles)


def test_pile_raises_at_the_place_and_goes_on(hub_name):
    def fail():
        raise KeyError("here")

    pile = GreenPile()
    pile.spawn(double, 1)
    pile.spawn(fail)
    pile.spawn(double, 3)
    assert next(pile) == 2
    with pytest.raises(KeyError, match="here"):
        next(pile)
    assert next(pile) == 6
    with pytest.raises(StopIteration):
        next(pile)


def test_pile_drops_what_was_consumed(hub_name):
    class Result:
        pass

    def make():
        return Result()

    pile = GreenPile(2)
    references = []
    for _ in range(20):
        pile.spawn(make)
    for result in pile:
        references.append(weakref.ref(result))
        del result
        gc.collect()
        assert sum(ref() is not None for ref in references) == 0


def test_pile_filled_while_it_is_iterated(hub_name):
    pile, got = GreenPile(1), []

    def fill():
        for n in range(5):
            pile.spawn(double, n)

    filler = spawn(fill)
    sleep(0)
    for result in pile:
        got.append(result)
    filler.wait()
    assert got == [0, 2, 4, 6, 8]


def test_timeout_on_a_pile_loses_no_result(hub_name):
    gate = event.Event()
    pile = GreenPile()
    pile.spawn(gate.wait)
    pile.spawn(double, 1)
    with pytest.raises(greenio.Timeout), greenio.Timeout(0.001):
        next(pile)
    gate.send("first")
    assert list(pile) == ["first", 2]


def test_pile_for_coroutines(run_async):
    async def main():
        pile = GreenPile(2)
        for n in range(5):
            await pile.spawn_async(double, n)
        assert [result async for result in pile] == [0, 2, 4, 6, 8]

    run_async(main)
