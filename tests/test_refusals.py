"""Wrong arguments are refused at the call, with the call that would have worked."""

from __future__ import annotations

import asyncio
import traceback

import pytest

import greenio
import greenio.green.thread
from _support import settle
from greenio import GreenPile, GreenPool, tpool


async def double(value):
    await asyncio.sleep(0)
    return 2 * value


class Doubles:
    async def __call__(self, value):
        return await double(value)


@pytest.mark.parametrize("function", [double, Doubles()], ids=["function", "object"])
@pytest.mark.parametrize(
    "call",
    [
        lambda f: greenio.spawn(f, 2).wait(),
        lambda f: greenio.spawn_n(f, 2).wait(),
        lambda f: greenio.spawn_after(0, f, 2).wait(),
        lambda f: GreenPool().spawn(f, 2).wait(),
        lambda f: GreenPool(1).spawn(lambda: _on_full_pool(f)).wait(),
        lambda f: next(GreenPool().imap(f, [2])),
        lambda f: next(GreenPool().imap_unordered(f, [2])),
        lambda f: _pile(f),
        lambda f: greenio.with_timeout(5, f, 2),
    ],
)
def test_a_coroutine_function_is_run(hub_name, call, function):
    assert call(function) == 4


def _on_full_pool(function):
    pool = GreenPool(1)
    outer = pool.spawn(lambda: pool.spawn(function, 2).wait())
    return outer.wait()


def _pile(function):
    pile = GreenPile()
    pile.spawn(function, 2)
    return next(pile)


def test_a_coroutine_function_as_a_link_is_run(hub_name):
    seen = []

    async def link(ended):
        await asyncio.sleep(0)
        seen.append(ended)

    thread = greenio.spawn(int)
    thread.link(link)
    thread.wait()
    settle()
    assert seen == [thread]


def test_a_coroutine_that_a_function_returns_stays_one(hub_name):
    coroutine = greenio.spawn(lambda: double(1)).wait()
    assert greenio.await_(coroutine) == 2


def test_killing_it_cancels_the_coroutine(hub_name):
    seen = []

    async def wait():
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    thread = greenio.spawn(wait)
    settle()
    thread.kill()
    with pytest.raises(greenio.greenlet.GreenletExit):
        thread.wait()
    assert seen == ["cancelled"]


@pytest.mark.parametrize("what", ["text", 5, object, ()])
def test_what_cannot_be_raised(hub_name, what):
    with pytest.raises(TypeError, match="Timeout"):
        greenio.Timeout(0.01, what)
    with pytest.raises(TypeError, match="exc_after"):
        greenio.exc_after(0.01, what)
    thread = greenio.spawn(greenio.sleep, 100)
    settle()
    with pytest.raises(TypeError, match="kill"):
        thread.kill(what)
    thread.kill()


@pytest.mark.parametrize(
    "call",
    [
        lambda: tpool.execute(None),
        lambda: tpool.execute(double, 2),
        lambda: greenio.spawn(None),
        lambda: GreenPool().spawn(None),
        lambda: greenio.spawn(int).link(None),
        lambda: greenio.with_timeout(1, None),
        lambda: greenio.serve(None, None),
    ],
)
def test_what_cannot_be_called(hub_name, call):
    with pytest.raises(TypeError, match="takes a") as caught:
        call()
    assert caught.value.__context__ is None
    settle()


def test_no_error_of_ours_comes_with_another(run_async):
    async def main():
        for call in (
            lambda: greenio.sleep(1),
            lambda: greenio.Queue().get(),
            lambda: greenio.Timeout(1),
        ):
            with pytest.raises(RuntimeError) as caught:
                call()
            text = "".join(traceback.format_exception(caught.value))
            assert "During handling" not in text

    run_async(main)


@pytest.mark.parametrize("call", ["schedule_call_global", "schedule_call_local"])
def test_what_a_timer_could_not_call_is_refused_at_once(hub_name, call):
    schedule = getattr(greenio.hubs.get_hub(), call)
    with pytest.raises(TypeError, match=rf"{call} takes seconds, a function .* None"):
        schedule(0, None)
    for function in (double, Doubles()):
        with pytest.raises(TypeError, match="nobody would await; spawn_after"):
            schedule(0, function, 2)


def test_only_green_threads_are_killed(hub_name):
    with pytest.raises(TypeError, match=r"takes a green thread, .* not None"):
        greenio.kill(None)


def test_a_coroutine_function_as_a_thread_of_green_thread_is_run(hub_name):
    seen = []

    async def main(value):
        await asyncio.sleep(0)
        seen.append(value)

    greenio.green.thread.start_new_thread(main, (2,))
    settle()
    assert seen == [2]


def test_waiting_where_what_runs_is_no_loop():
    """As tests of other libraries have it: a stand-in is noted as the running loop."""
    asyncio._set_running_loop(object())
    try:
        with pytest.raises(greenio.BlockingInLoopError, match=r"sleep\(0\.01\)"):
            greenio.sleep(0.01)
    finally:
        asyncio._set_running_loop(None)
