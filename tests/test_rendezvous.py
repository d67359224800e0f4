"""Queues of size 0: who goes on first, and nothing lost when both ends die at once."""

from __future__ import annotations

import asyncio
import itertools

import pytest

import greenio
from _support import settle
from greenio.queue import LightQueue, Queue


@pytest.fixture(params=[LightQueue, Queue])
def channel(hub_name, request):
    return request.param(0)


@pytest.mark.parametrize("first", ["receiver", "sender"])
def test_the_receiver_goes_on_before_the_sender(channel, first):
    log = []

    def receive():
        for _ in range(3):
            log.append(("got", channel.get()))

    def send():
        for item in range(3):
            channel.put(item)
            log.append(("put", item))

    order = [receive, send] if first == "receiver" else [send, receive]
    greenio.joinall([greenio.spawn(function) for function in order], raise_error=True)
    assert log == [
        (what, item) for item, what in itertools.product(range(3), ("got", "put"))
    ]


def test_coroutines_go_on_in_the_same_order(run_async):
    async def main():
        channel = LightQueue(0)
        log = []

        async def receive():
            for _ in range(3):
                log.append(("got", await channel.get_async()))

        receiver = asyncio.create_task(receive())
        await asyncio.sleep(0)
        for item in range(3):
            await channel.put_async(item)
            log.append(("put", item))
        await receiver
        assert log == [
            (what, item) for item, what in itertools.product(range(3), ("got", "put"))
        ]

    run_async(main)


def test_who_need_not_wait_goes_on_at_once(channel):
    getter = greenio.spawn(channel.get)
    settle()
    channel.put_nowait("item")
    assert not getter.dead
    assert getter.wait() == "item"


@pytest.mark.parametrize("seed", range(16))
def test_nothing_is_lost_when_both_ends_die_in_one_turn(channel, seed):
    """Each of two putters and two getters is killed or not, right after the hand-over."""
    got, put = [], []

    def receive():
        got.append(channel.get())

    def send(item):
        channel.put(item)
        put.append(item)

    threads = [
        greenio.spawn(function, *args)
        for function, *args in ((send, "a"), (receive,), (receive,), (send, "b"))
    ]
    greenio.sleep(0)
    for bit, thread in enumerate(threads):
        if seed >> bit & 1:
            thread.kill()
    settle()
    left = []
    while channel.qsize() or channel.putting():
        left.append(channel.get())
    for thread in threads:
        thread.kill()
    settle()
    # What was put is somewhere, once; what is somewhere is there once.
    everything = got + left
    assert sorted(everything) == sorted(set(everything))
    assert set(put) <= set(everything)
