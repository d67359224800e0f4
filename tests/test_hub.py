"""Hubs: owned and attached, their choice, their API, and other OS threads."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

import greenlet
import pytest

import greenio
from _sockets import in_thread
from _support import end_loop, until, until_async
from greenio import event, hubs, semaphore, sleep, spawn
from greenio._kernel.current import close_thread_hub, existing_hub
from greenio._kernel.hidden_loop import twin_of
from greenio.hubs import HubClosedError, HubError, HubNotFoundError, IOClosed

# -- owned ----------------------------------------------------------------------------------


def test_owned_hub_runs_the_chosen_loop(hub_name):
    spawn(sleep).wait()
    hub = hubs.get_hub()
    assert hub.owned
    assert type(hub.loop).__module__.partition(".")[0] == hub_name
    assert hub.loop.is_running()
    assert spawn(hubs.get_hub).wait() is hub


def test_coroutines_run_on_an_owned_hub(hub_name):
    async def coroutine():
        await asyncio.sleep(0)
        return asyncio.get_running_loop() is hubs.get_hub().loop

    assert greenio.await_(coroutine())


def test_factory(nothing_left):
    made = []

    def factory():
        made.append(asyncio.SelectorEventLoop())
        return made[-1]

    hubs.use_hub(factory)
    sleep(0)
    assert made == [hubs.get_hub().loop]
    close_thread_hub()
    hubs.use_hub()


def test_factory_of_something_else(nothing_left):
    hubs.use_hub(lambda: 42)
    with pytest.raises(HubError, match="not an event loop"):
        spawn(sleep)
    hubs.use_hub()


def test_uvloop_missing_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ImportError, match=r"pip install 'greenio-asyncio\[uvloop\]'"):
        hubs.use_hub("uvloop")


@pytest.mark.parametrize("name", ["epoll", "twisted", 42])
def test_unknown_hubs(name):
    with pytest.raises(HubError, match=r"use 'asyncio'|takes 'asyncio'"):
        hubs.use_hub(name)


def test_the_programs_log_tells_nothing_of_the_loop(caplog):
    with caplog.at_level(0):
        hubs.use_hub("asyncio")
        hubs.get_hub()
    assert caplog.records == []
    with caplog.at_level(0):
        asyncio.SelectorEventLoop().close()
    assert caplog.records


@pytest.mark.parametrize("name", ["epolls", "poll", "selects", None, "asyncio"])
def test_eventlets_names_mean_the_default(nothing_left, name, monkeypatch):
    monkeypatch.delenv("GREENIO_HUB", raising=False)
    hubs.use_hub(name)
    sleep(0)
    assert isinstance(hubs.get_hub().loop, asyncio.SelectorEventLoop)


def test_environment_variable(nothing_left, monkeypatch):
    monkeypatch.setenv("GREENIO_HUB", "nonsense")
    with pytest.raises(HubNotFoundError, match="nonsense"):
        hubs.use_hub()


@pytest.mark.parametrize("name", ["uvloop", "eventlet.hubs.uvloop"])
def test_eventlets_environment_variable(nothing_left, name, monkeypatch):
    pytest.importorskip("uvloop")
    monkeypatch.delenv("GREENIO_HUB", raising=False)
    monkeypatch.setenv("EVENTLET_HUB", name)
    # Its own names ask for the best there is, and that has been said.
    for form in (
        None,
        "poll",
        "eventlet.hubs.epolls:Hub",
        hubs.selects,
        hubs.epolls.Hub,
    ):
        hubs.use_hub(form)
        assert type(hubs.get_hub().loop).__module__.partition(".")[0] == "uvloop"
    monkeypatch.setenv("GREENIO_HUB", "asyncio")
    hubs.use_hub()
    assert isinstance(hubs.get_hub().loop, asyncio.SelectorEventLoop)
    monkeypatch.setenv("GREENIO_HUB", "")
    monkeypatch.setenv("EVENTLET_HUB", "poll")
    hubs.use_hub()
    assert isinstance(hubs.get_hub().loop, asyncio.SelectorEventLoop)
    monkeypatch.setenv("EVENTLET_HUB", "nonsense")
    with pytest.raises(HubError, match="nonsense"):
        hubs.use_hub()
    monkeypatch.delenv("EVENTLET_HUB")
    close_thread_hub()


def test_choosing_too_late_is_refused(hub_name):
    sleep(0)
    with pytest.raises(HubError, match="first thing"):
        hubs.use_hub(asyncio.new_event_loop)
    hubs.use_hub(hub_name)


def test_choosing_again_before_it_runs(nothing_left):
    hubs.use_hub("asyncio")
    first = hubs.get_hub()
    hubs.use_hub(asyncio.new_event_loop)
    assert first.closed
    assert hubs.get_hub() is not first
    sleep(0)
    close_thread_hub()
    hubs.use_hub()


# -- attached -------------------------------------------------------------------------------


def test_attached_to_a_running_loop(run_async):
    async def main():
        hub = hubs.get_hub()
        assert not hub.owned
        assert hub.loop is asyncio.get_running_loop()
        thread = spawn(lambda: (hubs.get_hub(), asyncio.get_running_loop()))
        assert await thread == (hub, hub.loop)

    run_async(main)


def test_one_loop_run_again_and_again(loop_factory):
    loop = loop_factory()
    gate = event.Event()
    steps = []

    def across():
        steps.append("started")
        gate.wait()
        steps.append("went on")

    async def first():
        spawn(across)
        await until_async(lambda: gate.statistics().waiting)

    async def second():
        gate.send()
        await until_async(lambda: len(steps) == 2)

    loop.run_until_complete(first())
    assert steps == ["started"]
    loop.run_until_complete(second())
    assert steps == ["started", "went on"]
    end_loop(loop)


def test_one_loop_run_in_one_greenlet_and_then_in_another(loop_factory):
    loop = loop_factory()
    gate = event.Event()
    thread = None

    async def first():
        nonlocal thread
        thread = spawn(gate.wait)
        await until_async(lambda: gate.statistics().waiting)

    async def second():
        gate.send("result")
        return await thread

    greenlet.greenlet(lambda: loop.run_until_complete(first())).switch()
    runner = greenlet.greenlet(lambda: loop.run_until_complete(second()))
    assert runner.switch() == "result"
    end_loop(loop)


def test_attached_inside_a_foreign_greenlet(run_async):
    """As SQLAlchemy's bridge: the loop greenlet is not the one that calls."""

    async def main():
        started = []

        def bridge():
            started.append(spawn(lambda: "result"))
            with pytest.raises(greenio.BlockingInLoopError):
                sleep(0.001)

        greenlet.greenlet(bridge).switch()
        assert await started[0] == "result"

    run_async(main)


