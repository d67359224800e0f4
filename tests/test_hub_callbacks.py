"""What eventlet's hubs offer beside green threads: callbacks, timers, and what they wait for."""

from __future__ import annotations

import os

import pytest

import greenio
from _support import settle, until
from greenio import debug, hubs, sleep, spawn
from greenio.hubs import IOClosed
from greenio.hubs.hub import DebugListener, FdListener
from greenio.hubs.timer import LocalTimer, Timer

pytestmark = pytest.mark.usefixtures("hub_name")


@pytest.fixture
def hub():
    return hubs.get_hub()


@pytest.fixture
def failures(hub):
    """What goes to the loop's exception handler."""
    found = []
    sleep(0)
    hub.loop.set_exception_handler(lambda _loop, context: found.append(context))
    yield found
    hub.loop.set_exception_handler(None)


@pytest.fixture
def several():
    debug.hub_prevent_multiple_readers(False)
    yield
    debug.hub_prevent_multiple_readers(True)


def nothing(*_):
    pass


# -- descriptors ----------------------------------------------------------------------------


def test_a_callback_is_called_each_time_until_it_is_removed(hub, ends):
    reader, writer = ends
    got = []
    listener = hub.add(
        hub.READ, reader, lambda fd: got.append(os.read(fd, 10)), nothing, None
    )
    assert isinstance(listener, FdListener)
    assert (listener.evtype, listener.fileno, listener.spent) == ("read", reader, False)
    assert listener.greenlet is greenio.getcurrent()
    for data in (b"one", b"two", b"three"):
        os.write(writer, data)
        until(lambda data=data: got[-1:] == [data])
    assert hub.listeners["read"] == {reader: listener}
    assert hub.get_readers() == [listener]
    assert hub.get_writers() == []
    hub.remove(listener)
    hub.remove(listener)
    assert hub.get_readers() == []
    os.write(writer, b"unseen")
    settle()
    assert len(got) == 3
    assert os.read(reader, 10) == b"unseen"


def test_a_descriptor_keeps_its_flags(hub, ends):
    reader, _ = ends
    assert os.get_blocking(reader)
    listener = hub.add(hub.READ, reader, nothing, nothing, None)
    assert os.get_blocking(reader)
    hub.remove(listener)
    assert os.get_blocking(reader)


def test_waiting_as_eventlets_trampoline_does(hub, ends):
    reader, writer = ends
    current = greenio.getcurrent()
    listener = hub.add(hub.READ, reader, current.switch, current.throw, nothing)
    greenio.spawn_after(0.001, os.write, writer, b"x")
    try:
        assert hub.switch() == reader
    finally:
        hub.remove(listener)
    assert os.read(reader, 10) == b"x"


def test_writing(hub, ends):
    _, writer = ends
    got = []

    def once(fd):
        got.append(fd)
        hub.remove(listener)

    listener = hub.add(hub.WRITE, writer, once, nothing, None)
    assert hub.get_writers() == [listener]
    until(lambda: got)
    settle()
    assert got == [writer]


@pytest.mark.parametrize(
    "close", ["notify_close", "remove_descriptor", "mark_as_reopened"]
)
def test_closing_tells_who_waits(hub, ends, close):
    reader, _ = ends
    told = []
    listener = hub.add(
        hub.READ,
        reader,
        lambda _fd: told.append("ready"),
        lambda error: told.append(type(error)),
        lambda: told.append("closed"),
    )
    getattr(hub, close)(reader)
    until(lambda: len(told) == 2)
    assert told == ["closed", IOClosed]
    assert listener.spent
    hub.remove(listener)
    # What is called then does nothing.
    listener.cb(reader)


def test_a_second_one_is_refused(hub, ends):
    reader, _ = ends
    listener = hub.add(hub.READ, reader, nothing, nothing, None)
    with pytest.raises(greenio.SimultaneousUseError):
        hub.add(hub.READ, reader, nothing, nothing, None)
    waiting = spawn(hubs.trampoline, reader, read=True)
    with pytest.raises(greenio.SimultaneousUseError):
        waiting.wait()
    hub.remove(listener)


