"""Loops that are closed while green threads live on them."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

import greenio
from _support import factory_of
from greenio import event


def close_with(loop_name, body):
    """Run a loop with a green thread in `body`, close it; return references to both."""
    loop = factory_of(loop_name)()

    async def main():
        greenio.spawn(body)
        await asyncio.sleep(0)
        return weakref.ref(greenio.hubs.get_hub())

    hub = loop.run_until_complete(main())
    loop.close()
    return hub, loop


def test_green_threads_of_a_closed_loop_are_ended(hub_name):
    ended = []

    def body():
        try:
            greenio.sleep(100)
        finally:
            ended.append(True)

    hubs = []
    for _ in range(20):
        hub, loop = close_with(hub_name, body)
        hubs.append(hub)
    del loop, hub
    greenio.hubs.get_hub()
    assert len(ended) == 20
    gc.collect()
    assert [hub for hub in hubs if hub() is not None] == []


@pytest.mark.parametrize(
    "wait", [lambda: greenio.sleep(1), lambda: event.Event().wait()]
)
def test_what_their_cleanup_waits_for_is_cut_short(hub_name, wait):
    steps = []

    def body():
        try:
            event.Event().wait()
        finally:
            try:
                wait()
            except BaseException as exc:
                steps.append(type(exc).__name__)
            steps.append("ended")

    close_with(hub_name, body)
    greenio.hubs.get_hub()
    assert len(steps) == 2
    assert steps[-1] == "ended"
