"""Loops of a program's own, `asyncio.Runner` and `async_to_sync`, patched."""

from __future__ import annotations

import sys
import textwrap

import pytest

import _fresh

NEEDS_RUNNER = "sys.version_info >= (3, 11)"


# -- other ways to run a loop -------------------------------------------------------------


def test_a_loop_of_ones_own(program):
    assert program(
        """
        async def main(loop):
            future = loop.create_future()
            loop.call_later(0.001, future.set_result, "later")
            return await future, loop.is_running()

        def legacy():
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            assert asyncio.get_event_loop() is loop
            print(loop.run_until_complete(main(loop)), loop.is_running())
            print(loop.run_until_complete(loop.create_task(main(loop))))
            loop.close()
            asyncio.set_event_loop(None)
            try:
                asyncio.get_event_loop()
            except RuntimeError as exc:
                print(loop.is_closed(), "no current event loop" in str(exc))
            coroutine = asyncio.sleep(0)
            try:
                loop.run_until_complete(coroutine)
            except RuntimeError as exc:
                print(exc)
            coroutine.close()

        import warnings
        warnings.simplefilter("ignore")
        spawn(legacy).wait()
        """
    ) == [
        "('later', True) False",
        "('later', True)",
        "True True",
        "Event loop is closed",
        "",
    ]


def test_run_forever_and_stop(program):
    assert program(
        """
        def legacy():
            loop = asyncio.new_event_loop()
            count = 0

            def tick():
                nonlocal count
                count += 1
                loop.call_soon(loop.stop if count == 3 else tick)

            loop.call_soon(tick)
            loop.run_forever()
            loop.call_soon(loop.stop)
            try:
                loop.run_until_complete(asyncio.sleep(1000))
            except RuntimeError as exc:
                print(exc)
            loop.close()
            return count

        print(spawn(legacy).wait())
        """
    ) == ["Event loop stopped before Future completed.", "3", ""]


def test_a_loop_runs_once_at_a_time(program):
    assert program(
        """
        def legacy():
            loop = asyncio.new_event_loop()
            thread = spawn(loop.run_forever)
            sleep(0)
            for call in (lambda: loop.run_until_complete(loop.create_future()),
                         loop.close):
                try:
                    call()
                except RuntimeError as exc:
                    print(exc)
            loop.stop()
            thread.wait()
            loop.close()

        spawn(legacy).wait()
        """
    ) == ["This event loop is already running", "Cannot close a running event loop", ""]


def test_a_loop_in_a_thread_is_fed_from_others(program):
    assert program(
        """
        async def double(x):
            await asyncio.sleep(0)
            return 2 * x

        def main():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            results = [asyncio.run_coroutine_threadsafe(double(n), loop)
                       for n in range(3)]
            print([greenio.await_(result) for result in results])
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

        spawn(main).wait()
        """
    ) == ["[0, 2, 4]", ""]


@pytest.mark.parametrize("arguments", ["{}", "{'loop_factory': make_own}"])
def test_a_runner(program, arguments):
    assert program(
        f"""
        variable = contextvars.ContextVar("variable", default=0)
        make_own = asyncio.SelectorEventLoop

        async def count():
            variable.set(variable.get() + 1)
            await asyncio.sleep(0)
            return variable.get()

        def legacy():
            with asyncio.Runner(**kwargs) as runner:
                runner.run(count())
                return runner.run(count()), variable.get()

        kwargs = {arguments}
        print(spawn(legacy).wait() if {NEEDS_RUNNER} else (2, 0))
        """
    ) == ["(2, 0)", ""]


def test_a_portal_runs_it_too(program):
    assert program(
        """
        async def inner():
            asyncio.create_task(asyncio.sleep(1000))
            await asyncio.sleep(0)
            return "inner"

        @greenio.portal
        async def outer():
            return asyncio.run(inner())

        print(spawn(lambda: greenio.await_(outer())).wait())
        """
    ) == ["inner", ""]


def test_async_to_sync(program):
    pytest.importorskip("asgiref")
    assert program(
        """
        from asgiref.sync import async_to_sync, sync_to_async
        variable = contextvars.ContextVar("variable", default="unset")

        def query(number):
            sleep(0)
            variable.set(f"query {number}")
            return number

        async def view(number):
            await everybody_came()
            assert await sync_to_async(query)(number) == number
            assert await sync_to_async(
                lambda: async_to_sync(asyncio.sleep)(0, number))() == number
            return await sync_to_async(query, thread_sensitive=False)(number)

        inside = 0
        event = greenio.event.Event()

        async def everybody_came():
            global inside
            inside += 1
            if inside == 50:
                event.send()
            await event.wait_async()

        def request(number):
            return async_to_sync(view)(number), variable.get()

        threads = [spawn(request, number) for number in range(50)]
        results = [thread.wait() for thread in threads]
        print(results == [(number, f"query {number}") for number in range(50)])
        """
    ) == ["True", ""]


