"""`greenio.semaphore`: plain, bounded and capped."""

from __future__ import annotations

import asyncio

import pytest

import greenio
from _support import settle, until
from greenio.semaphore import BoundedSemaphore, CappedSemaphore, Semaphore

pytestmark = pytest.mark.usefixtures("hub_name")


# -- Semaphore --------------------------------------------------------------------------


def test_permits_are_counted():
    semaphore = Semaphore(2)
    assert semaphore.balance == 2
    assert semaphore.acquire() is True
    assert not semaphore.locked()
    assert semaphore.acquire() is True
    assert semaphore.locked()
    assert semaphore.balance == 0
    assert semaphore.acquire(blocking=False) is False
    assert semaphore.acquire(False) is False
    assert semaphore.acquire(timeout=0) is False
    assert semaphore.release() is True
    assert semaphore.acquire(False) is True
    assert semaphore.bounded() is False


def test_balance_below_zero_is_the_number_of_waiters():
    semaphore = Semaphore(0)
    threads = [greenio.spawn(semaphore.acquire) for _ in range(3)]
    settle()
    assert semaphore.balance == -3
    assert semaphore.statistics().waiting == 3
    assert semaphore.statistics().counter == 0
    semaphore.release()
    assert semaphore.balance == -2
    threads[1].kill()
    assert semaphore.balance == -1
    semaphore.release()
    assert semaphore.balance == 0
    assert threads[0].wait() is True
    assert threads[2].wait() is True


def test_first_come_first_served():
    semaphore = Semaphore(0)
    order = []

    def take(name):
        semaphore.acquire()
        order.append(name)

    threads = [greenio.spawn(take, name) for name in range(5)]
    settle()
    for _ in range(5):
        semaphore.release()
    for thread in threads:
        thread.wait()
    assert order == [0, 1, 2, 3, 4]


def test_nobody_barges_past_a_waiter():
    semaphore = Semaphore(1)
    semaphore.acquire()
    waiter = greenio.spawn(semaphore.acquire)
    settle()
    semaphore.release()
    # The permit is the waiter's already, though it has not run yet.
    assert not waiter.dead
    assert semaphore.acquire(blocking=False) is False
    assert waiter.wait() is True
    assert semaphore.acquire(blocking=False) is False


def test_a_releaser_does_not_take_its_permit_straight_back():
    semaphore = Semaphore(1)
    order = []

    def worker(name):
        for _ in range(3):
            with semaphore:
                order.append(name)
                greenio.sleep(0)

    for thread in [greenio.spawn(worker, name) for name in "ab"]:
        thread.wait()
    assert order == list("ababab")


def test_many_that_leave_from_the_middle_do_not_change_the_order():
    semaphore = Semaphore(0)
    order = []

    def take(name):
        semaphore.acquire()
        order.append(name)

    threads = [greenio.spawn(take, name) for name in range(120)]
    settle()
    staying = [name for name in range(120) if name % 4 == 0 or name > 100]
    leaving = [name for name in range(120) if name not in staying]
    for name in leaving[::2] + leaving[1::2][::-1]:
        threads[name].kill()
    assert semaphore.balance == -len(staying)
    # Those who left do not pile up.
    assert len(semaphore._waiters) <= 2 * len(staying) + 16
    for _ in staying:
        semaphore.release()
    assert semaphore.balance == 0
    settle()
    assert order == staying


def test_a_time_limit():
    semaphore = Semaphore(0)
    assert semaphore.acquire(timeout=0.001) is False
    assert semaphore.balance == 0
    semaphore.release()
    assert semaphore.acquire(timeout=0.001) is True


def test_minus_one_is_for_ever_as_in_threading():
    semaphore = Semaphore(0)
    thread = greenio.spawn(semaphore.acquire, True, -1)
    settle()
    assert not thread.dead
    semaphore.release()
    assert thread.wait() is True
    assert semaphore.acquire(False, -1) is False


@pytest.mark.parametrize("timeout", [-2, -0.5])
def test_other_negative_time_limits_are_refused(timeout):
    semaphore = Semaphore(1)
    with pytest.raises(ValueError, match="timeout of 0 seconds or more"):
        semaphore.acquire(timeout=timeout)
    assert semaphore.balance == 1


