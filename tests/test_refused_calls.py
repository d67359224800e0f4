"""Calls that cannot work say which one would; and the ones that they name do."""

from __future__ import annotations

import asyncio
import functools
import sys

import pytest

import greenio


def pause() -> int:
    greenio.sleep(0.001)
    return 5


async def pause_async() -> int:
    await asyncio.sleep(0.001)
    return 5


def generate():
    yield 5


@pytest.mark.parametrize("func", [print, len, generate, 5, None])
def test_a_portal_of_what_is_no_coroutine_function(func):
    with pytest.raises(TypeError, match="portal"):
        greenio.portal(func)


def test_the_refusal_of_a_portal_names_what_works(run_async):
    async def main():
        with pytest.raises(TypeError, match=r"greenio\.run_green\(func"):
            await greenio.portal(pause_in_portal)()
        assert await greenio.run_green(pause) == 5
        assert await greenio.as_async(pause)() == 5

    def pause_in_portal():
        return 5

    run_async(main)


def test_a_portal_of_what_returns_a_coroutine(run_async):
    async def main():
        assert await greenio.portal(lambda: pause_async())() == 5
        assert await greenio.portal(functools.partial(pause_async))() == 5
        assert await greenio.portal(lambda: greenio.spawn(pause))() == 5

    run_async(main)


def test_green_threads_in_calls_of_asyncio(run_async):
    async def main():
        spawn = greenio.spawn
        assert await asyncio.wait_for(spawn(pause), 10) == 5
        assert await asyncio.shield(spawn(pause)) == 5
        assert await asyncio.gather(spawn(pause), spawn(pause)) == [5, 5]
        for first in asyncio.as_completed([spawn(pause)]):
            assert await first == 5
        assert await asyncio.ensure_future(spawn(pause)) == 5
        done, rest = await asyncio.wait([asyncio.ensure_future(spawn(pause))])
        assert [task.result() for task in done] == [5]
        assert not rest
        if sys.version_info >= (3, 11):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(spawn(pause).wait_async())
            assert task.result() == 5

    run_async(main)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 makes tasks of them")
def test_wait_of_a_green_thread_names_what_works(run_async):
    async def main():
        thread = greenio.spawn(pause)
        assert not hasattr(thread, "add_done_callback")
        with pytest.raises(AttributeError, match=r"asyncio\.ensure_future\("):
            await asyncio.wait([thread])
        assert await thread == 5

    run_async(main)


def test_a_task_of_a_green_thread_is_refused_and_leaves_it_alone(run_async):
    async def main():
        thread = greenio.spawn(pause)
        with pytest.raises(TypeError, match="coroutine was expected, got <GreenThread"):
            asyncio.create_task(thread)  # noqa: RUF006 - it is refused
        assert await thread == 5

    run_async(main)
