"""`greenio.Timeout` and its helpers."""

from __future__ import annotations

import pytest

import greenio
from greenio import Timeout, event, sleep, spawn, timeout
from greenio._greenthread.timeout import _expire


class Custom(Exception):
    """Somebody's own."""


def test_it_raises_itself(virtual_loop):
    started = virtual_loop.time()
    with pytest.raises(Timeout) as caught, Timeout(5) as limit:
        sleep(100)
    assert caught.value is limit
    assert virtual_loop.time() == started + 5
    assert not limit.pending


def test_in_time_nothing_happens(virtual_loop):
    with Timeout(5) as limit:
        sleep(1)
        assert limit.pending
    assert not limit.pending
    sleep(10)


def test_none_never_fires(virtual_loop):
    with Timeout(None) as limit:
        assert not limit.pending
        sleep(10_000)


def test_infinity_never_fires(virtual_loop):
    with Timeout(float("inf")):
        sleep(10_000)


def test_false_is_silent(virtual_loop):
    steps = []
    with Timeout(5, False):
        sleep(100)
        steps.append("not reached")
    assert steps == []


def test_false_is_silent_only_for_itself(virtual_loop):
    with pytest.raises(Timeout) as caught, Timeout(5) as outer, Timeout(50, False):
        sleep(100)
    assert caught.value is outer


@pytest.mark.parametrize("exception", [Custom, Custom("an instance")])
def test_another_exception(virtual_loop, exception):
    with pytest.raises(Custom), Timeout(5, exception):
        sleep(100)


def test_nested(virtual_loop):
    with Timeout(50) as outer:
        with pytest.raises(Timeout) as caught, Timeout(5) as inner:
            sleep(100)
        assert caught.value is inner
        assert outer.pending
    with pytest.raises(Timeout) as caught, Timeout(5) as outer, Timeout(50) as inner:
        sleep(100)
    assert caught.value is outer
    assert not inner.pending


def test_cancel_and_restart(virtual_loop):
    limit = Timeout(5)
    with pytest.raises(AssertionError, match="cancel"):
        limit.start()
    limit.cancel()
    limit.cancel()
    sleep(10)
    limit.start()
    with pytest.raises(Timeout):
        sleep(10)


def test_a_block_that_is_entered_again_counts_anew(virtual_loop):
    limit = Timeout(5, False)
    begin = virtual_loop.time()
    for turn in range(1, 4):
        with limit:
            assert limit.pending
            greenio.sleep(100)
            pytest.fail("not interrupted")
        assert not limit.pending
        assert virtual_loop.time() - begin == 5 * turn
    with limit:
        pass
    assert not limit.pending


def test_start_new(virtual_loop):
    limit = Timeout.start_new(5)
    assert limit.pending
    assert Timeout.start_new(limit) is limit
    limit.cancel()
    assert Timeout.start_new(limit).pending
    limit.cancel()
    assert not Timeout.start_new(None).pending


def test_it_is_raised_where_it_was_started(virtual_loop):
    def other():
        sleep(100)
        return "undisturbed"

    thread = spawn(other)
    with pytest.raises(Timeout), Timeout(5):
        sleep(50)
    assert thread.wait() == "undisturbed"


def test_after_the_end_of_its_thread_nothing_happens(virtual_loop):
    spawn(Timeout, 5).wait()
    sleep(10)


def test_except_exception_does_not_swallow_it(virtual_loop):
    with pytest.raises(Timeout), Timeout(5):
        try:
            sleep(100)
        except Exception:
            pytest.fail("swallowed")


def test_text(hub_name):
    assert str(Timeout(None)) == ""
    with Timeout(1) as limit:
        assert str(limit) == "1 second"
        assert "pending" in repr(limit)
    with Timeout(2, False) as limit:
        assert str(limit) == "2 seconds (silent)"
    with Timeout(2, LookupError("late")) as limit:
        assert str(limit) == "2 seconds (late)"


def test_bad_seconds(hub_name):
    with pytest.raises(ValueError, match="number of seconds"):
        Timeout(float("nan"))


def test_no_seconds(hub_name):
    with pytest.raises(TypeError, match="number of seconds"):
        Timeout("5")


def test_zero_fires_at_the_next_wait(hub_name):
    with pytest.raises(Timeout), Timeout(0):
        event.Event().wait()


def test_the_woken_are_not_cheated(hub_name):
    """A permit that was handed over in the same turn goes to the next."""
    gate = greenio.Semaphore(0)
    outcomes = []

    def taker(name):
        try:
            with Timeout(1000) as limit:
                greenio.hubs.get_hub().schedule_call_global(0, _expire, [limit])
                gate.acquire()
                outcomes.append((name, "got it"))
        except Timeout:
            outcomes.append((name, "too late"))

    first = spawn(taker, "first")
    second = spawn(gate.acquire)
    sleep(0)
    gate.release()
    first.wait()
    if outcomes == [("first", "too late")]:
        second.wait()
    else:
        gate.release()
        second.wait()
    assert gate.balance == 0


# -- helpers --------------------------------------------------------------------------------


def test_with_timeout(virtual_loop):
    assert greenio.with_timeout(5, lambda a, b: a + b, 1, b=2) == 3
    with pytest.raises(Timeout):
        greenio.with_timeout(5, sleep, 10)
    assert greenio.with_timeout(5, sleep, 10, timeout_value="late") == "late"
    assert greenio.with_timeout(None, sleep, 10, timeout_value="late") is None


def test_with_timeout_passes_others_timeouts_on(virtual_loop):
    with pytest.raises(Timeout) as caught, Timeout(5) as outer:
        greenio.with_timeout(50, sleep, 100, timeout_value="late")
    assert caught.value is outer


def test_with_timeout_checks_the_function(hub_name):
    with pytest.raises(TypeError, match="takes a function"):
        greenio.with_timeout(1, 42)


def test_is_timeout(hub_name):
    assert timeout.is_timeout(Timeout(None))
    assert timeout.is_timeout(TimeoutError())
    assert not timeout.is_timeout(KeyError())
    assert not timeout.is_timeout(None)

    @timeout.wrap_is_timeout
    class Marked(Exception):
        pass

    assert timeout.is_timeout(Marked())
    assert timeout.is_timeout(timeout.wrap_is_timeout(Custom()))
    assert not timeout.is_timeout(Custom())

    @timeout.wrap_is_timeout
    def made(text):
        """Make one."""
        return Custom(text)

    assert timeout.is_timeout(made("a"))
    assert (made("a").args, made.__doc__) == (("a",), "Make one.")


def test_eventlets_other_name():
    assert greenio.TimeoutError is Timeout


def test_in_a_coroutine_it_says_what_to_use(run_async):
    async def main():
        with pytest.raises(RuntimeError, match=r"asyncio\.timeout\(100\)"):
            Timeout(100)
        # It never would.
        with Timeout(None):
            pass

    run_async(main)


def test_it_shows_its_timer_while_it_is_to_come(hub_name):
    limit = Timeout(100)
    assert limit.timer is not None
    limit.cancel()
    assert limit.timer is None
