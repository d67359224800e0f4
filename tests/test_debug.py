"""`greenio.debug`: the monitor, and eventlet's switches and listings."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import socket
import sys
import threading
import time

import pytest

import greenio
from _fresh import run
from _support import run_on_loop, until
from greenio import debug, hubs, sleep, spawn, tpool
from greenio.event import Event

BLOCKING = 0.03


class Reports(list):
    """Collects reports; something that blocks may go on once there is one."""

    def __init__(self):
        super().__init__()
        self.came = threading.Event()

    def __call__(self, blocking):
        self.append(blocking)
        if not blocking.over:
            self.came.set()

    def block(self):
        """Keep the OS thread until the monitor has noticed."""
        assert self.came.wait(20)
        self.came.clear()

    def over(self, count):
        """Whether so many blockings have been reported, with their ends."""
        return len([report for report in self if report.over]) == count


@pytest.fixture
def reports():
    return Reports()


def blocks(reports):
    reports.block()


def test_monitor_on_a_running_loop(run_async, reports):
    """It names green threads, tasks, portals and callbacks."""

    async def blocking_coroutine():
        reports.block()

    @greenio.portal
    async def blocking_portal():
        sleep(0)
        reports.block()

    def green():
        sleep(0)
        reports.block()
        sleep(0)

    async def ended(count):
        while not reports.over(count):
            await asyncio.sleep(0.001)

    async def main():
        loop = asyncio.get_running_loop()
        with debug.monitor(BLOCKING, reports):
            await spawn(green)
            await ended(1)
            await asyncio.create_task(blocking_coroutine(), name="first")
            await ended(2)
            await asyncio.create_task(blocking_portal(), name="second")
            await ended(3)
            loop.call_soon(blocks, reports)
            await ended(4)

    run_async(main)
    assert [report.over for report in reports] == [False, True] * 4
    names = ["green thread of", "task 'first'", "task 'second'", "a callback"]
    for n, (name, function) in enumerate(
        zip(
            names,
            ["green", "blocking_coroutine", "blocking_portal", "blocks"],
            strict=True,
        )
    ):
        begun, over = reports[2 * n : 2 * n + 2]
        assert name in begun.who
        assert begun.who == over.who
        assert f"in {function}" in begun.stack
        assert "reports.block()" in begun.stack
        assert over.seconds >= begun.seconds >= BLOCKING
        assert not re.search("_kernel|_reactor", begun.stack)
        assert "run_forever" not in begun.stack.split(f"in {function}")[-1]


def test_monitor_of_a_green_program(hub_name, reports):
    monitor = debug.monitor(BLOCKING, reports)
    sleep(0)
    reports.block()
    until(lambda: reports.over(1))
    hidden = spawn(greenio.loop_hidden()(blocks), reports)
    hidden.wait()
    until(lambda: reports.over(2))
    monitor.close()
    monitor.close()
    assert reports[0].who == "the main program"
    assert "green thread of blocks" in reports[2].who


def test_monitor_names_one_after_the_other(hub_name, reports):
    """The loop gets no turn between them."""

    def blocks_next(reports):
        reports.block()

    def ours():
        return [
            each for each in reports if " of blocks" in each.who or "_next" in each.who
        ]

    with debug.monitor(BLOCKING, reports):
        sleep(0)
        threads = [spawn(blocks, reports), spawn(blocks_next, reports)]
        for thread in threads:
            thread.wait()
        until(lambda: len(ours()) == 4)
    assert [report.over for report in ours()] == [False, True] * 2
    first, next_one = ours()[1::2]
    assert "green thread of blocks at" in first.who
    assert "in blocks" in first.stack
    assert "blocks_next at" in next_one.who
    assert "in blocks_next" in next_one.stack
    assert next_one.seconds >= BLOCKING


def test_monitor_from_before_the_loop_runs(loop_factory, reports):
    """It was started by the main program, which then runs a loop of asyncio's."""

    async def main():
        await spawn(blocks, reports)
        while not reports.over(1):
            await asyncio.sleep(0.001)

    with debug.monitor(BLOCKING, reports):
        run_on_loop(loop_factory, main)
    assert "green thread of blocks" in reports[0].who


def test_monitor_leaves_a_loop_that_waits_alone(hub_name, reports):
    with debug.monitor(BLOCKING, reports):
        sleep(3 * BLOCKING)
    # Before its loop runs and after that, nobody blocks one.
    assert reports == []


def test_two_monitors_and_two_threads(hub_name, reports):
    others = Reports()

    def elsewhere():
        with debug.monitor(BLOCKING, others):
            sleep(0)
            others.block()
            until(lambda: others.over(1))
        hubs.get_hub().close()

    with debug.monitor(BLOCKING, reports):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        until(lambda: others.over(1))
        assert reports == []
        spawn(blocks, reports).wait()
        until(lambda: reports.over(1))
        thread.join()
    assert len(others) == len(reports) == 2


def test_monitor_warns_by_default(hub_name, caplog):
    with caplog.at_level(logging.WARNING, "greenio.debug"), debug.monitor(BLOCKING):

        def block():
            deadline = time.monotonic() + 20
            while not caplog.records:
                assert time.monotonic() < deadline
                time.sleep(0.001)

        sleep(0)
        spawn(block).wait()
        until(lambda: len(caplog.records) == 2)
    assert "green thread of block" in caplog.records[0].getMessage()
    assert "in block" in caplog.records[0].getMessage()
    assert "blocked the loop for" in caplog.records[1].getMessage()


