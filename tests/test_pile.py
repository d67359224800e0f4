"""Piles, and waiting for several green threads: what is refused, given up, or too late."""

from __future__ import annotations

import asyncio

import pytest

import greenio
from greenio import GreenPile, Timeout, greenthread
from greenio.event import Event
from greenio.greenpool import GreenMap

pytestmark = pytest.mark.usefixtures("hub_name")


def echo(value):
    greenio.sleep(0)
    return value


def fail():
    raise LookupError("on purpose")


# -- piles ------------------------------------------------------------------------------


def test_a_pile_shows_what_is_to_come():
    pile = GreenPile(3)
    pile.spawn(echo, 1)
    assert repr(pile) == f"<GreenPile counter=1 pool={pile.pool!r}>"
    statistics = pile.statistics()
    assert (statistics.counter, statistics.pool.running) == (1, 1)
    assert pile.next() == 1
    assert pile.statistics().counter == 0


def test_what_cannot_be_spawned_is_not_waited_for():
    pile = GreenPile(3)
    with pytest.raises(TypeError):
        pile.spawn(None)
    assert list(pile) == []


def test_what_cannot_be_spawned_by_a_coroutine_is_not_waited_for(run_async):
    async def main():
        pile = GreenPile(3)
        with pytest.raises(TypeError):
            await pile.spawn_async(None)
        await pile.spawn_async(echo, 1)
        return [result async for result in pile]

    assert run_async(main) == [1]


def test_a_result_that_was_waited_for_too_long_comes_the_next_time():
    pile = GreenPile(3)
    go_on = Event()
    pile.spawn(go_on.wait)
    with pytest.raises(Timeout), Timeout(0.001):
        next(pile)
    go_on.send("late")
    assert list(pile) == ["late"]


def test_a_result_that_was_awaited_for_too_long_comes_the_next_time(run_async):
    async def main():
        pile = GreenPile(3)
        go_on = Event()
        await pile.spawn_async(go_on.wait)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(pile), 0.001)
        go_on.send("late")
        return [result async for result in pile]

    assert run_async(main) == ["late"]


def test_a_map_goes_no_further_ahead_than_its_pool_is_large():
    results = GreenMap(2)
    spawned = []

    def feed():
        for number in range(5):
            results.spawn(echo, number)
            spawned.append(number)
        results.done_spawning()

    feeder = greenio.spawn(feed)
    while len(spawned) < 2:
        greenio.sleep(0)
    for _ in range(10):
        greenio.sleep(0)
    assert spawned == [0, 1]
    assert next(results) == 0
    while len(spawned) < 3:
        greenio.sleep(0)
    assert list(results) == [1, 2, 3, 4]
    feeder.wait()


def test_a_map_that_coroutines_feed(run_async):
    async def main():
        results = GreenMap(2)

        async def feed():
            for number in range(5):
                await results.spawn_async(echo, number)
            results.done_spawning()

        feeder = asyncio.ensure_future(feed())
        found = [result async for result in results]
        await feeder
        return found

    assert run_async(main) == [0, 1, 2, 3, 4]


# -- waiting for several ----------------------------------------------------------------


def test_iwait_that_is_interrupted_waits_for_nothing_more():
    event, thread = Event(), greenio.spawn(greenio.sleep, 1000)
    finishing = greenthread.iwait([event, thread])
    with pytest.raises(Timeout), Timeout(0.001):
        next(finishing)
    assert event.statistics().waiting == 0
    assert list(finishing) == []
    thread.kill()


def test_iwait_that_is_cancelled_waits_for_nothing_more(run_async):
    async def main():
        event, thread = Event(), greenio.spawn(greenio.sleep, 1000)
        finishing = greenthread.iwait_async([event, thread])
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(finishing), 0.001)
        left = [each async for each in finishing]
        thread.kill()
        return event.statistics().waiting, left

    assert run_async(main) == (0, [])


def test_coroutines_get_those_that_are_in_time(run_async):
    async def main():
        thread, quick = greenio.spawn(greenio.sleep, 1000), greenio.spawn(echo, 1)
        await quick
        waiting_for = [thread, quick]
        none = [each async for each in greenthread.iwait_async(waiting_for, timeout=0)]
        late = greenthread.iwait_async(waiting_for, timeout=0.001)
        found = [each async for each in late]
        thread.kill()
        return none == found == [quick]

    assert run_async(main)


def test_coroutines_that_want_the_first_failure(run_async):
    async def main():
        fine = [greenio.spawn(echo, number) for number in range(3)]
        joined = await greenthread.joinall_async(fine, raise_error=True)
        slow = greenio.spawn(greenio.sleep, 1000)
        with pytest.raises(LookupError, match="on purpose"):
            await greenthread.joinall_async(
                [slow, greenio.spawn(fail)], raise_error=True
            )
        event = Event()
        event.send_exception(ValueError("sent"))
        with pytest.raises(ValueError, match="sent"):
            await greenthread.joinall_async([slow, event], raise_error=True)
        slow.kill()
        return joined == fine

    assert run_async(main)


@pytest.mark.parametrize(
    ("count", "error"), [(True, TypeError), ("1", TypeError), (-1, ValueError)]
)
def test_how_many_is_a_number(count, error):
    thread = greenio.spawn(echo, 1)
    with pytest.raises(error, match="takes a"):
        greenthread.joinall([thread], count=count)
    thread.wait()
