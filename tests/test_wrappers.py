"""`as_async`, `as_sync` and their kind, `greenio.run` and `greenio.from_thread`."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading

import pytest

import greenio


@pytest.fixture
def run(hub_name):
    """`greenio.run` on the kind of loop under test."""
    return lambda func, *args, **kwargs: greenio.run(
        func, *args, hub=hub_name, **kwargs
    )


def test_run_a_function(run):
    def main(x):
        greenio.sleep(0)
        return x + greenio.spawn(lambda: 1).wait()

    assert run(main, 2) == 3


def test_run_a_coroutine_function(run):
    async def main(x):
        await asyncio.sleep(0)
        return x + await greenio.spawn(lambda: 1)

    assert run(main, 2) == 3


def test_run_ends_what_is_left(run):
    ended = []

    def forever():
        try:
            greenio.sleep(1000)
        finally:
            ended.append("thread")

    async def forever_async():
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("task")

    async def start_both():
        asyncio.ensure_future(forever_async())  # noqa: RUF006 - left behind on purpose
        await asyncio.sleep(0)

    def main():
        greenio.spawn(forever)
        greenio.await_(start_both())
        greenio.sleep(0)

    run(main)
    assert sorted(ended) == ["task", "thread"]


def test_run_reports_what_is_left_in_debug_mode(run, caplog):
    def main():
        greenio.spawn(greenio.sleep, 1000)
        greenio.sleep(0)

    with caplog.at_level(logging.WARNING, logger="greenio"):
        run(main, debug=True)
    assert "left behind" in caplog.text


def test_run_raises_what_the_function_raised(run):
    def main():
        raise KeyError("from main")

    with pytest.raises(KeyError, match="from main"):
        run(main)


def test_run_in_a_running_loop_is_refused(run):
    async def main():
        with pytest.raises(RuntimeError, match="run_green"):
            greenio.run(print)

    run(main)


def test_run_takes_only_what_can_be_called():
    with pytest.raises(TypeError, match="takes a function"):
        greenio.run(42)


def test_as_async_and_back(run):
    @greenio.as_async
    def blocking(x, *, y):
        """Documented."""
        greenio.sleep(0)
        return x, y

    @greenio.as_sync
    async def asynchronous(x):
        await asyncio.sleep(0)
        return await blocking(x, y=2)

    assert inspect.iscoroutinefunction(blocking)
    assert blocking.__doc__ == "Documented."
    assert not inspect.iscoroutinefunction(asynchronous)
    assert run(asynchronous, 1) == (1, 2)


def test_as_async_of_a_method(run):
    class Service:
        value = 3

        @greenio.as_async
        def get(self):
            greenio.sleep(0)
            return self.value

    async def main():
        return await Service().get()

    assert run(main) == 3


def test_as_async_refuses_a_coroutine_function():
    async def already():
        pass

    with pytest.raises(TypeError, match="already"):
        greenio.as_async(already)


def test_async_iter(run):
    closed = []

    def generator():
        try:
            for n in range(3):
                greenio.sleep(0)
                yield n
        finally:
            closed.append(True)

    async def main():
        items = [n async for n in greenio.async_iter(generator())]
        early = greenio.async_iter(generator())
        async for n in early:
            assert n == 0
            break
        await early.aclose()
        return items

    assert run(main) == [0, 1, 2]
    assert closed == [True, True]


def test_sync_iter(run):
    closed = []

    async def generator():
        try:
            for n in range(3):
                await asyncio.sleep(0)
                yield n
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    def main():
        items = list(greenio.sync_iter(generator()))
        early = greenio.sync_iter(generator())
        assert next(early) == 0
        early.close()
        return items

    assert run(main) == [0, 1, 2]
    assert closed == [True, True]


def test_contexts(run):
    steps = []

    @contextlib.contextmanager
    def green():
        greenio.sleep(0)
        steps.append("green in")
        try:
            yield "green"
        except KeyError:
            steps.append("green swallowed")
        greenio.sleep(0)

    @contextlib.asynccontextmanager
    async def asynchronous():
        await asyncio.sleep(0)
        steps.append("async in")
        try:
            yield "async"
        except KeyError:
            steps.append("async swallowed")

    async def use_green():
        async with greenio.async_context(green()) as value:
            assert value == "green"
            raise KeyError

    def main():
        greenio.await_(use_green())
        with greenio.sync_context(asynchronous()) as value:
            assert value == "async"
            raise KeyError

    run(main)
    assert steps == ["green in", "green swallowed", "async in", "async swallowed"]


def in_os_thread(func):
    """Call a function in an OS thread while this thread's loop goes on."""
    return greenio.tpool.execute(func)


@pytest.mark.parametrize("kind", ["function", "coroutine function"])
def test_from_thread(run, kind):
    def blocking(x):
        greenio.sleep(0)
        return threading.get_ident(), x

    async def asynchronous(x):
        await asyncio.sleep(0)
        return threading.get_ident(), x

    func = blocking if kind == "function" else asynchronous

    def main():
        return in_os_thread(lambda: greenio.from_thread(func, 5))

    assert run(main) == (threading.get_ident(), 5)
    greenio.tpool.killall()


def test_from_thread_raises_what_the_function_raised(run):
    def fail():
        raise KeyError("over there")

    def main():
        with pytest.raises(KeyError, match="over there"):
            in_os_thread(lambda: greenio.from_thread(fail))

    run(main)
    greenio.tpool.killall()


def test_from_thread_in_the_hubs_own_thread_is_refused(run):
    def main():
        with pytest.raises(RuntimeError, match="other OS threads"):
            greenio.from_thread(print, hub=greenio.hubs.get_hub())

    run(main)


def test_from_thread_without_a_hub_says_so():
    caught = []

    def without():
        try:
            greenio.from_thread(print)
        except greenio.hubs.HubError as exc:
            caught.append(str(exc))

    thread = threading.Thread(target=without)
    thread.start()
    thread.join()
    assert "no running hub" in caught[0]


def test_from_thread_to_a_closed_hub(run):
    hubs = []
    run(lambda: hubs.append(greenio.hubs.get_hub()))
    caught = []

    def late():
        try:
            greenio.from_thread(print, hub=hubs[0])
        except greenio.hubs.HubClosedError as exc:
            caught.append(str(exc))

    thread = threading.Thread(target=late)
    thread.start()
    thread.join()
    assert "closed" in caught[0]
