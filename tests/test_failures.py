"""Failures of green threads that nobody waits for: seen when they happen, and once."""

from __future__ import annotations

import functools
import gc
import textwrap

import pytest

import greenio
from _fresh import python
from _support import settle
from greenio import GreenPile, GreenPool, greenthread


class Custom(Exception):
    pass


def fail():
    raise Custom("inside")


@pytest.fixture
def reported(hub_name):
    contexts = []
    greenio.hubs.get_hub().loop.set_exception_handler(
        lambda loop, context: contexts.append(context)
    )
    return contexts


def _messages(reported):
    return [context["message"] for context in reported]


def test_the_report_names_the_function_and_the_green_thread(reported):
    thread = greenio.spawn(fail)
    settle()
    (context,) = reported
    assert "fail, failed" in context["message"]
    assert context["greenthread"] is thread
    assert isinstance(context["exception"], Custom)
    assert "source_traceback" not in context


def test_in_debug_mode_it_tells_where_it_was_spawned(reported):
    greenio.hubs.get_hub().loop.set_debug(True)
    thread = greenio.spawn(fail)
    settle()
    (context,) = reported
    innermost = context["source_traceback"][-1]
    assert innermost.name == test_in_debug_mode_it_tells_where_it_was_spawned.__name__
    assert thread.dead


@pytest.mark.parametrize("spawn_late", [greenthread.spawn_after, None])
def test_spawned_later_or_for_nobody(reported, spawn_late):
    if spawn_late is None:
        greenio.spawn_n(fail)
    else:
        spawn_late(0, fail)
    settle()
    assert len(reported) == 1


def test_a_link_that_asks_is_enough(reported):
    seen = []
    thread = greenio.spawn(fail)

    def ask(ended):
        with pytest.raises(Custom):
            ended.wait()
        seen.append(ended)

    thread.link(ask)
    settle()
    assert seen == [thread]
    assert reported == []


def test_a_link_that_does_not_ask_is_not(reported):
    thread = greenio.spawn(fail)
    thread.link(lambda ended: None)
    settle()
    assert len(reported) == 1


def test_who_is_killed_while_waiting_did_not_see_it(reported):
    thread = greenio.spawn(fail)
    waiter = greenio.spawn(thread.wait)
    waiter.kill()
    settle()
    assert len(reported) == 1


@pytest.mark.parametrize(
    "consume",
    [
        lambda: list(GreenPool(4).imap(lambda _: fail(), range(1))),
        lambda: list(GreenPool(4).imap_unordered(lambda _: fail(), range(1))),
        lambda: _pile(),
        lambda: greenio.joinall([greenio.spawn(fail)], raise_error=True),
        lambda: greenio.spawn(lambda: greenio.spawn(fail).wait()).wait(),
        lambda: _group(),
    ],
    ids=["imap", "imap_unordered", "pile", "joinall", "nested", "group"],
)
def test_whose_failure_is_taken_is_not_reported(reported, consume):
    with pytest.raises((Custom, Exception)) as caught:
        consume()
    error = caught.value
    assert "inside" in str(getattr(error, "exceptions", [error])[0])
    del caught, error
    gc.collect()
    assert reported == []


def _pile():
    pile = GreenPile(4)
    pile.spawn(fail)
    settle()
    list(pile)


def _group():
    with greenio.GreenGroup() as group:
        group.spawn(fail)


def test_what_a_joiner_does_not_ask_for_is_reported_in_the_end(reported):
    greenio.joinall([greenio.spawn(fail)])
    gc.collect()
    assert len(reported) == 1


def test_repr_keeps_the_name_for_life(reported):
    def states(thread, *steps):
        yield repr(thread)
        for step in steps:
            step()
            yield repr(thread)

    def named():
        greenio.sleep(100)

    thread = greenio.spawn(named)
    texts = list(states(thread, settle, thread.kill))
    for text, state in zip(texts, ("not started", "parked", "killed"), strict=True):
        assert f"named, {state} at" in text
    done = greenio.spawn(functools.partial(int, "3"))
    done.wait()
    assert "int, done" in repr(done)
    failed = greenio.spawn(fail)
    settle()
    assert "fail, failed" in repr(failed)
    unstarted = greenio.spawn(named)
    unstarted.kill()
    assert "named, cancelled" in repr(unstarted)


def test_links_after_a_failing_link_are_called(reported):
    called = []
    thread = greenio.spawn(int)

    def kill_yourself(ended):
        raise greenio.greenlet.GreenletExit

    def time_out(ended):
        raise greenio.Timeout(None)

    def misbehave(ended):
        raise Custom("in a link")

    for link in (kill_yourself, time_out, misbehave, called.append):
        thread.link(link)
    assert thread.wait() == 0
    settle()
    assert called == [thread]
    assert len(reported) == 2
    assert any("misbehave" in message for message in _messages(reported))


def test_links_are_taken_back_by_what_they_were_made_with(hub_name):
    called = []
    thread = greenio.spawn(int)

    def note(ended, *args, **kwargs):
        called.append((args, kwargs))

    for args, kwargs in (((1,), {}), (([],), {}), ((1,), {}), ((), {"a": {}})):
        thread.link(note, *args, **kwargs)
    assert thread.unlink(note, [])
    assert thread.unlink(note, a={})
    assert thread.unlink(note, 1)
    assert not thread.unlink(note, 2)
    thread.wait()
    settle()
    assert called == [((1,), {})]


def test_a_link_that_cannot_be_called_is_refused_at_once(hub_name):
    thread = greenio.spawn(int)
    with pytest.raises(TypeError, match="link"):
        thread.link(None)
    thread.wait()
    with pytest.raises(TypeError, match="link"):
        thread.link(None)


@pytest.mark.parametrize("hub", ["asyncio", "uvloop"])
def test_disabled_loggers_do_not_silence_it(hub):
    if hub == "uvloop":
        pytest.importorskip("uvloop")
    program = """
        import logging.config, greenio
        greenio.sleep(0)
        logging.config.dictConfig({"version": 1})
        def fails(): raise ValueError("boom")
        keep = greenio.spawn(fails)
        greenio.sleep(0)
        greenio.sleep(0)
    """
    done = python("-c", textwrap.dedent(program), hub=hub)
    assert done.returncode == 0
    assert done.stderr.count("ValueError: boom") == 1
    assert "fails, failed" in done.stderr


def test_an_exit_in_a_link_ends_the_program_after_the_other_links():
    done = python(
        "-c",
        """if True:
        import sys, greenio
        thread = greenio.spawn(int)
        thread.link(lambda gt: sys.exit(3))
        thread.link(lambda gt: print("the other one", gt.wait()))
        greenio.sleep(1)
        print("not reached")
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "the other one 0\n", "")