def test_several_in_turn(hub, ends, several):
    reader, writer = ends
    got = []

    def make(name):
        def called(_fd):
            got.append(name)
            hub.remove(listeners[name])

        return called

    listeners = {
        name: hub.add(hub.READ, reader, make(name), nothing, None) for name in "abc"
    }
    assert hub.secondaries["read"] == {reader: [listeners["b"], listeners["c"]]}
    hub.remove(listeners["b"])
    os.write(writer, b"x")
    until(lambda: len(got) == 2)
    assert got == ["a", "c"]
    assert hub.secondaries == {"read": {}, "write": {}}


def test_a_callback_that_fails_is_reported_and_removed(hub, ends, failures):
    reader, writer = ends

    def fail(_fd):
        raise ValueError("no")

    hub.add(hub.READ, reader, fail, nothing, None)
    os.write(writer, b"x")
    until(lambda: failures)
    until(lambda: not hub.get_readers())
    (failure,) = failures
    assert isinstance(failure["exception"], ValueError)
    assert str(reader) in failure["message"]


def test_what_cannot_be_added(hub, ends, tmp_path):
    reader, _ = ends
    with pytest.raises(ValueError, match=r"hub\.READ"):
        hub.add("both", reader, nothing, nothing, None)
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError):
        hub.add(hub.READ, file.fileno(), nothing, nothing, None)
    assert hub.get_readers() == []


def test_listeners_of_green_threads_look_the_same(hub, ends):
    reader, _ = ends
    waiting = spawn(hubs.trampoline, reader, read=True)
    until(lambda: hub.get_readers())
    (listener,) = hub.get_readers()
    assert (listener.evtype, listener.fileno, listener.spent) == ("read", reader, False)
    assert listener.greenlet is waiting
    assert (listener.cb, listener.tb) == (waiting.switch, waiting.throw)
    listener.mark_as_closed()
    with pytest.raises(IOClosed):
        waiting.wait()
    assert listener.spent
    assert listener.cb is listener.tb is listener.greenlet is None


def test_debug_listeners_know_where_they_were_added(hub, ends):
    reader, _ = ends
    hub.set_debug_listeners(True)
    listener = hub.add(hub.READ, reader, nothing, nothing, None)
    hub.set_debug_listeners(False)
    assert isinstance(listener, DebugListener)
    assert "test_debug_listeners_know_where" in listener.where_called
    assert listener.where_called in repr(listener)
    hub.remove(listener)
    assert type(hub.add(hub.READ, reader, nothing, nothing, None)) is FdListener
    hub.remove(hub.get_readers()[0])


# -- timers ---------------------------------------------------------------------------------


def test_a_timer_made_by_hand():
    called = []
    timer = Timer(0.001, called.append, 1)
    assert (timer.pending, timer.called, timer.scheduled_time) == (True, False, None)
    assert (timer.seconds, timer.tpl) == (0.001, (called.append, (1,), {}))
    again = timer.copy()
    assert timer.schedule() is timer
    assert timer.scheduled_time > 0
    # It counts once.
    timer.schedule()
    until(lambda: called)
    assert (timer.pending, timer.called, called) == (False, True, [1])
    again.schedule()
    again.cancel()
    again.cancel()
    assert (again.pending, again.called) == (False, True)
    # What is due after it is called, and it is not.
    Timer(0.001, called.append, 2).schedule()
    until(lambda: called[1:])
    assert called == [1, 2]
    with pytest.raises(ValueError, match="copy it before"):
        timer.copy()
    assert "called" in repr(timer)
    assert "canceled" in repr(again)
    assert hubs.get_hub().get_timers_count() == 0


def test_a_timer_called_by_hand_is_not_called_again():
    called = []
    timer = Timer(0, called.append, 1).schedule()
    timer()
    timer()
    sleep(0)
    sleep(0)
    assert called == [1]


def test_a_timer_of_a_programs_own_kind(hub):
    called = []

    class Loud(Timer):
        def __call__(self, *args):
            called.append("before")
            super().__call__(*args)

    Loud(0, called.append, 1).schedule()

    class Anything:
        seconds = 0

        def __call__(self):
            called.append("anything")

    assert hub.add_timer(Anything()) <= hub.clock()
    until(lambda: len(called) == 3)
    assert sorted(called, key=str) == [1, "anything", "before"]


