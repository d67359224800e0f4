"""`GreenGroup`: green threads that end before the block that started them.

Most tests run the same body in a green thread, in the main program, in a portal (each
``with``) and in a coroutine (``async with``), on both loops.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import weakref

import pytest

import _fresh
import greenio
from _support import settle
from greenio import GreenGroup, Timeout, event, getcurrent, run_green, sleep, spawn

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

PARENTS = ("main", "green thread", "portal", "coroutine")
FOREVER = 1000


@pytest.fixture(params=PARENTS)
def block(request, hub_name, run_async):
    """Run `body(group)` inside the block of a group; return what came of the block.

    The body is in blocking style. In a coroutine it runs in a green thread, which gets
    what interrupts the coroutine.
    """

    def green(body):
        with GreenGroup() as group:
            return body(group)

    async def asynchronous(body):
        async with GreenGroup() as group:
            return await run_green(body, group)

    def run(body):
        if request.param == "main":
            return green(body)
        if request.param == "green thread":
            return spawn(green, body).wait()
        if request.param == "coroutine":
            return run_async(lambda: asynchronous(body))

        @greenio.portal
        async def main():
            return green(body)

        return run_async(main)

    run.parent = request.param
    return run


def fail(error):
    raise error


def until_killed(seen, name="child"):
    try:
        sleep(FOREVER)
    except BaseException as exc:
        seen.append((name, type(exc)))
        raise


# -- joining ----------------------------------------------------------------------------


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


# -- failures ---------------------------------------------------------------------------


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


# -- ended from outside -----------------------------------------------------------------


def test_a_time_limit_in_the_body_ends_the_children_and_leaves_alone(block):
    seen = []

    def body(group):
        group.spawn(until_killed, seen)
        settle()
        raise limit

    limit = Timeout()
    limit.cancel()
    with pytest.raises(Timeout) as caught:
        block(body)
    assert caught.value is limit
    assert seen == [("child", greenio.greenlet.GreenletExit)]


def test_a_time_limit_around_a_waiting_group(hub_name):
    seen = []
    with Timeout(0.01, False):
        with GreenGroup() as group:
            group.spawn(until_killed, seen)
    assert seen == [("child", greenio.greenlet.GreenletExit)]


@pytest.mark.parametrize("waits", ["in the body", "for its children"])
def test_a_kill_of_the_parent_goes_to_the_children_and_waits(hub_name, waits):
    order = []

    def child():
        try:
            sleep(FOREVER)
        finally:
            sleep(0)
            order.append("child")

    def parent():
        try:
            with GreenGroup() as group:
                group.spawn(child)
                if waits == "in the body":
                    sleep(FOREVER)
        finally:
            order.append("parent")

    thread = spawn(parent)
    settle()
    thread.kill()
    with pytest.raises(greenio.greenlet.GreenletExit):
        thread.wait()
    assert order == ["child", "parent"]


@pytest.mark.parametrize("waits", ["in the body", "for its children"])
def test_a_cancellation_of_the_parent_goes_to_the_children_and_waits(run_async, waits):
    order = []

    def child():
        try:
            sleep(FOREVER)
        finally:
            sleep(0)
            order.append("child")

    async def parent():
        try:
            async with GreenGroup() as group:
                group.spawn(child)
                if waits == "in the body":
                    await asyncio.sleep(FOREVER)
        finally:
            order.append("parent")

    async def main():
        task = asyncio.create_task(parent())
        for _ in range(4):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelled()

    assert run_async(main)
    assert order == ["child", "parent"]


def test_failures_win_over_the_kill_that_came_with_them(hub_name):
    def clumsy():
        try:
            sleep(FOREVER)
        finally:
            raise ValueError("in the end")

    def parent():
        with GreenGroup() as group:
            group.spawn(clumsy)

    thread = spawn(parent)
    settle()
    thread.kill()
    with pytest.raises(ExceptionGroup):
        thread.wait()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no Task.cancelling() before")
def test_a_cancellation_that_gave_way_to_failures_comes_again(run_async):
    def clumsy():
        try:
            sleep(FOREVER)
        finally:
            raise ValueError("in the end")

    async def parent():
        try:
            async with GreenGroup() as group:
                group.spawn(clumsy)
        except ExceptionGroup:
            caught.append("group")
        await asyncio.sleep(FOREVER)

    caught = []

    async def main():
        task = asyncio.create_task(parent())
        for _ in range(4):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_async(main)
    assert caught == ["group"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no Task.cancelling() before")
def test_a_failure_leaves_no_cancellation_behind(run_async):
    async def main():
        with pytest.raises(ExceptionGroup):
            async with GreenGroup() as group:
                group.spawn(fail, ValueError())
                await asyncio.sleep(FOREVER)
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)
        return "went on"

    assert run_async(main) == "went on"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_leaves_the_block_alone(block, kind):
    seen = []

    def body(group):
        group.spawn(until_killed, seen)
        settle()
        raise kind("now")

    if block.parent == "coroutine":
        pytest.skip("raised in a green thread, it goes to whoever runs the loop")
    if block.parent == "green thread":
        with pytest.raises(kind):
            with GreenGroup() as group:
                body(group)
    else:
        with pytest.raises(kind):
            block(body)
    assert seen == [("child", greenio.greenlet.GreenletExit)]


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit"])
def test_what_ends_the_program_in_a_child(hub_name, kind):
    out = _fresh.run(
        f"""
        import greenio

        def child():
            greenio.sleep(0)
            raise {kind}("now")

        def other():
            try:
                greenio.sleep(1000)
            finally:
                print("other ended")

        try:
            with greenio.GreenGroup() as group:
                group.spawn(child)
                group.spawn(other)
        except {kind} as exc:
            print("alone", exc)
        """,
        hub=hub_name,
    )
    assert out == "other ended\nalone now\n"


def test_a_generator_that_is_closed_inside_a_block(hub_name):
    seen = []

    def items():
        with GreenGroup() as group:
            group.spawn(until_killed, seen)
            yield 1
            yield 2

    iterator = items()
    assert next(iterator) == 1
    settle()
    iterator.close()
    assert seen == [("child", greenio.greenlet.GreenletExit)]


def test_a_coroutine_that_is_closed_inside_a_block_does_not_wait(run_async):
    seen = []

    async def parent():
        async with GreenGroup() as group:
            group.spawn(until_killed, seen)
            await asyncio.sleep(FOREVER)

    async def main():
        task = asyncio.create_task(parent())
        for _ in range(4):
            await asyncio.sleep(0)
        coroutine = task.get_coro()
        task._log_destroy_pending = False
        coroutine.close()
        for _ in range(4):
            await asyncio.sleep(0)

    run_async(main)
    assert seen == [("child", greenio.greenlet.GreenletExit)]


# -- errors of use ----------------------------------------------------------------------


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
