"""`GreenGroup`: a block that is ended from outside."""

from __future__ import annotations

import asyncio
import sys

import pytest

import _fresh
import greenio
from _support import settle
from greenio import GreenGroup, Timeout, sleep, spawn

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup
from _groups import FOREVER, fail, until_killed

# -- ended from outside -------------------------------------------------------------------


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