def test_a_report_that_fails_is_logged(hub_name, caplog):
    came = threading.Event()

    def fail(blocking):
        came.set()
        raise KeyError("no report")

    with debug.monitor(BLOCKING, fail):
        sleep(0)
        spawn(came.wait, 20).wait()
        until(lambda: any("failed to report" in r.message for r in caplog.records))


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_monitor_wants_seconds(hub_name, seconds):
    with pytest.raises(ValueError, match="seconds above 0"):
        debug.monitor(seconds)


def test_monitor_and_the_end_of_the_loop(run_async, reports):
    """Its thread ends with the loop, and `close` may come later."""
    before = len(sys._current_frames())

    async def main():
        return debug.monitor(BLOCKING, reports)

    monitor = run_async(main)
    until(lambda: len(sys._current_frames()) == before)
    monitor.close()
    assert reports == []


def test_monitor_in_a_patched_program(loop):
    assert (
        run(
            """
            import greenio; greenio.monkey_patch()
            import os, threading, time, warnings
            from greenio import debug, patcher

            warnings.filterwarnings("ignore", "This process", DeprecationWarning)
            reports = []
            real_sleep = patcher.original("time").sleep

            # Of a busy machine, others may be reported as well.
            def ours():
                return [each for each in reports if " of blocks at " in each.who]

            def blocks():
                while not ours():
                    real_sleep(0.001)

            with debug.monitor(0.03, reports.append):
                thread = threading.Thread(target=blocks)
                thread.start()
                thread.join()
                while len(ours()) < 2:
                    time.sleep(0.001)
                pid = os.fork()
                if not pid:
                    time.sleep(0.001)
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
            print(ours()[0].who.split(" at ")[0], ours()[1].over)
            monitor = debug.monitor(60)   # until the end
            """,
            hub=loop,
        )
        == "thread 'Thread-1 (blocks)' of blocks True\n"
    )


# -- blocking detection -------------------------------------------------------------------


def test_blocking_detection(hub_name):
    before = signal.getsignal(signal.SIGALRM)
    debug.hub_blocking_detection(True, BLOCKING)
    try:

        def victim():
            sleep(0)
            with pytest.raises(
                RuntimeError, match=r"Blocking detector.*victim"
            ) as info:
                while True:
                    pass
            return str(info.value)

        assert "in victim" in spawn(victim).wait()
        sleep(BLOCKING * 2)
    finally:
        debug.hub_blocking_detection(False)
    assert signal.getsignal(signal.SIGALRM) == before
    debug.hub_blocking_detection()


# -- listings -----------------------------------------------------------------------------


def test_listeners_and_their_stacks(hub_name):
    left, right = (greenio.greenio.GreenSocket(end) for end in socket.socketpair())

    def reader():
        left.recv(1)

    thread = spawn(reader)
    until(hubs.get_hub().get_readers)
    assert f"fd={left.fileno()}" in debug.format_hub_listeners()
    assert "in reader" not in debug.format_hub_listeners()
    debug.hub_listener_stacks(True)
    try:
        assert "in reader" in debug.format_hub_listeners()
    finally:
        debug.hub_listener_stacks(False)
    assert "in reader" not in debug.format_hub_listeners()
    right.send(b"1")
    thread.wait()
    left.close()
    right.close()


def test_timers_and_their_stacks(hub_name):
    def make():
        return greenio.call_after_global(600, print)

    plain = make()
    debug.hub_timer_stacks(True)
    try:
        noted = make()
    finally:
        debug.hub_timer_stacks(False)
    later = make()
    text = debug.format_hub_timers()
    assert text.startswith("TIMERS:\n  in ")
    assert text.count("spawn_n") == 3
    assert text.count("in make") == 1
    for timer in (plain, noted, later):
        timer.cancel()
    assert debug.format_hub_timers() == "TIMERS:"


def test_threads_info(hub_name):
    thread = spawn(Event().wait)
    sleep(0)
    assert "parked" in debug.format_threads_info()
    assert debug.format_asyncio_info().startswith("<Hub owned")
    thread.kill()


# -- the rest -----------------------------------------------------------------------------


def test_tpool_exceptions(hub_name, capfd):
    def fail():
        raise KeyError("in the pool")

    for state in (False, True, False):
        debug.tpool_exceptions(state)
        with pytest.raises(KeyError):
            tpool.execute(fail)
        assert ("in the pool" in capfd.readouterr().err) is state


def test_spew(capsys):
    def traced():
        value = 5
        return value + 1

    before = sys.gettrace()
    try:
        debug.spew([__name__], show_values=True)
        traced()
    finally:
        debug.unspew()
        sys.settrace(before)
    lines = capsys.readouterr().out.splitlines()
    assert any("value = 5" in line for line in lines)
    assert "\tvalue=5" in lines
    try:
        debug.spew(["another.module"])
        traced()
    finally:
        debug.unspew()
        sys.settrace(before)
    assert capsys.readouterr().out == ""
