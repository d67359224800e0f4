"""Green threads that go on as the next one, and what keeps them from it: that one can tell."""

from __future__ import annotations

import contextvars
import sys
import threading

import pytest
from greenlet import getcurrent

import greenio
from _tellers import TELLERS, nothing_kept  # noqa: F401 - a fixture
from greenio import hubs, sleep, spawn, spawn_n


def bodies(functions, start=spawn_n):
    """Start functions in one turn; return who ran them, by the frame below each."""
    frames = []

    def call(function):
        frames.append(sys._getframe(1))
        function()

    for function in functions:
        start(call, function)
    sleep(0)
    assert len(frames) == len(functions)
    return [frames.index(frame) for frame in frames]


def nothing():
    pass


def test_one_runs_what_nobody_refers_to(hub_name):
    assert bodies([nothing] * 5) == [0] * 5
    assert bodies([nothing] * 5, spawn) == [0] * 5


def test_a_new_one_for_who_is_referred_to(hub_name):
    threads = []

    def start(*call):
        threads.append(spawn_n(*call))

    assert bodies([nothing] * 3, start) == [0, 1, 2]
    assert [thread.wait() for thread in threads] == [None] * 3


@pytest.mark.parametrize("act", TELLERS)
def test_a_new_one_after_who_can_be_told_from_others(hub_name, act):
    assert bodies([nothing, act, nothing, nothing]) == [0, 0, 2, 2]


def test_a_link_is_called_once(hub_name):
    seen = []

    def link():
        getcurrent().link(seen.append)

    bodies([link, nothing])
    assert len(seen) == 1
    assert seen[0].wait() is None


def test_each_has_its_own_context(hub_name):
    variable = contextvars.ContextVar("variable", default=0)
    seen = []

    def look():
        seen.append(variable.get())
        variable.set(-1)

    for number in range(3):
        variable.set(number)
        spawn_n(look)
    sleep(0)
    assert seen == [0, 1, 2]
    assert variable.get() == 2


def test_each_has_its_name_and_starts_afresh(hub_name):
    def first():
        seen.append((getcurrent()._name, getcurrent().dead, repr(getcurrent())))

    def second():
        seen.append((getcurrent()._name, getcurrent().dead, repr(getcurrent())))

    seen = []
    spawn_n(first)
    spawn_n(second)
    sleep(0)
    assert [name.rpartition(".")[2] for name, _, _ in seen] == ["first", "second"]
    assert all(not dead and "running" in text for _, dead, text in seen)


def test_who_waits_or_fails_goes_on_as_nobody(hub_name):
    def wait():
        sleep(0)
        done.append(1)

    def fail():
        raise ZeroDivisionError("it")

    done, reports = [], []
    hubs.get_hub().loop.set_exception_handler(
        lambda _, context: reports.append(context)
    )
    assert bodies([nothing, wait, nothing, fail, nothing]) == [0, 0, 2, 2, 4]
    sleep(0)
    assert done == [1]
    assert len(reports) == 1


def test_who_was_killed_before_the_start_is_not_run(hub_name):
    ran = []
    spawn_n(ran.append, 1)
    killed = spawn_n(ran.append, 2)
    spawn_n(ran.append, 3)
    killed.kill()
    sleep(0)
    assert ran == [1, 3]


def test_order_is_kept_among_others(hub_name):
    def yielding(name):
        for turn in range(3):
            seen.append((name, turn))
            sleep(0)

    seen = []
    spawn_n(yielding, "a")
    spawn_n(seen.append, "one")
    spawn_n(seen.append, "two")
    spawn_n(yielding, "b")
    for _ in range(4):
        sleep(0)
    assert seen[:4] == [("a", 0), "one", "two", ("b", 0)]
    assert seen[4:] == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_those_that_see_no_loop(hub_name):
    with greenio.loop_hidden():
        bodies([nothing] * 3)


def test_threads_of_other_kinds_are_not_mixed_up(hub_name):
    pool = greenio.GreenPool(2)
    ran = []
    for number in range(6):
        pool.spawn_n(ran.append, number)
        spawn_n(ran.append, -number)
    pool.waitall()
    sleep(0)
    assert sorted(ran) == sorted([*range(6), *(-number for number in range(6))])
    assert pool.running() == 0


def test_they_end_in_their_own_os_thread():
    seen = []

    def run():
        greenio.hubs.get_hub()
        spawn_n(seen.append, 1)
        spawn_n(seen.append, 2)
        sleep(0)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [1, 2]