def test_a_greenlet_of_the_users_may_park_inside_a_green_thread(hub_name):
    def outer():
        inner = greenlet.greenlet(lambda: (sleep(0.001), "inner"))
        return inner.switch()

    # While the inner one waits, the loop goes on; then it returns to the outer one.
    assert spawn(outer).wait()[1] == "inner"


# -- API ------------------------------------------------------------------------------------


def test_schedule_call(virtual_loop):
    hub, calls = hubs.get_hub(), []
    hub.schedule_call_global(2, calls.append, "late")
    hub.schedule_call_global(1, lambda **kw: calls.append(kw), a=1)
    cancelled = hub.schedule_call_global(1, calls.append, "never")
    assert hub.get_timers_count() == 3
    assert cancelled.pending
    cancelled.cancel()
    cancelled.cancel()
    assert not cancelled.pending
    sleep(5)
    assert calls == [{"a": 1}, "late"]
    assert hub.get_timers_count() == 0


def test_schedule_call_local(virtual_loop):
    calls = []

    def short():
        hubs.get_hub().schedule_call_local(5, calls.append, "dropped")

    spawn(short)
    hubs.get_hub().schedule_call_local(5, calls.append, "made")
    sleep(10)
    assert calls == ["made"]


def test_failing_timer_is_reported(hub_name):
    seen = []
    hub = hubs.get_hub()
    hub.loop.set_exception_handler(lambda _, context: seen.append(context))
    for seconds in (0, 0.001):
        hub.schedule_call_global(seconds, lambda: 1 / 0)
    until(lambda: len(seen) == 2)
    assert [type(context["exception"]) for context in seen] == [ZeroDivisionError] * 2


