"""Those who are due in the same tick of a loop's clock share one of its timers."""

import gc
import signal
from time import monotonic

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import floats

import greenio
from greenio import Timeout, hubs, kill, sleep, spawn
from greenio._greenthread import sleeping
from greenio._reactor.calls import DeferredCall
from greenio._reactor.moments import Moment, join_moment
from greenio.event import Event


@pytest.fixture
def hub(request, monkeypatch):
    name = getattr(request, "param", "uvloop")
    if name == "uvloop":
        pytest.importorskip("uvloop")
    else:
        # However few there are.
        monkeypatch.setattr(sleeping, "_MANY", -1)
    hubs.use_hub(name)
    hub = hubs.get_hub()
    # The loop runs from here on.
    sleep(0)
    return hub


on_both = pytest.mark.parametrize("hub", ["asyncio", "uvloop"], indirect=True)


@pytest.fixture
def clock(hub, monkeypatch):
    """Have the clock of the loop stand still."""

    class Loop:
        def __init__(self, loop):
            self._loop = loop
            self._now = round(loop.time(), 3)

        def __getattr__(self, name):
            return getattr(self._loop, name)

        def time(self):
            return self._now

    loop = Loop(hub.loop)
    monkeypatch.setattr(hub, "loop", loop)
    monkeypatch.setattr(hub.moments, "now", loop.time)
    return loop


@on_both
def test_those_of_one_tick_share_a_timer(hub, clock):
    woken = []

    def wait(name, seconds):
        sleep(seconds)
        woken.append(name)

    threads = [spawn(wait, name, 0.02) for name in "abc"]
    later = spawn(wait, "d", 0.021)
    sleep(0)
    assert [len(known().entries) for known in hub.moments.values()] == [3, 1]
    for thread in [*threads, later]:
        thread.wait()
    assert woken == ["a", "b", "c", "d"]
    assert hub.moments == {}


def test_calls_and_sleepers_come_in_the_order_in_which_they_were_made(hub, clock):
    seen = []
    first = spawn(lambda: (sleep(0.02), seen.append("first")))
    sleep(0)
    call = hub.call_later(0.02, seen.append, "call")
    last = spawn(lambda: (sleep(0.02), seen.append("last")))
    sleep(0)
    assert type(call) is DeferredCall
    assert len(hub.moments) == 1
    first.wait()
    last.wait()
    assert seen == ["first", "call", "last"]
    assert not call.pending


def test_on_asyncio_they_share_where_they_are_many():
    hubs.use_hub("asyncio")
    hub = hubs.get_hub()
    threads = [spawn(sleep, 1) for _ in range(100)]
    sleep(0)
    assert not hub.moments
    threads += [spawn(sleep, 0.01) for _ in range(100)]
    sleep(0)
    assert hub.moments
    for thread in threads:
        kill(thread)
    assert not hub.moments


