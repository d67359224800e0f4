"""`joinall`, `wait` and `iwait`: several green threads at once."""

from __future__ import annotations

import asyncio

import pytest

import greenio
from greenio import event, greenthread, sleep, spawn


def ends_after(turns, result=None):
    for _ in range(turns):
        sleep(0)
    return result


def test_iwait_yields_as_they_end(hub_name):
    threads = [spawn(ends_after, turns) for turns in (6, 2, 4)]
    assert [threads.index(t) for t in greenio.iwait(threads)] == [1, 2, 0]


def test_ended_ones_count(hub_name):
    thread = spawn(ends_after, 0)
    thread.wait()
    assert list(greenio.iwait([thread])) == [thread]
    assert greenio.joinall([thread, thread]) == [thread]


def test_nothing_to_wait_for(hub_name):
    assert list(greenio.iwait([])) == []
    assert greenio.wait([]) == []


def test_count(hub_name):
    threads = [spawn(ends_after, turns) for turns in (9, 2, 4)]
    assert greenio.wait(threads, count=2) == [threads[1], threads[2]]
    assert greenio.joinall(threads, count=99)[-1] is threads[0]


def test_timeout(hub_name):
    gate = event.Event()
    threads = [spawn(gate.wait), spawn(ends_after, 1)]
    assert greenio.joinall(threads, timeout=0.01) == [threads[1]]
    assert greenio.joinall(threads, timeout=0) == [threads[1]]
    assert threads[0]._links in (None, [])
    gate.send()
    threads[0].wait()


def test_kill_takes_the_links_back(hub_name):
    gate = event.Event()
    thread = spawn(gate.wait)
    joiner = spawn(greenio.joinall, [thread])
    sleep(0)
    assert len(thread._watchers) == 1
    joiner.kill()
    assert not thread._watchers
    gate.send()
    thread.wait()


def test_failures_are_left_alone_unless_asked_for(hub_name):
    def fail():
        raise KeyError("inside")

    thread = spawn(fail)
    assert greenio.joinall([thread]) == [thread]
    with pytest.raises(KeyError, match="inside"):
        greenio.joinall([thread, spawn(ends_after, 1)], raise_error=True)
    with pytest.raises(KeyError, match="inside"):
        thread.wait()


def test_only_green_threads(hub_name):
    with pytest.raises(TypeError, match="green threads"):
        greenio.joinall([42])
    with pytest.raises(ValueError, match="timeout in seconds"):
        greenio.joinall([], timeout=float("nan"))


def test_coroutines(run_async):
    async def main():
        threads = [spawn(ends_after, turns) for turns in (6, 2, 4)]
        order = [threads.index(t) async for t in greenthread.iwait_async(threads)]
        assert order == [1, 2, 0]
        assert len(await greenthread.joinall_async(threads)) == 3
        assert len(await greenthread.wait_async(threads, count=1)) == 1
        gate = event.Event()
        stuck = spawn(gate.wait)
        assert await greenthread.wait_async([stuck], timeout=0.01) == []
        waiting = asyncio.ensure_future(greenthread.joinall_async([stuck]))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not stuck.dead
        gate.send()
        await stuck

    run_async(main)
