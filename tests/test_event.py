"""`greenio.event.Event`."""

from __future__ import annotations

import asyncio
import threading
import traceback

import pytest
from greenlet import GreenletExit

import greenio
from _support import KINDS, settle, until
from greenio.event import AlreadySentError, Event

pytestmark = pytest.mark.usefixtures("hub_name")


class Boom(Exception):
    pass


def test_what_was_sent_is_there_for_everybody_now_and_later():
    event = Event()
    early = [greenio.spawn(event.wait) for _ in range(3)]
    settle()
    assert event.statistics().waiting == 3
    assert not any(thread.dead for thread in early)
    event.send("result")
    assert event.statistics().waiting == 0
    assert [thread.wait() for thread in early] == ["result"] * 3
    assert event.wait() == "result"


def test_sending_nothing_sends_none():
    event = Event()
    event.send()
    assert event.ready()
    assert event.wait() is None


def test_the_sender_goes_on_before_the_waiters():
    order = []
    event = Event()

    def waiter():
        event.wait()
        order.append("waiter")

    thread = greenio.spawn(waiter)
    settle()
    event.send(1)
    order.append("sender")
    thread.wait()
    assert order == ["sender", "waiter"]


@pytest.mark.parametrize(
    "args",
    [(Boom("x"),), (Boom, "x"), (Boom, ("x",)), (Boom, Boom("x"))],
    ids=["instance", "class and value", "class and tuple", "class and instance"],
)
def test_an_exception_is_raised_in_every_waiter(args):
    event = Event()
    thread = greenio.spawn(event.wait)
    settle()
    event.send_exception(*args)
    for wait in (thread.wait, event.wait, event.poll, event.poll_exception):
        with pytest.raises(Boom, match="x"):
            wait()
    assert event.poll_result("none") == "none"
    assert event.has_exception()
    assert not event.has_result()


def test_send_takes_an_exception_too():
    event = Event()
    event.send(exc=Boom("one"))
    with pytest.raises(Boom, match="one"):
        event.wait()
    event.reset()
    event.send(exc=(Boom, "two"))
    with pytest.raises(Boom, match="two"):
        event.wait()


def test_send_exception_without_arguments_ends_the_waiter():
    event = Event()
    event.send_exception()
    with pytest.raises(GreenletExit):
        event.wait()


def test_poll_before_anything_is_sent():
    event = Event()
    assert not event.ready()
    assert not event.has_result()
    assert not event.has_exception()
    assert event.poll() is None
    assert event.poll("no") == "no"
    assert event.poll_result("no") == "no"
    assert event.poll_exception("no") == "no"


def test_poll_after_a_result():
    event = Event()
    event.send(0)
    assert event.poll("no") == 0
    assert event.poll_result("no") == 0
    assert event.poll_exception("no") == "no"
    assert event.has_result()
    assert not event.has_exception()


def test_sending_twice_names_reset():
    event = Event()
    event.send(1)
    for send, what in ((event.send, 2), (event.send_exception, Boom)):
        with pytest.raises(AssertionError, match=r"reset\(\)") as caught:
            send(what)
        assert isinstance(caught.value, AlreadySentError)
    assert event.wait() == 1


def test_what_is_no_exception_cannot_be_sent_as_one():
    event = Event()
    with pytest.raises(TypeError, match="not 2"):
        event.send_exception(2)
    with pytest.raises(TypeError, match="not 'text'"):
        event.send(exc="text")
    assert not event.ready()


def test_reset_makes_it_usable_again():
    event = Event()
    event.send(1)
    event.reset()
    assert not event.ready()
    thread = greenio.spawn(event.wait)
    settle()
    event.send(2)
    assert thread.wait() == 2


def test_reset_of_an_unsent_event_is_refused():
    event = Event()
    with pytest.raises(AssertionError, match="not sent"):
        event.reset()


def test_a_reset_does_not_take_the_result_from_those_it_was_sent_to():
    event = Event()
    thread = greenio.spawn(event.wait)
    settle()
    event.send("first")
    event.reset()
    event.send("second")
    assert thread.wait() == "first"
    assert event.wait() == "second"


def test_a_time_limit_returns_none():
    event = Event()
    assert event.wait(0.001) is None
    assert event.wait(timeout=0) is None
    assert event.statistics().waiting == 0
    event.send("there")
    assert event.wait(0) == "there"
    assert event.wait(5) == "there"


def test_a_time_limit_that_is_not_a_number_is_refused():
    event = Event()
    with pytest.raises(ValueError, match="timeout in seconds"):
        event.wait(float("nan"))


def test_a_time_limit_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="timeout in seconds"):
        Event().wait("soon")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("timeout", [float("inf"), 1e300, 1e12])
def test_very_long_is_for_ever(cast, kind, timeout):
    event = Event()
    actor = cast.start(kind, event, "wait", timeout)
    until(lambda: event.statistics().waiting == 1)
    event.send(3)
    assert actor.outcome() == 3


@pytest.mark.parametrize("kind", KINDS)
def test_raising_again_and_again_does_not_grow_the_traceback(cast, kind):
    event = Event()
    event.send_exception(Boom("shared"))
    lengths = []
    for _ in range(4):
        actor = cast.start(kind, event, "wait")
        with pytest.raises(Boom) as caught:
            actor.outcome()
        lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(set(lengths)) == 1


def test_a_killed_waiter_leaves():
    event = Event()
    thread = greenio.spawn(event.wait)
    settle()
    assert event.statistics().waiting == 1
    thread.kill()
    assert event.statistics().waiting == 0
    event.send(1)


def test_a_timeout_around_a_wait_leaves():
    event = Event()
    with pytest.raises(greenio.Timeout), greenio.Timeout(0.001):
        event.wait()
    assert event.statistics().waiting == 0


def test_a_signal_like_send_from_a_thread_wakes_a_sleeping_loop():
    event = Event()
    starter = threading.Timer(0.02, event.send, ["from outside"])
    starter.start()
    # Nothing else keeps the loop awake meanwhile.
    assert event.wait() == "from outside"
    starter.join()


def test_from_a_coroutine(run_async):
    async def main():
        event = Event()
        task = asyncio.ensure_future(event.wait_async())
        await asyncio.sleep(0)
        with pytest.raises(greenio.BlockingInLoopError, match="_async"):
            event.wait()
        assert event.wait(0) is None
        assert await event.wait_async(0) is None
        assert await event.wait_async(0.001) is None
        assert event.statistics().waiting == 1
        event.send(7)
        assert await task == 7
        assert event.wait() == 7
        assert await event.wait_async() == 7
        return "done"

    assert run_async(main) == "done"


def test_a_subclass_and_attributes_of_the_users():
    class Named(Event):
        pass

    event = Named()
    event.name = "mine"
    assert "Named" in repr(event)
    event.send("shown")
    assert "shown" in repr(event)
    event.reset()
    event.send_exception(Boom("seen"))
    assert "seen" in repr(event)


def test_many_waiters_leaving_in_any_order():
    event = Event()
    threads = [greenio.spawn(event.wait) for _ in range(200)]
    settle()
    for thread in threads[50:150]:
        thread.kill()
    for thread in reversed(threads[:50]):
        thread.kill()
    assert event.statistics().waiting == 50
    event.send("the rest")
    assert [thread.wait() for thread in threads[150:]] == ["the rest"] * 50


def test_from_a_finalizer():
    event = Event()

    class Closing:
        def __del__(self):
            event.send("collected")

    thread = greenio.spawn(event.wait)
    until(lambda: event.statistics().waiting == 1)
    resource = Closing()
    del resource
    assert thread.wait() == "collected"
