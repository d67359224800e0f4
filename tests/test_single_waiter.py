"""`queue.Waiter` and `queue.ItemWaiter`, for programs that use eventlet's."""

from __future__ import annotations

import pytest

import greenio
from _support import settle
from greenio import Timeout, spawn
from greenio.queue import ItemWaiter, Waiter

pytestmark = pytest.mark.usefixtures("hub_name")


def test_a_value_is_handed_over():
    waiter = Waiter()
    assert not waiter
    assert not waiter.waiting
    assert waiter.greenlet is None
    waiting = spawn(waiter.wait)
    settle()
    assert waiter
    assert waiter.waiting
    assert waiter.greenlet is waiting
    assert "waiting" in repr(waiter)
    waiter.switch(42)
    assert waiting.wait() == 42
    assert not waiter
    # It can be used again.
    again = spawn(waiter.wait)
    settle()
    waiter.switch()
    assert again.wait() is None


def test_an_exception_is_handed_over():
    waiter = Waiter()
    waiting = spawn(waiter.wait)
    settle()
    waiter.throw(ValueError, "no")
    with pytest.raises(ValueError, match="no"):
        waiting.wait()


def test_without_anybody_a_value_is_lost():
    waiter = Waiter()
    waiter.switch(1)
    waiter.throw(ValueError)
    waiting = spawn(waiter.wait)
    settle()
    assert not waiting.dead
    waiter.switch(2)
    assert waiting.wait() == 2


def test_one_at_a_time():
    waiter = Waiter()
    waiting = spawn(waiter.wait)
    settle()
    with pytest.raises(AssertionError, match="waits here already"):
        waiter.wait()
    waiting.kill()
    assert not waiter
    with pytest.raises(Timeout), Timeout(0.001):
        waiter.wait()
    assert not waiter


def test_by_a_timer_of_the_hub():
    waiter = Waiter()
    greenio.hubs.get_hub().schedule_call_global(0.001, waiter.switch, "timer")
    assert waiter.wait() == "timer"


def test_an_item():
    waiter = ItemWaiter("item", True)
    assert (waiter.item, waiter.block) == ("item", True)
    assert isinstance(waiter, Waiter)
