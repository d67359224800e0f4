"""`greenio.debug.set_tracer`: green threads that are spawned, start, switch and end."""

from __future__ import annotations

import asyncio

import greenlet
import pytest

import greenio
from greenio import debug, hubs, sleep, spawn
from greenio._greenthread.thread import GreenThread


class Recorder(debug.Tracer):
    def __init__(self):
        self.events = []
        self.switches = 0

    def spawned(self, thread):
        self.events.append(("spawned", thread.name))

    def started(self, thread):
        assert greenio.getcurrent() is thread
        self.events.append(("started", thread.name))

    def switched(self, origin, target):
        assert origin is not target
        self.switches += 1

    def ended(self, thread, error):
        assert thread.dead
        outcome = repr(error) if isinstance(error, Exception) else error
        if isinstance(error, greenlet.GreenletExit):
            outcome = "killed"
        self.events.append(("ended", thread.name, outcome))


@pytest.fixture
def recorder():
    recorder = Recorder()
    assert debug.set_tracer(recorder) is None
    yield recorder
    assert debug.set_tracer(None) is recorder
    assert GreenThread.__init__.__qualname__ == "GreenThread.__init__"
    assert greenlet.gettrace() is None


def returns():
    sleep(0)
    return 5


def fails():
    raise ValueError("mine")


def test_a_life(hub_name, recorder):
    assert spawn(returns).wait() == 5
    sleep(0)
    assert recorder.events == [
        ("spawned", "returns"),
        ("started", "returns"),
        ("ended", "returns", None),
    ]
    # There and back, and once more for the sleep.
    assert recorder.switches >= 4


def test_a_tracer_that_fails_disturbs_nobody(hub_name, caplog):
    class Failing(debug.Tracer):
        def spawned(self, *args):
            raise LookupError("a tracer's own")

    assert debug.set_tracer(Failing()) is None
    try:
        assert spawn(returns).wait() == 5
    finally:
        debug.set_tracer(None)
    assert "failed in spawned()" in caplog.text
    assert "a tracer's own" in caplog.text


def test_ends_of_other_kinds(hub_name, recorder):
    thread = spawn(fails)
    with pytest.raises(ValueError, match="mine"):
        thread.wait()
    never = spawn(returns)
    never.kill()
    waits = spawn(sleep, 1000)
    sleep(0)
    waits.kill()
    sleep(0)
    ends = [event[1:] for event in recorder.events if event[0] == "ended"]
    assert ends == [
        ("fails", "ValueError('mine')"),
        ("returns", "killed"),
        ("sleep", "killed"),
    ]
    starts = [event[1] for event in recorder.events if event[0] == "started"]
    assert starts == ["fails", "sleep"]


def test_a_failure_that_nobody_asks_for_is_reported_still(hub_name, recorder):
    reports = []
    hubs.get_hub().loop.set_exception_handler(
        lambda loop, context: reports.append(context["exception"])
    )
    spawn(fails)
    sleep(0)
    assert recorder.events[-1] == ("ended", "fails", "ValueError('mine')")
    assert [repr(error) for error in reports] == ["ValueError('mine')"]


def test_pools_and_run_green(run_async, recorder):
    async def main():
        for _ in range(3):
            assert await greenio.run_green(returns) == 5
        pool = greenio.GreenPool(2)
        await asyncio.wait([asyncio.ensure_future(await pool.spawn_async(returns))])

    run_async(main)
    count = [event[0] for event in recorder.events if "returns" in event[1]]
    assert count.count("spawned") == count.count("started") == count.count("ended") == 4


def test_without_a_tracer_nothing_is_changed(run_async):
    """Those from before it are not told of, nor are those after it."""
    init, kill = GreenThread.__init__, GreenThread._kill_unstarted
    recorder = Recorder()

    async def main():
        await greenio.run_green(returns)
        debug.set_tracer(recorder)
        await greenio.run_green(returns)
        debug.set_tracer(None)
        await greenio.run_green(returns)

    run_async(main)
    assert len(recorder.events) == 3
    assert (GreenThread.__init__, GreenThread._kill_unstarted) == (init, kill)
    assert greenlet.gettrace() is None


def test_a_tracer_that_fails_is_logged(hub_name, caplog):
    class Failing(debug.Tracer):
        def started(self, thread):
            raise RuntimeError("the tracer's")

    debug.set_tracer(Failing())
    try:
        assert spawn(returns).wait() == 5
    finally:
        debug.set_tracer(None)
    assert "failed in started()" in caplog.text


def test_another_trace_function_goes_on(hub_name):
    seen = []
    greenlet.settrace(lambda event, args: seen.append(event))
    try:
        recorder = Recorder()
        debug.set_tracer(recorder)
        spawn(returns).wait()
        both = len(seen)
        debug.set_tracer(None)
        spawn(returns).wait()
        assert len(seen) > both > 0
        assert len(recorder.events) == 3
    finally:
        greenlet.settrace(None)


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"subclass of debug\.Tracer"):
        debug.set_tracer(print)


def test_a_tracer_that_fails_is_logged_and_ends_nobody(hub_name, caplog):
    class Broken(debug.Tracer):
        def started(self, thread):
            raise LookupError("the tracer's own mistake")

    debug.set_tracer(Broken())
    try:
        assert spawn(len, "abc").wait() == 3
    finally:
        debug.set_tracer(None)
    assert "failed in started()" in caplog.text
    assert "the tracer's own mistake" in caplog.text
