"""Green threads as eventlet's are: made of a parent alone, with their end in attributes."""

from __future__ import annotations

import pytest
from greenlet import GreenletExit

import greenio
from _support import settle
from greenio import hubs, spawn
from greenio.greenthread import GreenThread

pytestmark = pytest.mark.usefixtures("hub_name")


class Logged(GreenThread):
    """As programs subclass eventlet's."""

    def __init__(self, parent):
        super().__init__(parent)
        self.log = []

    def main(self, function, args, kwargs):
        self.log.append("begins")
        super().main(function, args, kwargs)
        self.log.append("ends")


def start(thread, function, *args, **kwargs):
    hub = hubs.get_hub()
    hub.schedule_call_global(0, thread.switch, function, args, kwargs)
    return thread


def make(cls=Logged):
    return cls(hubs.get_hub().greenlet)


def test_it_runs_what_it_is_switched_to_with():
    def add(x, y=0):
        greenio.sleep(0)
        return x + y

    thread = start(make(), add, 1, y=2)
    assert isinstance(thread, GreenThread)
    assert not thread
    assert thread.wait() == 3
    settle()
    assert thread.log == ["begins", "ends"]
    assert thread.dead
    assert "done" in repr(thread)
    assert start(make(GreenThread), add, 5).wait() == 5


def test_its_failure_is_raised_by_wait():
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        start(make(), fail).wait()


def test_links_and_context():
    told = []
    thread = make()
    thread.link(lambda thread, *args: told.append((thread, args)), 1)
    start(thread, greenio.getcurrent)
    assert thread.wait() is thread
    assert told == [(thread, (1,))]


def test_one_that_is_killed_before_it_begins_never_does():
    ran = []
    thread = start(make(), ran.append, 1)
    thread.kill()
    with pytest.raises(GreenletExit):
        thread.wait()
    settle()
    assert (ran, thread.log, thread.dead) == ([], [], True)


def test_killed_while_it_waits():
    thread = start(make(), greenio.sleep, 60)
    settle()
    thread.kill(ValueError("now"))
    with pytest.raises(ValueError, match="now"):
        thread.wait()


def test_a_main_that_runs_nothing_ends_nonetheless():
    class Idle(GreenThread):
        def main(self, function, args, kwargs):
            pass

    class Failing(GreenThread):
        def main(self, function, args, kwargs):
            raise ValueError("in main")

    assert start(make(Idle), print).wait() is None
    with pytest.raises(ValueError, match="in main"):
        start(make(Failing), print).wait()


def test_the_parent_may_be_any_greenlet():
    assert start(GreenThread(None), len, "abc").wait() == 3
    with pytest.raises(TypeError, match="spawn"):
        GreenThread(len)


def test_it_sees_no_loop_where_none_is_seen(hidden_loop):
    import asyncio

    def look():
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return "hidden"

    assert start(make(), look).wait() == "hidden"


@pytest.fixture
def hidden_loop():
    greenio.hide_loop()
    yield
    greenio.hide_loop(False)


# -- the end, in attributes -----------------------------------------------------------------


def test_exit_event():
    thread = spawn(lambda: 5)
    event = thread._exit_event
    assert not event.ready()
    assert not event.has_result()
    assert event.poll("not yet") == "not yet"
    assert event.poll_exception("none") == "none"
    assert event.wait() == 5
    assert event.ready()
    assert event.has_result()
    assert not event.has_exception()
    assert event.poll() == event.poll_result() == 5
    assert event.poll_exception("none") == "none"


def test_exit_event_of_a_failure():
    def fail():
        raise ValueError("no")

    thread = spawn(fail)
    with pytest.raises(ValueError, match="no"):
        thread._exit_event.wait()
    assert thread._exit_event.has_exception()
    assert thread._exit_event.poll_result("none") == "none"
    with pytest.raises(ValueError, match="no"):
        thread._exit_event.poll_exception()


def test_exit_funcs():
    thread = spawn(len, "")
    assert not thread._exit_funcs
    thread.link(print, 1, sep="")
    assert list(thread._exit_funcs) == [(print, (1,), {"sep": ""})]
    thread.unlink(print, 1, sep="")
    assert not thread._exit_funcs
    thread.wait()