def test_a_local_timer_ends_with_its_greenlet(hub):
    called = []

    def short():
        mine = LocalTimer(0.001, called.append, "mine").schedule()
        theirs = hub.schedule_call_local(0.001, called.append, "theirs")
        assert mine.greenlet is theirs.greenlet is greenio.getcurrent()
        assert mine.pending
        assert theirs.pending
        return mine, theirs

    timers = spawn(short).wait()
    assert [timer.pending for timer in timers] == [False, False]
    stays = hub.schedule_call_local(0.002, called.append, "main")
    until(lambda: called)
    assert called == ["main"]
    assert type(stays) is LocalTimer
    assert type(hub.schedule_call_global(0, nothing)) is Timer
    until(lambda: hub.get_timers_count() == 0)


def test_what_is_due(hub):
    assert hub.next_timers == []
    later = hub.schedule_call_global(50, nothing)
    sooner = hub.schedule_call_global(20, nothing)
    assert [timer for _, timer in hub.next_timers] == [sooner, later]
    now = hub.clock()
    assert 10 < hub.next_timers[0][0] - now < 30
    assert 10 < hub.sleep_until() - now < 30
    hub.fire_timers(now + 30)
    assert [timer for _, timer in hub.next_timers] == [later]
    assert sooner.called
    hub.timer_canceled(later)
    assert hub.next_timers == []
    assert sorted([later, sooner]) == sorted([sooner, later], key=id)
    hub.prepare_timers()


def test_a_timers_failure_is_reported(hub, failures):
    def fail():
        raise ValueError("no")

    Timer(0, fail).schedule()
    until(lambda: failures)
    assert isinstance(failures[0]["exception"], ValueError)


# -- the rest -------------------------------------------------------------------------------


def test_its_state(hub):
    sleep(0)
    assert hub.running
    assert not hub.stopping
    assert hub.greenlet is spawn(greenio.getcurrent).wait().parent
    assert hub.clock() == hub.loop.time() or hub.clock() > 0
    assert hub.timers_canceled == 0
    assert (KeyboardInterrupt, SystemExit) == hub.SYSTEM_EXCEPTIONS
    assert (hub.READ, hub.WRITE) == ("read", "write")
    assert hub.default_sleep() == 60
    hub.ensure_greenlet()
    hub.block_detect_pre()
    hub.block_detect_post()
    hub.close_one()
    with pytest.raises(RuntimeError, match="Already running!"):
        hub.run()


def test_wait_lets_the_loop_run(hub):
    done = []
    spawn(done.append, 1)
    hub.wait(0)
    assert done == [1]
    hub.wait(0.001)
    hub.wait()


def test_wait_in_the_greenlet_of_the_loop_returns_at_once(hub):
    done = []
    hub.schedule_call_global(0, lambda: done.append(hub.wait(1000)))
    until(lambda: done)
    assert done == [None]


def test_what_is_told_of_a_closed_descriptor_may_fail(hub, failures, ends):
    def fails(error):
        raise LookupError("when it was told") from error

    hub.add(hub.READ, ends[0], nothing, fails, None)
    hubs.notify_close(ends[0])
    until(lambda: failures)
    assert [type(each["exception"]) for each in failures] == [LookupError]
    assert isinstance(failures[0]["exception"].__cause__, hubs.IOClosed)


def test_squelched_exceptions_are_reported(hub, failures, ends):
    def info():
        try:
            raise ValueError("no")
        except ValueError as exc:
            return (type(exc), exc, exc.__traceback__)

    hub.squelch_generic_exception(info())
    hub.squelch_timer_exception(Timer(0, nothing), info())
    hub.squelch_exception(ends[0], info())
    assert [type(failure["exception"]) for failure in failures] == [ValueError] * 3
    hub.set_timer_exceptions(False)
    hub.squelch_generic_exception(info())
    hub.set_timer_exceptions(True)
    assert len(failures) == 3


def test_what_it_does_not_have_says_why(hub):
    for name in ("do_poll", "register"):
        assert not hasattr(hub, name)
        with pytest.raises(AttributeError, match=r"hub\.(wait|add)"):
            getattr(hub, name)
    with pytest.raises(TypeError, match="use_hub"):
        hubs.hub.BaseHub()
    with pytest.raises(TypeError, match="use_hub"):
        hubs.poll.Hub(clock=hub.clock)


def test_prevent_multiple_readers_is_one_setting(several):
    assert hubs.hub.g_prevent_multiple_readers is False
    hubs.hub.g_prevent_multiple_readers = True
    with pytest.raises(RuntimeError, match="ALARMED"):
        hubs.hub.alarm_handler(14, None)