@pytest.mark.parametrize("cls", [Semaphore, lambda n: CappedSemaphore(n, 5)])
def test_a_time_limit_for_a_call_that_never_waits_is_refused(cls):
    semaphore = cls(1)
    with pytest.raises(ValueError, match="non-blocking"):
        semaphore.acquire(blocking=False, timeout=1)
    assert semaphore.acquire(False) is True


@pytest.mark.parametrize("cls", [Semaphore, BoundedSemaphore])
def test_bad_values(cls):
    with pytest.raises(ValueError, match=f"{cls.__name__} takes an integer of 0"):
        cls(-1)
    with pytest.raises(TypeError, match=f"{cls.__name__} takes an integer of 0"):
        cls("1")


def test_context_managers(run_async):
    semaphore = Semaphore()
    with semaphore:
        assert semaphore.locked()
    with pytest.raises(ZeroDivisionError), semaphore:
        raise ZeroDivisionError
    assert semaphore.balance == 1

    async def main():
        async with semaphore:
            assert semaphore.locked()
            assert await semaphore.acquire_async(timeout=0) is False
            assert await semaphore.acquire_async(timeout=0.001) is False
        return semaphore.balance

    assert run_async(main) == 1


def test_acquire_in_the_loop_greenlet(run_async):
    async def main():
        semaphore = Semaphore(1)
        assert semaphore.acquire() is True
        assert semaphore.acquire(False) is False
        with pytest.raises(greenio.BlockingInLoopError, match="_async"):
            semaphore.acquire()
        assert semaphore.balance == 0
        semaphore.release()
        with semaphore:
            pass
        return semaphore.balance

    assert run_async(main) == 1


def test_its_repr_tells_the_state():
    semaphore = Semaphore(3)
    assert "counter=3" in repr(semaphore)
    assert "0 waiting" in repr(semaphore)


# -- BoundedSemaphore -------------------------------------------------------------------


def test_bounded_refuses_one_release_too_many():
    semaphore = BoundedSemaphore(2)
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    semaphore.acquire()
    semaphore.release()
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    assert semaphore.balance == 2


def test_bounded_release_goes_to_a_waiter():
    semaphore = BoundedSemaphore(1)
    semaphore.acquire()
    thread = greenio.spawn(semaphore.acquire)
    settle()
    semaphore.release()
    assert thread.wait() is True
    semaphore.release()
    assert semaphore.balance == 1


def test_bounded_takes_back_what_a_killed_waiter_was_handed():
    semaphore = BoundedSemaphore(1)
    semaphore.acquire()
    thread = greenio.spawn(semaphore.acquire)
    settle()
    semaphore.release()
    thread.kill()
    assert semaphore.balance == 1


# -- CappedSemaphore --------------------------------------------------------------------


def test_capped_waits_at_both_ends():
    semaphore = CappedSemaphore(1, 2)
    assert not semaphore.locked()
    assert not semaphore.bounded()
    assert semaphore.release() is True
    assert semaphore.bounded()
    assert semaphore.release(blocking=False) is False
    assert semaphore.release(timeout=0.001) is False
    releasing = greenio.spawn(semaphore.release)
    settle()
    assert semaphore.statistics().releasing == 1
    assert not releasing.dead
    assert semaphore.acquire() is True
    assert releasing.wait() is True
    assert semaphore.statistics().counter == 2
    assert semaphore.acquire() is True
    assert semaphore.acquire() is True
    assert semaphore.locked()
    assert semaphore.acquire(False) is False
    assert semaphore.acquire(timeout=0.001) is False


def test_capped_balance_counts_both_ends():
    semaphore = CappedSemaphore(1, 2)
    assert semaphore.balance == 0
    semaphore.acquire()
    assert semaphore.balance == -2
    thread = greenio.spawn(semaphore.acquire)
    settle()
    assert semaphore.balance == -3
    semaphore.release()
    assert thread.wait() is True
    assert semaphore.balance == -2


def test_capped_waiters_are_served_in_order():
    semaphore = CappedSemaphore(0, 1)
    order = []

    def take(name):
        semaphore.acquire()
        order.append(name)

    threads = [greenio.spawn(take, name) for name in range(3)]
    settle()
    for _ in threads:
        semaphore.release()
    for thread in threads:
        thread.wait()
    assert order == [0, 1, 2]
    assert semaphore.acquire(False) is False


