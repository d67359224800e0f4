"""What is written out for speed does what its original does, on the same inputs."""

from __future__ import annotations

import itertools
from queue import Empty, Full

import pytest
from greenlet import getcurrent

import greenio
from greenio import hubs
from greenio.queue import LifoQueue, LightQueue, PriorityQueue, Queue


def _outcome(operation, *args):
    try:
        return operation(*args)
    except (Empty, Full) as exc:
        return type(exc)


@pytest.mark.parametrize("cls", [LightQueue, Queue, LifoQueue, PriorityQueue])
@pytest.mark.parametrize("maxsize", [None, 0, 1, 2])
def test_put_and_get_of_a_queue(hub_name, cls, maxsize):
    # `put_nowait` and `get_nowait` go by `_offer` and `_take` themselves.
    for operations in itertools.product(("put", "get"), repeat=6):
        copy, original = cls(maxsize), cls(maxsize)
        for number, operation in enumerate(operations):
            if operation == "put":
                seen = _outcome(copy.put, number, False)
                expected = _outcome(original.put_nowait, number)
            else:
                seen = _outcome(copy.get, False)
                expected = _outcome(original.get_nowait)
            assert seen == expected
            assert copy.statistics() == original.statistics()
            assert list(copy.queue) == list(original.queue)


def _yield_as_the_hub_does():
    hub = hubs.get_hub()
    hub.wake(getcurrent())
    hub.park()


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_yielding_among_others(hub_name, threads):
    def order(let_others_run):
        seen = []

        def run(name):
            for turn in range(5):
                seen.append((name, turn))
                let_others_run()

        greenio.joinall([greenio.spawn(run, name) for name in range(threads)])
        return seen

    assert order(lambda: greenio.sleep(0)) == order(_yield_as_the_hub_does)