def test_switch(hub_name):
    hub = hubs.get_hub()
    current = greenio.getcurrent()
    hub.schedule_call_global(0.001, current.switch, "value")
    assert hub.switch() == "value"


@pytest.mark.parametrize("waits_for", ["turn", "event", "permit"])
@pytest.mark.parametrize("args", [(), ("value",)], ids=["bare", "value"])
def test_switch_is_not_resumed_for_an_earlier_wait(hub_name, waits_for, args):
    """Who is woken and interrupted in one turn has a resume left that is for nothing."""
    woken = event.Event()
    permits = semaphore.Semaphore(0)
    wait = {"turn": sleep, "event": woken.wait, "permit": permits.acquire}[waits_for]
    fired = []

    def fire(switch):
        fired.append(True)
        switch(*args)

    def work():
        hub = hubs.get_hub()
        with pytest.raises(KeyError):
            wait()
        hub.schedule_call_global(0.001, fire, greenio.getcurrent().switch)
        outcome = hub.switch()
        return outcome, list(fired)

    worker = spawn(work)
    sleep()
    woken.send()
    permits.release()
    worker.kill(KeyError)
    assert worker.wait() == (args[0] if args else (), [True])


def test_switch_in_the_loop_greenlet_is_refused(run_async):
    async def main():
        hub = hubs.get_hub()
        await asyncio.sleep(0)
        with pytest.raises(greenio.BlockingInLoopError):
            hub.switch()

    run_async(main)


def test_trampoline(hub_name):
    reading, writing = os.pipe()
    hub = hubs.get_hub()
    hubs.trampoline(writing, write=True)
    greenio.spawn_after(0.001, os.write, writing, b"x")
    waiter = spawn(hubs.trampoline, reading, read=True)
    sleep(0)
    assert [listener.fd for listener in hub.get_readers()] == [reading]
    assert hub.get_writers() == []
    waiter.wait()
    assert hub.get_readers() == []
    assert os.get_blocking(reading)
    with pytest.raises(greenio.Timeout):
        os.read(reading, 1)
        hubs.trampoline(reading, read=True, timeout=0.001)
    with pytest.raises(KeyError):
        hubs.trampoline(reading, read=True, timeout=0.001, timeout_exc=KeyError)
    os.close(reading)
    os.close(writing)


def test_notify_close_wakes_who_waits(hub_name):
    reading, writing = os.pipe()
    marked = []
    waiter = spawn(
        hubs.trampoline, reading, read=True, mark_as_closed=lambda: marked.append(1)
    )
    sleep(0)
    hubs.notify_close(reading)
    with pytest.raises(IOClosed):
        waiter.wait()
    assert marked == [1]
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("what", [-1, -100])
def test_negative_descriptors(hub_name, what):
    with pytest.raises(ValueError, match="negative"):
        hubs.trampoline(what, read=True)


def test_closed_descriptor(hub_name):
    # The loop opens descriptors of its own when it starts, of any free number.
    sleep(0)
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        hubs.trampoline(reading, read=True, timeout=1)


def test_trampoline_waits_for_one_thing(hub_name):
    with pytest.raises(ValueError, match="read=True or write=True"):
        hubs.trampoline(0)
    with pytest.raises(ValueError, match="read=True or write=True"):
        hubs.trampoline(0, read=True, write=True)
    with pytest.raises(TypeError, match="fileno"):
        hubs.trampoline("0", read=True)