def test_async_to_sync_raises_and_still_refuses_coroutines(program):
    pytest.importorskip("asgiref")
    assert program(
        """
        from asgiref.sync import async_to_sync

        async def fails():
            raise KeyError("no")

        def green():
            try:
                async_to_sync(fails)()
            except KeyError as exc:
                print(repr(exc))

        async def coroutine():
            try:
                async_to_sync(fails)()
            except RuntimeError as exc:
                print("You cannot use AsyncToSync" in str(exc))

        spawn(green).wait()
        greenio.await_(coroutine())
        """
    ) == ["KeyError('no')", "True", ""]


# -- where it stays what it was -----------------------------------------------------------


def test_the_main_program_before_any_hub(program):
    assert program(
        """
        async def main():
            return type(asyncio.get_running_loop()).__name__

        print("Selector" in asyncio.run(main()))
        loop = asyncio.new_event_loop()
        print(type(loop).__module__.split(".")[0], loop.run_until_complete(main()) != "")
        loop.close()
        print(asyncio.run(greenio.run_green(lambda: asyncio.run(main()))) != "")
        """
    ) == ["True", "asyncio True", "True", ""]


def test_attached_to_a_loop(program):
    assert program(
        """
        async def inner(number):
            asyncio.create_task(asyncio.sleep(1000))
            await asyncio.sleep(0.001)
            return number

        async def main():
            mine = asyncio.create_task(asyncio.sleep(1000))
            results = await asyncio.gather(*(
                greenio.run_green(lambda n=n: asyncio.run(inner(n))) for n in range(9)))
            print(results == list(range(9)), mine.done())
            coroutine = inner(1)
            try:
                asyncio.run(coroutine)
            except RuntimeError as exc:
                print(exc)
            coroutine.close()

        asyncio.run(main())
        """
    ) == [
        "True False",
        "asyncio.run() cannot be called from a running event loop",
        "",
    ]


def test_real_threads_have_loops_of_their_own(program):
    assert program(
        """
        async def main():
            await asyncio.sleep(0)
            return threading.get_ident(), asyncio.get_running_loop()

        def here():
            return asyncio.run(main())

        real = greenio.patcher.original("threading")

        def green():
            (ident, loop) = greenio.tpool.execute(here)
            return (ident == real.get_ident(), loop is asyncio.get_running_loop(),
                    type(loop).__name__)

        print(spawn(green).wait()[:2])
        greenio.tpool.killall()
        """
    ) == ["(False, False)", ""]


def test_names_imported_before_the_patch(tmp_path):
    out = _fresh.run(
        """
        import asyncio
        from asyncio import new_event_loop, run
        import greenio
        greenio.monkey_patch()

        async def main():
            await asyncio.sleep(0)
            return "ran"

        def legacy():
            loop = new_event_loop()
            print(run(main()), loop.run_until_complete(main()))
            loop.close()

        greenio.spawn(legacy).wait()
        """
    )
    assert out == "ran ran\n"


def test_under_python_m_greenio(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import asyncio
            import eventlet

            async def main(number):
                await asyncio.sleep(0)
                return number

            pool = eventlet.GreenPool()
            print(sum(pool.imap(lambda n: asyncio.run(main(n)), range(10))))
            """
        )
    )
    done = _fresh.python("-m", "greenio", str(script))
    assert (done.stdout, done.stderr) == ("45\n", "")


def test_nothing_is_kept(program):
    assert program(
        """
        async def main():
            asyncio.create_task(asyncio.sleep(1000))
            await asyncio.sleep(0)

        def legacy():
            asyncio.run(main())

        import os
        from greenio._kernel.current import nested_runs
        spawn(legacy).wait()
        descriptors = len(os.listdir("/dev/fd"))
        for _ in range(20):
            spawn(legacy).wait()
        gc.collect()
        loops = [thing for thing in gc.get_objects()
                 if isinstance(thing, asyncio.BaseEventLoop)]
        print(len(loops) < 3, nested_runs,
              len(os.listdir("/dev/fd")) - descriptors)
        """
    ) == ["True {} 0", ""]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are 3.12's")
def test_eager_tasks_of_a_runner_in_green_code(program):
    assert program(
        """
        async def step(n):
            await asyncio.sleep(0)
            return n, asyncio.current_task() is not None

        def green():
            sleep(0.001)
            return greenio.await_(step(3))

        async def main():
            tasks = [asyncio.create_task(step(n)) for n in range(2)]
            async with asyncio.TaskGroup() as group:
                task = group.create_task(greenio.run_green(green))
            return await asyncio.gather(*tasks), task.result()

        async def at_once():
            return "at once"

        def new_loop():
            loop = asyncio.new_event_loop()
            loop.set_task_factory(asyncio.eager_task_factory)
            return loop

        def legacy():
            with asyncio.Runner(loop_factory=new_loop) as runner:
                print(runner.run(main()))
                print(runner.run(at_once()))

        spawn(legacy).wait()
        legacy()
        """
    ) == [*["([(0, True), (1, True)], (3, True))", "at once"] * 2, ""]
