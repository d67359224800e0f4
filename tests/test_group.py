"""`GreenGroup`: green threads that end before the block that started them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import weakref

import pytest

import greenio
from _support import settle
from greenio import GreenGroup, Timeout, event, getcurrent, sleep

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup
from _groups import FOREVER, fail, until_killed

# -- joining ------------------------------------------------------------------------------


def test_children_have_ended_when_the_block_is_left(block):
    ended = []

    def child(turns):
        for _ in range(turns):
            sleep(0)
        ended.append(turns)
        return turns

    def body(group):
        threads.extend(group.spawn(child, turns) for turns in (3, 1, 2))
        return "left"

    threads = []
    assert block(body) == "left"
    assert sorted(ended) == [1, 2, 3]
    assert [thread.wait() for thread in threads] == [3, 1, 2]


def test_an_empty_group_is_left_at_once(block):
    assert block(lambda group: 5) == 5


def test_children_may_start_children_while_the_group_waits(block):
    order = []

    def grandchild():
        sleep(0)
        order.append("grandchild")

    def child(group):
        sleep(0)
        order.append("child")
        group.spawn(grandchild)

    block(lambda group: group.spawn(child, group))
    assert order == ["child", "grandchild"]


def test_coroutine_functions_are_children_too(block):
    async def child(x, *, y):
        await asyncio.sleep(0)
        return asyncio.current_task() is not None, x + y

    threads = []
    block(lambda group: threads.append(group.spawn(child, 1, y=2)))
    assert threads[0].wait() == (True, 3)


def test_children_get_a_copy_of_the_context(block):
    variable = contextvars.ContextVar("variable", default="unset")

    def child():
        before = variable.get()
        variable.set("child")
        return before

    def body(group):
        variable.set("body")
        threads.append(group.spawn(child))
        sleep(0)
        sleep(0)
        return variable.get()

    threads = []
    assert block(body) == "body"
    assert threads[0].wait() == "body"


def test_a_child_that_exits_or_is_killed_has_not_failed(block):
    seen = []

    def body(group):
        group.spawn(fail, greenio.greenlet.GreenletExit())
        group.spawn(fail, asyncio.CancelledError())
        group.spawn(print).kill()
        victim = group.spawn(until_killed, seen)
        settle()
        victim.kill()
        others.append(group.spawn(lambda: settle() or "ended"))
        return "body"

    others = []
    assert block(body) == "body"
    assert seen == [("child", greenio.greenlet.GreenletExit)]
    assert others[0].wait() == "ended"


# -- failures -----------------------------------------------------------------------------


def test_one_failure_ends_the_others_and_the_body(block):
    seen = []

    def body(group):
        group.spawn(until_killed, seen)
        group.spawn(fail, ValueError("first"))
        try:
            sleep(FOREVER)
        except BaseException as exc:
            seen.append(("body", type(exc)))
            raise

    with pytest.raises(ExceptionGroup) as caught:
        block(body)
    assert [repr(error) for error in caught.value.exceptions] == ["ValueError('first')"]
    interruption = (
        asyncio.CancelledError
        if block.parent == "coroutine"
        else greenio.greenlet.GreenletExit
    )
    assert sorted(seen, key=str) == [
        ("body", interruption),
        ("child", greenio.greenlet.GreenletExit),
    ]


def test_a_coroutine_child_is_cancelled(block):
    seen = []

    async def child():
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("cancelled")
            raise

    def body(group):
        group.spawn(child)
        settle()
        group.spawn(fail, ValueError())

    with pytest.raises(ExceptionGroup):
        block(body)
    assert seen == ["cancelled"]


def test_a_failure_while_the_group_waits(block):
    seen = []

    def body(group):
        group.spawn(until_killed, seen)
        group.spawn(lambda: settle() or fail(ValueError("late")))
        return "never seen"

    with pytest.raises(ExceptionGroup) as caught:
        block(body)
    assert [repr(error) for error in caught.value.exceptions] == ["ValueError('late')"]
    assert seen == [("child", greenio.greenlet.GreenletExit)]


def test_the_failures_of_all_come_together(block):
    def clumsy():
        try:
            sleep(FOREVER)
        finally:
            sleep(0)
            raise KeyError("while ending")

    def body(group):
        group.spawn(clumsy)
        settle()
        raise OSError("body")

    with pytest.raises(ExceptionGroup) as caught:
        block(body)
    assert sorted(map(repr, caught.value.exceptions)) == [
        "KeyError('while ending')",
        "OSError('body')",
    ]


def test_a_failure_that_the_body_waited_for_comes_once(block):
    def body(group):
        group.spawn(fail, ValueError("once")).wait()

    with pytest.raises(ExceptionGroup) as caught:
        block(body)
    assert len(caught.value.exceptions) == 1


def test_failures_that_are_no_exceptions_make_a_base_group(block):
    with pytest.raises(BaseExceptionGroup) as caught:
        block(lambda group: group.spawn(fail, Timeout()))
    assert not isinstance(caught.value, ExceptionGroup)


def test_an_unstarted_child_never_starts_after_a_failure(block):
    started = []

    def body(group):
        group.spawn(started.append, 1)
        raise ValueError

    # In a coroutine the failure comes a turn later.
    if block.parent != "coroutine":
        with pytest.raises(ExceptionGroup):
            block(body)
        assert started == []


def test_the_body_may_catch_its_interruption(block):
    def body(group):
        group.spawn(fail, ValueError())
        try:
            sleep(FOREVER)
        except BaseException:
            return "caught"

    with pytest.raises(ExceptionGroup):
        block(body)


def test_groups_nest(block):
    seen = []

    def inner_body():
        with GreenGroup() as inner:
            inner.spawn(until_killed, seen, "inner child")
            sleep(FOREVER)

    def body(outer):
        outer.spawn(inner_body)
        with GreenGroup() as inner:
            inner.spawn(until_killed, seen, "body's child")
            settle()
            outer.spawn(fail, ValueError("outer"))
            sleep(FOREVER)

    with pytest.raises(ExceptionGroup) as caught:
        block(body)
    assert [repr(error) for error in caught.value.exceptions] == ["ValueError('outer')"]
    assert sorted(name for name, _ in seen) == ["body's child", "inner child"]


def test_a_failed_group_inside_a_child_is_one_failure(block):
    def child():
        with GreenGroup() as inner:
            inner.spawn(fail, ValueError("inner"))

    with pytest.raises(ExceptionGroup) as caught:
        block(lambda group: group.spawn(child))
    (inner,) = caught.value.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert isinstance(inner.exceptions[0], ValueError)


# -- errors of use ------------------------------------------------------------------------


def test_spawning_into_a_finished_group(block):
    groups = []
    block(groups.append)
    with pytest.raises(RuntimeError, match="is finished"):
        groups[0].spawn(print)
    assert "finished" in repr(groups[0])


def test_spawning_into_a_group_that_is_shutting_down(block):
    caught = []

    def body(group):
        group.spawn(lambda: fail(ValueError()))
        try:
            sleep(FOREVER)
        finally:
            with pytest.raises(RuntimeError, match="is shutting down") as error:
                group.spawn(print)
            caught.append(error)

    with pytest.raises(ExceptionGroup):
        block(body)
    assert len(caught) == 1


def test_spawning_before_the_block(hub_name):
    with pytest.raises(RuntimeError, match="before it is entered"):
        GreenGroup().spawn(print)


def test_entering_twice(hub_name, run_async):
    group = GreenGroup()
    with group:
        pass
    with pytest.raises(RuntimeError, match="entered before"):
        group.__enter__()

    async def main():
        with pytest.raises(RuntimeError, match="entered before"):
            await group.__aenter__()

    run_async(main)


def test_a_coroutine_is_told_of_the_form_for_coroutines(run_async):
    async def main():
        with pytest.raises(greenio.BlockingInLoopError, match="async with GreenGroup"):
            with GreenGroup():
                pass

    run_async(main)


def test_spawning_from_another_os_thread(hub_name):
    caught = []

    def elsewhere(group):
        try:
            group.spawn(print)
        except RuntimeError as exc:
            caught.append(str(exc))

    with GreenGroup() as group:
        thread = threading.Thread(target=elsewhere, args=(group,))
        thread.start()
        thread.join()
    assert "another OS thread" in caught[0]


def test_what_cannot_be_called(hub_name):
    async def coroutine_function():
        pass

    with GreenGroup() as group:
        with pytest.raises(TypeError, match=r"GreenGroup\.spawn takes a function"):
            group.spawn(coroutine_function())


def test_a_group_in_an_os_thread_of_its_own(loop_factory):
    seen = []

    def program():
        greenio.hubs.use_hub(loop_factory)
        with GreenGroup() as group:
            group.spawn(lambda: settle() or seen.append(getcurrent()))

    thread = threading.Thread(target=program)
    thread.start()
    thread.join()
    assert len(seen) == 1


def test_a_group_and_its_failures_go_without_the_collector(hub_name):
    class Thing:
        pass

    def use():
        thing = Thing()
        try:
            with GreenGroup() as group:
                group.spawn(lambda: thing)
                group.spawn(fail, ValueError())
                sleep(FOREVER)
        except ExceptionGroup:
            pass
        return weakref.ref(thing), weakref.ref(group)

    gc.collect()
    gc.disable()
    try:
        references = use()
        settle()
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


def test_thousands_of_children(hub_name):
    done = event.Event()
    count = 0

    def child():
        nonlocal count
        done.wait()
        count += 1

    with GreenGroup() as group:
        for _ in range(3000):
            group.spawn(child)
        sleep(0)
        done.send()
    assert count == 3000


def test_async_with_needs_a_task(hub_name):
    def enter():
        with pytest.raises(RuntimeError, match="needs a Task to run it"):
            GreenGroup().__aenter__().send(None)

    greenio.spawn(enter).wait()
