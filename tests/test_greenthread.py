"""Green threads: spawn, wait, link, spawn_after, sleep."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import traceback
import weakref

import greenlet
import pytest

import greenio
from _support import until
from greenio import event, greenthread, sleep, spawn
from greenio.greenthread import GreenThread

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


@pytest.fixture
def reported(hub_name):
    """What goes to the loop's exception handler."""
    contexts = []
    loop = greenio.hubs.get_hub().loop
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    return contexts


def fail(error=None):
    raise error or KeyError("inside")


# -- spawn and wait -----------------------------------------------------------------------


def test_nothing_runs_before_the_spawner_yields(hub_name):
    order = []
    spawn(order.append, "thread")
    order.append("spawner")
    sleep(0)
    assert order == ["spawner", "thread"]


def test_arguments_and_result(hub_name):
    def func(*args, **kwargs):
        return args, kwargs

    assert spawn(func, 1, 2, a=3).wait() == ((1, 2), {"a": 3})


def test_func_as_a_keyword(hub_name):
    assert spawn(func=lambda: 5).wait() == 5


def test_it_is_a_greenlet_and_hashable_and_takes_attributes(hub_name):
    thread = spawn(sleep)
    assert isinstance(thread, greenlet.greenlet)
    assert hash(thread) == hash(thread)
    thread.anything = 1
    thread.wait()
    assert thread.anything == 1


def test_order_of_spawning_is_order_of_starting(hub_name):
    order = []
    for n in range(10):
        spawn(order.append, n)
    sleep(0)
    assert order == list(range(10))


def test_result_can_be_had_more_than_once(hub_name):
    thread = spawn(lambda: "result")
    waiters = [spawn(thread.wait) for _ in range(3)]
    assert [waiter.wait() for waiter in waiters] == ["result"] * 3
    assert thread.wait() == "result"


def test_waiting_for_itself_is_refused(hub_name):
    thread = spawn(lambda: thread.wait())
    with pytest.raises(RuntimeError, match="cannot wait for itself"):
        thread.wait()


def test_os_threads_can_wait(hub_name):
    gate, got = event.Event(), []
    thread = spawn(gate.wait)
    waiter = threading.Thread(target=lambda: got.append(thread.wait()))
    waiter.start()
    until(lambda: thread._watchers)
    gate.send("result")
    thread.wait()
    waiter.join()
    assert got == ["result"]


def test_context_is_copied(hub_name):
    variable.set("spawner")

    def use():
        seen = variable.get()
        variable.set("thread")
        sleep(0)
        return seen, variable.get()

    assert spawn(use).wait() == ("spawner", "thread")
    assert variable.get() == "spawner"


def test_repr_tells_the_state(hub_name):
    gate = event.Event()

    def waits_for_gate():
        gate.wait()

    thread = spawn(waits_for_gate)
    assert "waits_for_gate, not started" in repr(thread)
    sleep(0)
    assert "parked" in repr(thread)
    gate.send()
    thread.wait()
    assert "done" in repr(thread)


def test_twenty_thousand_start_in_one_turn(hub_name):
    count = 0

    def add():
        nonlocal count
        sleep(0)
        count += 1

    threads = [spawn(add) for _ in range(20_000)]
    threads[-1].wait()
    assert count == 20_000


def test_a_deep_chain_of_spawns(hub_name):
    def chain(n):
        return n if n == 0 else spawn(chain, n - 1)

    thread = spawn(chain, 3000)
    for _ in range(3000):
        thread = thread.wait()
    assert thread.wait() == 0


# -- failures -----------------------------------------------------------------------------


def test_failure_is_raised_by_wait(reported):
    thread = spawn(fail)
    for _ in range(2):
        with pytest.raises(KeyError, match="inside"):
            thread.wait()
    del thread
    gc.collect()
    assert reported == []


def test_failure_nobody_waits_for_is_reported_once(reported):
    spawn(fail)
    sleep(0)
    sleep(0)
    assert [type(context["exception"]) for context in reported] == [KeyError]
    assert "nobody waited" in reported[0]["message"]


def test_failure_is_reported_when_it_happens_and_still_raised_later(reported):
    thread = spawn(fail)
    sleep(0)
    sleep(0)
    assert len(reported) == 1
    assert reported[0]["greenthread"] is thread
    with pytest.raises(KeyError, match="inside"):
        thread.wait()
    reported.clear()
    del thread
    gc.collect()
    assert reported == []


def test_reports_can_be_switched_off(reported):
    greenio.debug.hub_exceptions(False)
    spawn(fail)
    sleep(0)
    sleep(0)
    assert reported == []


def test_traceback_begins_with_the_users_function_and_does_not_grow(hub_name):
    thread = spawn(fail)
    depths = []
    for _ in range(5):
        try:
            thread.wait()
        except KeyError as error:
            frames = traceback.extract_tb(error.__traceback__)
            depths.append(len(frames))
            assert frames[-1].name == "fail"
    assert len(set(depths)) == 1


def test_failure_keeps_nothing_alive(hub_name):
    class Marker:
        pass

    def failing(marker):
        raise KeyError

    marker = Marker()
    reference = weakref.ref(marker)
    thread = spawn(failing, marker)
    gc.disable()
    try:
        greenio.joinall([thread])
        assert isinstance(thread._error, KeyError)
        thread._unretrieved.retrieved()
        del thread, marker
        sleep(0)
        assert reference() is None
    finally:
        gc.enable()


