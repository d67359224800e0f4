"""Calls that the standard loop had taken out of its queue when it was interrupted.

What a signal handler of the program's own raises may come between that and the call. The loop
has forgotten it then; greenio finds its own and makes up for them.
"""

from __future__ import annotations

import asyncio
import socket

import pytest

import greenio
from greenio import event, hubs, queue, semaphore


class Interruption(BaseException):
    """What a signal handler raises."""


@pytest.fixture
def interrupted(monkeypatch):
    """Have the loop interrupted before the next call that was due later."""
    hubs.use_hub("asyncio")
    run = asyncio.Handle._run
    interrupted = []

    def interrupted_run(handle):
        if not interrupted and isinstance(handle, asyncio.TimerHandle):
            interrupted.append(handle._callback)
            raise Interruption
        return run(handle)

    monkeypatch.setattr(asyncio.Handle, "_run", interrupted_run)
    return interrupted


def _sleep():
    greenio.sleep(0.001)


def _timeout():
    with pytest.raises(greenio.Timeout), greenio.Timeout(0.001):
        event.Event().wait()


def _wait():
    assert event.Event().wait(timeout=0.001) is None


def _get():
    with pytest.raises(queue.Empty):
        queue.Queue().get(timeout=0.001)


def _acquire():
    assert not semaphore.Semaphore(0).acquire(timeout=0.001)


def _receive():
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        with pytest.raises(TimeoutError):
            hubs.trampoline(
                left.fileno(), read=True, timeout=0.001, timeout_exc=TimeoutError
            )


def _spawn_later():
    done = event.Event()
    greenio.spawn_after(0.001, done.send)
    done.wait()


def _call_later():
    done = event.Event()
    hubs.get_hub().schedule_call_global(0.001, done.send)
    done.wait()


def _call_local():
    done = event.Event()
    hubs.get_hub().schedule_call_local(0.001, done.send)
    done.wait()


def _hidden():
    with greenio.loop_hidden():
        greenio.sleep(0.001)


@pytest.mark.parametrize(
    "wait",
    [
        _sleep,
        _timeout,
        _wait,
        _get,
        _acquire,
        _receive,
        _spawn_later,
        _call_later,
        _call_local,
        _hidden,
    ],
)
def test_what_was_due_comes_all_the_same(interrupted, wait):
    waiting = greenio.spawn(wait)
    with pytest.raises(Interruption):
        waiting.wait()
    assert interrupted
    assert not waiting.dead
    waiting.wait()


def test_of_the_main_program_too(interrupted):
    done = event.Event()
    timeout = greenio.Timeout(0.001)
    for raised in (Interruption, greenio.Timeout):
        with pytest.raises(raised):
            done.wait()
    timeout.cancel()
    assert interrupted


def test_what_was_called_off_meanwhile_does_not_come(interrupted):
    done = event.Event()
    timeout = greenio.Timeout(0.001)
    with pytest.raises(Interruption):
        done.wait()
    timeout.cancel()
    assert interrupted
    # The loop has had its turn.
    greenio.sleep(0.001)
    greenio.sleep(0)