@on_both
@given(seconds=floats(1e-6, 1e6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nobody_wakes_early(hub, seconds):
    before = monotonic()
    moment = join_moment(hub, seconds, greenio.getcurrent())
    after = monotonic()
    moment.leave(greenio.getcurrent())
    assert before + seconds <= moment.when() <= after + seconds + 0.00101


@on_both
def test_nobody_wakes_early_who_has_computed_before(hub):
    """The time of the loop is that of the turn's begin, with uvloop."""
    slept = []

    def work(seconds):
        ends = monotonic() + seconds
        while monotonic() < ends:
            pass
        begun = monotonic()
        sleep(0.02)
        slept.append(monotonic() - begun)

    for thread in [spawn(work, seconds) for seconds in (0, 0.01, 0.01, 0.005)]:
        thread.wait()
    assert len(slept) == 4
    assert min(slept) >= 0.02


@on_both
def test_who_is_ended_leaves_the_others_their_timer(hub, clock):
    threads = [spawn(sleep, 0.02) for _ in range(3)]
    sleep(0)
    kill(threads[0])
    assert [len(known().entries) for known in hub.moments.values()] == [2]
    threads[1].wait()
    threads[2].wait()


def test_the_last_one_takes_the_timer_along(hub, clock):
    call = hub.call_later(100, print)
    limit = Timeout(100)
    (moment,) = [known() for known in hub.moments.values()]
    call.cancel()
    assert moment.handle is not None
    limit.cancel()
    assert moment.handle is None
    assert hub.moments == {}
    # And again, which does nothing.
    call.cancel()


def test_nothing_is_left_of_time_limits_that_were_not_needed(hub):
    for number in range(1000):
        with Timeout(1000 + number / 100):
            pass
    assert hub.moments == {}
    assert not [
        thing
        for thing in gc.get_objects()
        if type(thing) is Moment and thing.is_on(hub)
    ]


@on_both
def test_a_sleep_longer_than_any_loop_waits(hub):
    for seconds in (1e12, 1e300, 1.7e308):
        thread = spawn(sleep, seconds)
        sleep(0)
        assert not thread.dead
        kill(thread)
    assert hub.moments == {}


@on_both
def test_being_resumed_early_does_not_end_a_sleep(hub):
    ended = []
    thread = spawn(lambda: (sleep(0.02), ended.append(True)))
    sleep(0)
    for _ in range(3):
        hub.wake(thread)
        sleep(0)
    assert not ended
    thread.wait()
    assert ended


def test_one_that_fails_keeps_none_of_the_others(hub, clock):
    def fail():
        sleep(0.01)
        raise LookupError("on purpose")

    def call():
        raise LookupError("called on purpose")

    thread = spawn(fail)
    sleep(0)
    hub.schedule_call_global(0.01, call)
    hub.call_later(0.01, call)
    other = spawn(sleep, 0.01)
    with pytest.raises(LookupError, match="on purpose"):
        thread.wait()
    other.wait()


@on_both
@pytest.mark.parametrize("step", ["before", "after"])
def test_an_interrupt_loses_none_of_them(hub, clock, monkeypatch, step):
    wake_all = type(hub).wake_all
    interrupted = []

    def interrupting(self, targets):
        if step == "after":
            wake_all(self, targets)
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        if step == "before":
            wake_all(self, targets)

    monkeypatch.setattr(type(hub), "wake_all", interrupting)
    threads = [spawn(sleep, 0.01) for _ in range(3)]
    called = Event()
    hub.call_later(0.01, called.send)
    with Timeout(5):
        with pytest.raises(KeyboardInterrupt):
            Event().wait()
        assert interrupted
        for thread in threads:
            thread.wait()
        called.wait()


@on_both
def test_a_signal_handler_that_sleeps_where_another_joins(hub, clock, monkeypatch):
    thread = spawn(sleep, 0.01)
    sleep(0)
    (moment,) = [known() for known in hub.moments.values()]
    slept = []

    class Entries(dict):
        """The handler runs just before somebody is written down."""

        def __setitem__(self, key, value):
            if not slept:
                slept.append(True)
                signal.raise_signal(signal.SIGUSR1)
            super().__setitem__(key, value)

    moment.entries = Entries(moment.entries)
    before = signal.signal(signal.SIGUSR1, lambda *args: sleep(0.03))
    try:
        with Timeout(5):
            sleep(0.01)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert slept
    thread.wait()


def test_a_signal_handler_that_joins_what_is_just_called_off(hub, clock):
    call = hub.call_later(0.01, print)
    (moment,) = [known() for known in hub.moments.values()]
    joined = []

    class Handle:
        def __init__(self, handle):
            self._handle = handle

        def cancel(self):
            # As if it had come between the look for others and this.
            moment.entries[id(thread)] = thread
            joined.append(thread)
            self._handle.cancel()

    ended = []
    thread = spawn(hub.switch)
    thread.link(ended.append)
    sleep(0)
    moment.handle = Handle(moment.handle)
    call.cancel()
    assert joined
    assert moment.handle is not None
    assert not ended
    thread.wait()


@pytest.mark.parametrize("hidden", [False, True], ids=["seen", "hidden"])
def test_on_other_loops_each_has_its_own_time(virtual_loop, hidden):
    seen = []

    def wait(seconds):
        sleep(seconds)
        seen.append(seconds)

    times = [0.0103, 0.0101, 0.0102]
    greenio.hide_loop(hidden)
    try:
        for thread in [spawn(wait, seconds) for seconds in times]:
            thread.wait()
    finally:
        greenio.hide_loop(False)
    assert seen == sorted(times)
