"""Event loops that a plain, unpatched script runs after its first green call."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import textwrap
from functools import partial

import pytest

import greenio
from _fresh import python, run

_RUN_IN = {
    "asyncio.run": "asyncio.run(main())",
    "new_event_loop": "new_loop().run_until_complete(main())",
    "greenio.run": "greenio.run(main)",
    "greenio.run, green": "greenio.run(lambda: greenio.await_(main()))",
    "greenio.run in a green thread": "greenio.spawn(greenio.run, main).wait()",
    "in a green thread": "greenio.spawn(lambda: asyncio.run(main())).wait()",
}
if sys.version_info >= (3, 11):
    _RUN_IN["Runner"] = "asyncio.Runner().run(main())"
    if importlib.util.find_spec("uvloop") is not None:
        _RUN_IN["uvloop.run"] = "__import__('uvloop').run(main())"


@pytest.mark.parametrize("call", _RUN_IN.values(), ids=_RUN_IN)
def test_they_run_and_are_the_running_loop(loop, call):
    output = run(
        f"""
        import asyncio
        import greenio

        def new_loop():
            loop = asyncio.new_event_loop()
            loops.append(loop)
            return loop

        loops = []
        steps = []

        def others():
            for _ in range(3):
                steps.append("green")
                greenio.sleep(0)

        async def main():
            loop = asyncio.get_running_loop()
            for _ in range(5):
                await asyncio.sleep(0)
                assert asyncio.get_running_loop() is loop
                assert asyncio.current_task(loop).get_loop() is loop
            assert await asyncio.wait_for(loop.create_task(pause()), 30) == "paused"
            await greenio.run_green(greenio.sleep)
            steps.append("main")
            return "done"

        async def pause():
            await asyncio.sleep(0.001)
            return "paused"

        greenio.sleep(0)
        outer = asyncio.get_running_loop()
        thread = greenio.spawn(others)
        for _ in range(2):
            assert {call} == "done"
        # The others went on meanwhile, and so does the main program.
        thread.wait()
        assert steps.count("green") == 3 and steps.index("green") < steps.index("main")
        assert asyncio.get_running_loop() is outer
        for loop in loops:
            loop.close()
        print("ok")
        """,
        hub=loop,
    )
    assert output == "ok\n"


@pytest.mark.parametrize("hub", ["asyncio", "uvloop"])
def test_what_greenio_run_leaves_behind_ends_with_it(loop, hub):
    if hub == "uvloop":
        pytest.importorskip("uvloop")
    output = run(
        f"""
        import greenio

        def endless(name):
            try:
                greenio.sleep(30)
            finally:
                greenio.sleep(0.001)
                print(name, "ended")

        def main():
            assert greenio.hubs.get_hub() is not outer
            greenio.spawn(endless, "inner")
            greenio.sleep(0.001)
            return "returned"

        greenio.sleep(0)
        outer = greenio.hubs.get_hub()
        greenio.spawn(endless, "outer")
        print(greenio.run(main, hub={hub!r}))
        assert greenio.hubs.get_hub() is outer
        """,
        hub=loop,
    )
    assert output == "inner ended\nreturned\nouter ended\n"


def test_a_coroutine_makes_no_loop_by_greenio_run(run_async):
    async def main():
        with pytest.raises(RuntimeError, match="run_green"):
            greenio.run(greenio.sleep)

    run_async(main)


def test_gather_takes_futures_of_a_loop_that_runs_next(loop):
    output = run(
        """
        import asyncio
        import greenio

        async def double(number):
            await asyncio.sleep(0)
            return 2 * number

        async def both():
            # Where a task runs, its own loop is taken.
            return await asyncio.gather(double(4), double(5))

        def gather():
            # Green code sees the loop that runs, but these are of the other one.
            tasks = [inner.create_task(double(number)) for number in (1, 2)]
            print(inner.run_until_complete(asyncio.gather(*tasks)))

        inner = asyncio.new_event_loop()
        greenio.sleep(0)
        gather()
        greenio.spawn(gather).wait()
        print(greenio.await_(asyncio.gather(double(3))))
        print(greenio.spawn(greenio.await_, both()).wait())
        inner.close()
        """,
        hub=loop,
    )
    assert output == "[2, 4]\n[2, 4]\n[6]\n[8, 10]\n"


def test_tests_of_pytest_asyncio_after_green_ones(loop, tmp_path):
    pytest.importorskip("pytest_asyncio")
    (tmp_path / "test_both.py").write_text(
        textwrap.dedent(
            """
            import asyncio
            import greenio
            import pytest

            def test_green():
                greenio.spawn(greenio.sleep, 0.001).wait()

            @pytest.mark.asyncio
            async def test_asynchronous():
                await asyncio.sleep(0.001)
                await greenio.run_green(greenio.sleep, 0.001)

            def test_green_again():
                greenio.spawn(greenio.sleep, 0.001).wait()

            @pytest.mark.asyncio
            async def test_asynchronous_again():
                await asyncio.sleep(0.001)
            """
        )
    )
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
    )
    options = ("-p", "no:randomly", "-p", "no:cacheprovider", "-q", "-W", "error")
    done = python("-m", "pytest", *options, str(tmp_path), hub=loop, cwd=tmp_path)
    assert "4 passed" in done.stdout, done.stdout


_NEW = "loop = asyncio.new_event_loop(); asyncio.set_event_loop(loop)"
_LOOPS_OF_SCRIPTS = {
    "asked for after the call": ("", "loop = asyncio.get_event_loop()"),
    "set after the call": ("", _NEW),
    "set before the call": (_NEW, ""),
}


@pytest.mark.parametrize(
    ("before", "after"), _LOOPS_OF_SCRIPTS.values(), ids=_LOOPS_OF_SCRIPTS
)
def test_a_script_runs_what_it_gathers_on_its_loop(loop, before, after):
    output = run(
        f"""
        import asyncio
        import greenio

        steps = []

        def others():
            for _ in range(3):
                steps.append("green")
                greenio.sleep(0)

        async def double(number):
            await asyncio.sleep(0.001)
            while len(steps) < 3:
                await asyncio.sleep(0)
            assert asyncio.get_running_loop() is loop
            return 2 * number

        async def stop():
            loop.stop()

        {before}
        greenio.sleep(0)
        {after}
        complete = loop.run_until_complete
        thread = greenio.spawn(others)
        assert complete(asyncio.gather(double(1), double(2))) == [2, 4]
        assert steps == 3 * ["green"]
        assert complete(double(3)) == 6
        assert complete(loop.create_task(double(4))) == 8
        assert complete(asyncio.ensure_future(double(5))) == 10
        future = asyncio.Future()
        loop.call_later(0.001, future.set_result, 11)
        assert complete(future) == 11
        try:
            complete(asyncio.wait_for(asyncio.sleep(30), 0.001))
        except asyncio.TimeoutError:
            pass
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
        loop.create_task(stop())
        try:
            complete(asyncio.sleep(30))
        except RuntimeError as exc:
            print(exc)
        # What the script spawns sees the hub's loop all the same.
        assert greenio.spawn(asyncio.get_running_loop).wait() is greenio.hubs.get_hub().loop
        complete(loop.shutdown_asyncgens())
        loop.close()
        assert loop.is_closed()
        # There is another hub, if need be.
        assert greenio.spawn(asyncio.run, asyncio.sleep(0, "again")).wait() == "again"
        """,
        hub=loop,
    )
    assert output == "Event loop stopped before Future completed.\n"


def test_who_is_interrupted_while_the_hubs_loop_runs_something_ends_that(loop):
    output = run(
        """
        import asyncio
        import greenio

        async def endless():
            try:
                await asyncio.sleep(30)
            finally:
                await asyncio.sleep(0)
                print("cleaned up")

        greenio.sleep(0)
        loop = asyncio.get_event_loop()
        try:
            with greenio.Timeout(0.001):
                loop.run_until_complete(endless())
        except greenio.Timeout:
            print("in time")
        """,
        hub=loop,
    )
    assert output == "cleaned up\nin time\n"


def test_where_somebody_else_runs_the_loop_it_is_an_error():
    async def main():
        loop = asyncio.get_running_loop()
        pause = asyncio.sleep(0)
        for call in (partial(loop.run_until_complete, pause), loop.close):
            with pytest.raises(RuntimeError, match="running"):
                await greenio.run_green(call)
        pause.close()

    asyncio.run(main())


def test_green_threads_end_with_the_loop_that_the_script_closes(loop):
    output = run(
        """
        import asyncio
        import greenio

        def endless():
            try:
                greenio.sleep(30)
            finally:
                print("ended")

        greenio.spawn(endless)
        greenio.sleep(0)
        asyncio.get_event_loop().close()
        print("closed")
        """,
        hub=loop,
    )
    assert output == "ended\nclosed\n"
