"""`greenio.pools`: lending items."""

from __future__ import annotations

import asyncio
import threading

import pytest

import greenio
from greenio import event, sleep, spawn
from greenio.pools import Pool, Token, TokenPool


class Numbers(Pool):
    """A pool whose items are numbered, and whose creation waits."""

    def __init__(self, **kwargs):
        self.created = 0
        super().__init__(**kwargs)

    def create(self):
        self.created += 1
        number = self.created
        sleep(0)
        return number


def test_items_are_created_as_needed_and_reused(hub_name):
    pool = Numbers(max_size=2)
    first, second = pool.get(), pool.get()
    assert {first, second} == {1, 2}
    assert (pool.current_size, pool.free()) == (2, 0)
    pool.put(first)
    assert pool.free() == 1
    assert pool.get() == first
    pool.put(first)
    pool.put(second)
    assert pool.created == 2


def test_min_size_is_created_at_once(hub_name):
    pool = Numbers(min_size=2, max_size=3)
    assert (pool.created, len(pool.free_items)) == (2, 2)


def test_never_more_than_max_size(hub_name):
    pool = Numbers(max_size=2)
    inside = most = 0

    def use():
        nonlocal inside, most
        with pool.item():
            inside += 1
            most = max(most, inside)
            sleep(0)
            inside -= 1

    for thread in [spawn(use) for _ in range(20)]:
        thread.wait()
    assert (most, pool.created, pool.free(), pool.waiting()) == (2, 2, 2, 0)


def test_put_hands_over_in_order(hub_name):
    pool, got = Numbers(max_size=1), []
    item = pool.get()

    def take(n):
        got.append((n, pool.get()))
        pool.put(got[-1][1])

    threads = [spawn(take, n) for n in range(3)]
    sleep(0)
    assert pool.waiting() == 3
    pool.put(item)
    for thread in threads:
        thread.wait()
    assert got == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("as_stack", [False, True])
def test_order(hub_name, as_stack):
    pool = Numbers(max_size=2, order_as_stack=as_stack)
    first, second = pool.get(), pool.get()
    pool.put(first)
    pool.put(second)
    assert pool.get() == (second if as_stack else first)


def test_failing_create_loses_no_room(hub_name):
    outcomes = [OSError("refused"), "item"]

    def create():
        sleep(0)
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    pool = Pool(create=create, max_size=1)
    first, second = spawn(pool.get), spawn(pool.get)
    with pytest.raises(OSError, match="refused"):
        first.wait()
    assert second.wait() == "item"
    assert pool.current_size == 1


def test_without_create_says_what_to_do(hub_name):
    with pytest.raises(NotImplementedError, match="create="):
        Pool().get()


def test_resize(hub_name):
    pool = Numbers(max_size=1)
    item = pool.get()
    waiting = spawn(pool.get)
    sleep(0)
    pool.resize(2)
    assert waiting.wait() == 2
    pool.resize(1)
    pool.put(item)
    assert pool.current_size == 1
    pool.put(2)
    assert (pool.current_size, pool.free()) == (1, 1)


def test_killed_with_an_item_just_handed_over(hub_name):
    pool = Numbers(max_size=1)
    item = pool.get()
    killed, other = spawn(pool.get), spawn(pool.get)
    sleep(0)
    pool.put(item)
    killed.kill()
    assert other.wait() == item
    pool.put(item)
    assert (pool.free(), pool.waiting()) == (1, 0)


def test_timeout_leaves_the_queue(hub_name):
    pool = Numbers(max_size=1)
    item = pool.get()
    with pytest.raises(greenio.Timeout), greenio.Timeout(0.001):
        pool.get()
    assert pool.waiting() == 0
    pool.put(item)
    assert pool.free() == 1


def test_item_is_put_back_after_a_failure(hub_name):
    pool = Numbers(max_size=1)
    with pytest.raises(KeyError), pool.item():
        raise KeyError
    assert pool.free() == 1


def test_token_pool(hub_name):
    pool = TokenPool(max_size=1)
    with pool.item() as token:
        assert isinstance(token, Token)
        assert pool.free() == 0


def test_coroutines(run_async):
    async def main():
        pool = Numbers(max_size=2)
        inside = most = 0

        async def use():
            nonlocal inside, most
            async with pool.item_async():
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(use() for _ in range(10)))
        assert (most, pool.created, pool.free()) == (2, 2, 2)
        item = await pool.get_async()
        other = await pool.get_async()
        waiting = asyncio.ensure_future(pool.get_async())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        pool.put(item)
        pool.put(other)
        assert (pool.free(), pool.waiting()) == (2, 0)

    run_async(main)


def test_shared_with_an_os_thread(hub_name):
    pool = Pool(create=object, max_size=1)
    item = pool.get()
    got, arrived = [], event.Event()

    def in_thread():
        got.append(pool.get())
        pool.put(got[0])
        arrived.send()

    thread = threading.Thread(target=in_thread)
    thread.start()
    while not pool.waiting():
        sleep(0.001)
    pool.put(item)
    arrived.wait()
    thread.join()
    assert got == [item]
    assert pool.free() == 1
