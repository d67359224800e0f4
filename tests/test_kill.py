"""Green threads: kill and cancel."""

from __future__ import annotations

import asyncio
import sys
import threading

import greenlet
import pytest

import greenio
from greenio import event, sleep, spawn

# -- kill ---------------------------------------------------------------------------------


_parked_elsewhere = None


def park_in(kind):
    """Wait in one way or another, for ever."""
    if kind == "sleep":
        sleep(1000)
    elif kind == "event":
        event.Event().wait()
    elif kind == "thread":
        _parked_elsewhere.wait()
    elif kind == "queue":
        greenio.queue.Queue().get()
    elif kind == "yield":
        while True:
            sleep(0)
    elif kind == "await":
        greenio.await_(asyncio.sleep(1000))


@pytest.mark.parametrize(
    "kind", ["sleep", "event", "thread", "queue", "yield", "await"]
)
def test_kill_wherever_it_waits(hub_name, kind, monkeypatch):
    steps = []
    other = spawn(event.Event().wait)
    monkeypatch.setattr(sys.modules[__name__], "_parked_elsewhere", other)

    def parked():
        try:
            park_in(kind)
        finally:
            steps.append("cleaned up")

    thread = spawn(parked)
    sleep(0)
    sleep(0)
    thread.kill()
    if kind != "await":
        # An await goes on when its cancellation has been processed by the loop.
        assert steps == ["cleaned up"]
        assert thread.dead
    with pytest.raises(greenlet.GreenletExit):
        thread.wait()
    assert steps == ["cleaned up"]
    other.kill()


def test_kill_before_the_start(hub_name):
    ran = []
    thread = spawn(ran.append, 1)
    thread.kill()
    assert thread.dead
    sleep(0)
    sleep(0)
    assert ran == []
    with pytest.raises(greenlet.GreenletExit):
        thread.wait()


def test_kill_with_an_exception(hub_name):
    thread = spawn(sleep, 1000)
    sleep(0)
    thread.kill(KeyError("because"))
    with pytest.raises(KeyError, match="because"):
        thread.wait()
    other = spawn(sleep, 1000)
    other.kill(ValueError, ValueError("of that"), None)
    with pytest.raises(ValueError, match="of that"):
        other.wait()


def test_kill_of_an_ended_one_does_nothing(hub_name):
    thread = spawn(lambda: "result")
    thread.wait()
    thread.kill()
    assert thread.wait() == "result"


def test_killing_itself(hub_name):
    thread = spawn(lambda: thread.kill())
    with pytest.raises(greenlet.GreenletExit):
        thread.wait()


def test_kill_can_be_survived(hub_name):
    def stubborn():
        try:
            sleep(1000)
        except greenlet.GreenletExit:
            sleep(0)
            return "survived"

    thread = spawn(stubborn)
    sleep(0)
    thread.kill()
    assert thread.wait() == "survived"


def test_kill_wakes_who_waits_and_calls_links(hub_name):
    calls = []
    thread = spawn(sleep, 1000)
    thread.link(calls.append)
    waiter = spawn(thread.wait)
    sleep(0)
    thread.kill()
    with pytest.raises(greenlet.GreenletExit):
        waiter.wait()
    assert calls == [thread]


def test_kill_from_another_os_thread(hub_name):
    parked = spawn(sleep, 1000)
    sleep(0)
    killer = threading.Thread(target=parked.kill)
    killer.start()
    with pytest.raises(greenlet.GreenletExit):
        parked.wait()
    killer.join()


def test_kill_from_a_coroutine(run_async):
    async def main():
        steps = []

        def parked():
            try:
                sleep(1000)
            finally:
                steps.append(asyncio.current_task())

        thread = spawn(parked)
        await asyncio.sleep(0)
        thread.kill()
        # Not inside this Task's step.
        assert steps == []
        with pytest.raises(asyncio.CancelledError):
            await thread
        assert steps == [None]

    run_async(main)


@pytest.mark.parametrize("first", ["wake", "kill", "timeout"])
@pytest.mark.parametrize("second", ["wake", "kill", "timeout"])
def test_wake_kill_and_timeout_in_one_turn(hub_name, first, second):
    class Stop(Exception):
        pass

    gate = event.Event()
    outcomes = []

    def parked():
        timeout = greenio.Timeout(1000, Stop)
        for wait in (gate.wait, lambda: sleep(0), lambda: sleep(0.001)):
            try:
                wait()
            except (Stop, ZeroDivisionError) as error:
                outcomes.append(type(error).__name__)
            else:
                outcomes.append("ok")
        timeout.cancel()
        return "end"

    thread = spawn(parked)
    sleep(0)

    def act(what):
        if what == "wake":
            if not gate.ready():
                gate.send()
        else:
            error = Stop if what == "timeout" else ZeroDivisionError
            greenio.hubs.get_hub().schedule_call_global(0, thread.throw, error)

    act(first)
    act(second)
    # However they meet, each wait ends once, and the thread reaches its end.
    assert thread.wait() == "end"
    assert len(outcomes) == 3


def test_cancel_only_what_has_not_started(hub_name):
    ran = []
    unstarted, started = spawn(ran.append, 1), spawn(sleep, 0)
    unstarted.cancel()
    sleep(0)
    started.cancel()
    started.wait()
    assert ran == []
    assert unstarted.dead


def test_parked_thread_that_nobody_knows_gets_greenletexit(hub_name):
    steps = []

    def parked():
        try:
            greenio.hubs.get_hub().switch()
        except greenlet.GreenletExit:
            steps.append("exit")
            raise

    spawn(parked)
    sleep(0)
    sleep(0)
    assert steps == ["exit"]