def test_capped_takes_back_what_a_killed_acquirer_was_handed():
    semaphore = CappedSemaphore(0, 1)
    thread = greenio.spawn(semaphore.acquire)
    settle()
    semaphore.release()
    thread.kill()
    assert semaphore.statistics().counter == 1
    assert semaphore.acquire(False) is True


def test_capped_goes_over_its_limit_rather_than_lose_a_permit():
    semaphore = CappedSemaphore(0, 1)
    thread = greenio.spawn(semaphore.acquire)
    settle()
    semaphore.release()
    semaphore.release()
    thread.kill()
    assert semaphore.statistics().counter == 2
    assert semaphore.release(False) is False
    assert semaphore.acquire(False) is True
    assert semaphore.release(False) is False
    assert semaphore.acquire(False) is True
    assert semaphore.acquire(False) is False


def test_capped_release_that_is_killed_has_not_happened():
    semaphore = CappedSemaphore(1, 1)
    releasing = greenio.spawn(semaphore.release)
    settle()
    semaphore.acquire()
    # Its permit is in, but it has not run yet.
    assert semaphore.statistics().counter == 1
    releasing.kill()
    assert semaphore.statistics().counter == 0


def test_capped_release_that_is_killed_makes_room_for_the_next():
    semaphore = CappedSemaphore(1, 1)
    first, second = (greenio.spawn(semaphore.release) for _ in range(2))
    settle()
    semaphore.acquire()
    first.kill()
    assert second.wait() is True
    assert semaphore.statistics().counter == 1


def test_capped_release_that_is_killed_after_its_permit_was_taken_has_happened():
    semaphore = CappedSemaphore(1, 1)
    releasing = greenio.spawn(semaphore.release)
    settle()
    semaphore.acquire()
    semaphore.acquire()
    releasing.kill()
    assert semaphore.statistics().counter == 0


@pytest.mark.parametrize(
    ("count", "limit", "error"),
    [(-1, 2, ValueError), (3, 2, ValueError), (1, "2", TypeError), (1.5, 2, TypeError)],
)
def test_capped_bad_values(count, limit, error):
    with pytest.raises(error, match="CappedSemaphore"):
        CappedSemaphore(count, limit)


def test_capped_context_managers(run_async):
    semaphore = CappedSemaphore(1, 1)
    with semaphore:
        assert semaphore.locked()
    assert semaphore.bounded()
    assert "counter=1 of 1" in repr(semaphore)

    async def main():
        async with semaphore:
            assert semaphore.locked()
        assert await semaphore.release_async(timeout=0) is False
        assert await semaphore.release_async(timeout=0.001) is False
        assert await semaphore.acquire_async() is True
        assert await semaphore.acquire_async(timeout=0) is False
        assert await semaphore.release_async() is True
        return semaphore.statistics().counter

    assert run_async(main) == 1


def test_a_cancelled_coroutine_passes_its_permit_on(run_async):
    async def main():
        semaphore = Semaphore(0)
        first, second = (
            asyncio.ensure_future(semaphore.acquire_async()) for _ in range(2)
        )
        await asyncio.sleep(0)
        semaphore.release()
        first.cancel()
        assert await second is True
        with pytest.raises(asyncio.CancelledError):
            await first
        return semaphore.balance

    assert run_async(main) == 0


def test_used_to_limit_concurrency():
    semaphore = Semaphore(3)
    running = 0
    most = 0

    def worker():
        nonlocal running, most
        with semaphore:
            running += 1
            most = max(most, running)
            greenio.sleep(0)
            running -= 1

    threads = [greenio.spawn(worker) for _ in range(20)]
    until(lambda: all(thread.dead for thread in threads))
    assert most == 3
    assert semaphore.balance == 3


def test_with_goes_by_what_a_subclass_acquires_by():
    class Counting(Semaphore):
        acquired = 0

        def acquire(self, *args, **kwargs):
            self.acquired += 1
            return super().acquire(*args, **kwargs)

    class More(Counting):
        pass

    for kind in (Counting, More):
        permits = kind(1)
        with permits as got:
            assert got is True
        assert (permits.acquired, permits.counter) == (1, 1)
