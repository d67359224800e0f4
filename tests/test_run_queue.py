"""Which green threads a hub knows, by whatever way they were started."""

import asyncio
import gc
import threading
import weakref

import greenlet
import pytest

import greenio
from _support import until
from greenio import hubs, sleep, spawn, spawn_after
from greenio._debug import run_info
from greenio.event import Event


def known():
    return hubs.get_hub().green_threads()


def test_it_has_no_more_attributes_than_are_quick_to_reach(hub_name):
    # From 30 on they are in a dictionary; one more comes when a hub ends.
    assert len(vars(hubs.get_hub())) <= 28


def test_who_has_not_started(hub_name):
    first, second = spawn(sleep), spawn(sleep)
    assert known() == [first, second]
    first.wait()
    second.wait()
    assert known() == []


def test_who_is_parked_in_the_order_of_starts(hub_name):
    event = Event()
    threads = [spawn(event.wait) for _ in range(3)]
    sleep(0)
    assert known() == threads
    # And again, when they have been resumed once.
    event.send()
    threads[1].wait()
    assert known() == [thread for thread in threads if not thread.dead]
    for thread in threads:
        thread.wait()


def test_who_runs_for_the_first_time(hub_name):
    seen = []

    def look():
        seen.extend(known())

    thread = spawn(look)
    thread.wait()
    assert seen == [thread]


def test_who_waits_in_the_turn_in_which_he_was_started(hub_name):
    event, done = Event(), Event()
    seen = []

    def second():
        # Resumed by the first one, which was started in this drain.
        done.wait()
        seen.extend(known())

    later = spawn(second)
    sleep(0)

    def first():
        done.send()
        event.wait()

    thread = spawn(first)
    later.wait()
    assert set(seen) == {thread, later}
    event.send()
    thread.wait()


def test_who_starts_later(hub_name):
    thread = spawn_after(1000, sleep)
    assert known() == [thread]
    thread.cancel()
    assert known() == []
    thread = spawn_after(0.001, Event().wait)
    while thread.gr_frame is None:
        sleep(0.001)
    assert known() == [thread]
    thread.kill()
    assert known() == []


def test_who_is_switched_to_by_hand(hub_name):
    event = Event()
    made = greenio.GreenThread(hubs.get_hub().greenlet)
    hubs.get_hub().schedule_call_global(0, made.switch, event.wait, (), {})
    until(lambda: event.statistics().waiting)
    assert known() == [made]
    event.send(7)
    assert made.wait() == 7


def test_who_was_called_by_a_coroutine(run_async):
    async def main():
        event = Event()
        tasks = [asyncio.ensure_future(greenio.run_green(event.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        assert len(known()) == 2
        event.send()
        await asyncio.gather(*tasks)
        assert known() == []

    run_async(main)


def test_who_sees_no_loop(hub_name):
    event = Event()
    with greenio.loop_hidden():
        hidden = spawn(event.wait)
    seeing = spawn(event.wait)
    sleep(0)
    assert set(known()) == {hidden, seeing}
    event.send()
    hidden.wait()
    seeing.wait()


def test_it_keeps_nobody(hub_name):
    class Mine:
        pass

    def wait():
        mine = Mine()
        gone.append(weakref.ref(mine))
        hubs.get_hub().switch()

    gone = []
    spawn(wait)
    sleep(0)
    # The drain that has started it goes on until here.
    sleep(0)
    assert gone[0]() is None
    assert known() == []


def test_who_has_failed_is_not_known_any_more(hub_name):
    def fail():
        sleep(0)
        raise ValueError

    thread = spawn(fail)
    with pytest.raises(ValueError):
        thread.wait()
    assert known() == []
    assert weakref.getweakrefcount(thread) == 0


def test_an_interrupt_of_the_start(hub_name):
    event = Event()

    def interrupted():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            event.wait()

    thread = spawn(interrupted)
    sleep(0)
    assert known() == [thread]
    event.send()
    thread.wait()


def test_other_os_threads_may_look_meanwhile(hub_name):
    hub = hubs.get_hub()
    failures, looks = [], []
    stop = threading.Event()

    def look():
        try:
            while not stop.is_set():
                looks.append(len(hub.green_threads()))
                del looks[:-1]
        except BaseException as exc:
            failures.append(exc)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(30):
            event = Event()
            threads = [spawn(event.wait) for _ in range(50)]
            sleep(0)
            event.send()
            for thread in threads:
                thread.wait()
        while not looks:
            sleep(0.001)
    finally:
        stop.set()
        watcher.join()
    assert failures == []


def test_no_other_objects_are_looked_at(hub_name, monkeypatch):
    event = Event()
    thread = spawn(event.wait)

    def refused(*_):
        raise AssertionError("all objects of the process are looked at")

    monkeypatch.setattr(gc, "get_objects", refused)
    monkeypatch.setattr(gc, "get_referrers", refused)
    # Only time limits are looked for in this way, and only for the text.
    monkeypatch.setattr(run_info, "_pending_timeouts", dict)
    sleep(0)
    assert "1 green thread" in greenio.debug.format_run_info()
    assert known() == [thread]
    hub = hubs.get_hub()
    hub.close()
    assert thread.dead
    assert isinstance(thread._error, greenlet.GreenletExit)
