"""`sleep(0)` that an exception ends, and what `sleep` takes."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

import greenio
from greenio import hubs


def yields():
    while True:
        greenio.sleep(0)


def is_timed_out():
    with greenio.Timeout(0.0001), pytest.raises(greenio.Timeout):
        yields()


def is_thrown_into():
    thread = greenio.getcurrent()
    greenio.spawn(thread.throw, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        yields()


def turns_that_are_left(interrupted, others):
    threads = [greenio.spawn(yields) for _ in range(others)]
    greenio.sleep(0)
    for _ in range(20):
        interrupted()
    ready = hubs.get_hub().statistics().ready
    for thread in threads:
        thread.kill()
    return ready


@pytest.mark.parametrize("others", [0, 1, 3])
@pytest.mark.parametrize("interrupted", [is_timed_out, is_thrown_into])
def test_it_leaves_no_turn_to_the_next_one(hub_name, interrupted, others):
    in_thread = greenio.spawn(turns_that_are_left, interrupted, others)
    assert in_thread.wait() <= others
    if interrupted is is_timed_out:
        assert turns_that_are_left(interrupted, others) <= others


@pytest.mark.parametrize("kind", [Decimal, Fraction])
def test_it_takes_every_kind_of_number(hub_name, kind):
    ended = []
    thread = greenio.spawn(lambda: ended.append(greenio.sleep(kind("0.001"))))
    greenio.sleep(kind("0.002"))
    thread.wait()
    assert ended == [None]
    with pytest.raises(greenio.Timeout), greenio.Timeout(kind("0.001")):
        greenio.sleep(100)