# -- link ---------------------------------------------------------------------------------


def test_link_is_called_at_the_end(hub_name):
    calls = []
    thread = spawn(lambda: "result")
    thread.link(lambda t, *a, **k: calls.append((t.wait(), a, k)), 1, b=2)
    thread.wait()
    assert calls == [("result", (1,), {"b": 2})]


def test_link_to_an_ended_one_is_called_at_once(hub_name):
    calls = []
    thread = spawn(sleep)
    thread.wait()
    thread.link(calls.append)
    assert calls == [thread]


def test_unlink(hub_name):
    calls = []
    thread = spawn(sleep)
    thread.link(calls.append)
    assert thread.unlink(calls.append)
    assert not thread.unlink(calls.append)
    thread.wait()
    assert calls == []


def test_failing_link_is_reported_and_harms_nobody(reported):
    calls = []
    thread = spawn(sleep)
    thread.link(lambda _: fail())
    thread.link(calls.append)
    thread.wait()
    assert calls == [thread]
    assert "link" in reported[0]["message"]


# -- later --------------------------------------------------------------------------------


def test_spawn_after(virtual_loop):
    started = virtual_loop.time()
    thread = greenio.spawn_after(5, virtual_loop.time)
    assert thread.wait() == started + 5


def test_spawn_after_can_be_called_off(virtual_loop):
    ran = []
    cancelled = greenio.spawn_after(5, ran.append, 1)
    killed = greenio.spawn_after(5, ran.append, 2)
    cancelled.cancel()
    killed.kill()
    sleep(10)
    assert ran == []
    assert greenio.hubs.get_hub().get_timers_count() == 0
    with pytest.raises(greenlet.GreenletExit):
        cancelled.wait()


def test_spawn_after_local_ends_with_its_spawner(virtual_loop):
    ran = []

    def short():
        greenthread.spawn_after_local(5, ran.append, "short")

    def long():
        greenthread.spawn_after_local(5, ran.append, "long")
        sleep(10)

    spawn(short)
    spawn(long)
    sleep(20)
    assert ran == ["long"]


def test_call_after(virtual_loop):
    ran = []
    greenthread.call_after_global(5, ran.append, 1)
    greenthread.call_after_global(5, ran.append, 2).cancel()
    greenthread.call_after_local(5, ran.append, 3)
    sleep(10)
    assert ran == [1, 3]


def test_exc_after(virtual_loop):
    greenthread.exc_after(5, KeyError("time is up"))
    with pytest.raises(KeyError, match="time is up"):
        sleep(10)
    never = greenthread.exc_after(None, KeyError("time is up"))
    sleep(10)
    assert never.pending
    never.cancel()
    assert not never.pending


# -- sleep --------------------------------------------------------------------------------


def test_sleep_waits_as_long_as_it_says(virtual_loop):
    started = virtual_loop.time()
    sleep(3)
    assert virtual_loop.time() == started + 3


def test_sleepers_wake_in_order_of_time(virtual_loop):
    order = []

    def sleeper(seconds):
        sleep(seconds)
        order.append(seconds)

    for seconds in (3, 1, 2):
        spawn(sleeper, seconds)
    sleep(5)
    assert order == [1, 2, 3]


def test_a_bad_time_to_sleep(hub_name):
    with pytest.raises(ValueError, match="number of seconds"):
        sleep(float("nan"))


@pytest.mark.parametrize("seconds", ["1", None, [], object()])
def test_what_is_no_time_to_sleep(hub_name, seconds):
    with pytest.raises(TypeError, match="number of seconds"):
        sleep(seconds)


def test_sleep_in_a_thread_without_a_hub_makes_none():
    made = []

    def in_thread():
        sleep(0)
        sleep(0.001)
        made.append(greenio._kernel.current.existing_hub())

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert made == [None]


# -- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize("what", [42, None, "name"])
def test_only_functions_can_be_spawned(hub_name, what):
    with pytest.raises(TypeError, match="takes a function"):
        spawn(what)
    with pytest.raises(TypeError, match="takes a function"):
        greenio.spawn_after(1, what)


def test_spawning_a_coroutine_names_the_right_call(hub_name):
    async def coroutine():
        pass

    # Closed before the error, so there is no "never awaited" warning either.
    with pytest.raises(TypeError, match="await_"):
        spawn(coroutine())


# -- coroutines ---------------------------------------------------------------------------


def test_awaiting_the_result(run_async):
    async def main():
        assert await spawn(lambda: "result") == "result"
        with pytest.raises(KeyError, match="inside"):
            await spawn(fail)
        thread = spawn(lambda: "later")
        assert await asyncio.gather(thread, thread) == ["later", "later"]

    run_async(main)


def test_cancelled_await_kills(run_async):
    async def main():
        steps = []

        def parked():
            try:
                sleep(1000)
            finally:
                sleep(0)
                steps.append("cleaned up")

        thread = spawn(parked)
        waiting = asyncio.ensure_future(thread)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert steps == ["cleaned up"]
        assert thread.dead

    run_async(main)


def test_a_green_thread_is_an_instance_under_both_names():
    assert greenio.GreenThread is GreenThread