def test_abort(hub_name):
    def abort():
        hubs.get_hub().abort()

    spawn(abort)
    hub = hubs.get_hub()
    with pytest.raises(HubClosedError):
        sleep(100)
    hub.abort()
    assert hub.closed
    assert spawn(lambda: "a new hub").wait() == "a new hub"


def test_attached_hub_cannot_be_aborted(run_async):
    async def main():
        with pytest.raises(RuntimeError, match="attached"):
            hubs.get_hub().abort()

    run_async(main)


# -- OS threads -----------------------------------------------------------------------------


def test_each_thread_has_its_own_hub(hub_name):
    mine = hubs.get_hub()

    def elsewhere():
        hub = hubs.get_hub()
        assert spawn(lambda: "result").wait() == "result"
        return hub

    theirs = in_thread(elsewhere)
    assert theirs is not mine
    assert theirs.closed


def test_a_threads_hub_ends_with_it():
    steps = []

    def elsewhere():
        def parked():
            try:
                sleep(1000)
            finally:
                sleep(0)
                steps.append("cleaned up")

        spawn(parked)
        sleep(0)
        return hubs.get_hub()

    hub = in_thread(elsewhere)
    assert steps == ["cleaned up"]
    assert hub.loop.is_closed()


def test_threads_without_a_hub_get_none_by_waiting():
    gate = event.Event()
    seen = []
    thread = threading.Thread(target=lambda: seen.append((gate.wait(), existing_hub())))
    thread.start()
    gate.send("value")
    thread.join()
    assert seen == [("value", None)]


def test_a_dead_hub_cannot_be_woken():
    def elsewhere():
        thread = spawn(sleep, 1000)
        sleep(0)
        thread.link(lambda _: None)
        return hubs.get_hub(), thread

    hub, thread = in_thread(elsewhere)
    assert not hub.wake_threadsafe(thread)
    assert not hub.call_threadsafe(print)
    assert thread.dead
    thread.kill()


def test_spawning_on_a_closed_loop_is_refused(loop_factory):
    loop = loop_factory()
    kept = []

    async def main():
        kept.append(hubs.get_hub())

    loop.run_until_complete(main())
    end_loop(loop)
    with pytest.raises(HubClosedError, match="closed"):
        kept[0].schedule_drain()


def test_an_interrupt_where_the_loop_ends_its_run():
    class Loop(asyncio.SelectorEventLoop):
        def run_forever(self):
            try:
                super().run_forever()
            except KeyboardInterrupt:
                # As if it had come before this was cleared.
                self._thread_id = threading.get_ident()
                raise

    def interrupt():
        raise KeyboardInterrupt

    def program():
        hubs.use_hub(Loop)
        try:
            with pytest.raises(KeyboardInterrupt):
                spawn(interrupt).wait()
            return spawn(int).wait()
        finally:
            close_thread_hub()

    assert in_thread(program) == 0


def test_the_hub_of_those_who_do_not_see_the_loop_has_all_that_a_hub_has():
    hub = hubs.get_hub()
    twin = twin_of(hub)
    for name in dir(hub):
        assert hasattr(twin, name) is hasattr(hub, name)
    assert twin.main is hub.main
    assert twin.get_timers_count() == hub.get_timers_count()


# -- closing --------------------------------------------------------------------------------


def test_who_may_close_an_owned_hub(hub_name):
    with pytest.raises(RuntimeError, match="from the main greenlet of its own thread"):
        spawn(hubs.get_hub().close).wait()


def test_an_attached_hub_is_closed_by_who_runs_its_loop(run_async):
    async def main():
        with pytest.raises(RuntimeError, match="whoever runs its loop ends it"):
            hubs.get_hub().close()

    run_async(main)


def test_closing_again_does_nothing():
    def work():
        hub = hubs.get_hub()
        sleep(0)
        hub.close()
        hub.close()
        return hub.closed

    assert in_thread(work)
