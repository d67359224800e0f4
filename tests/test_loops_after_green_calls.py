"""Event loops that a plain, unpatched script runs after its first green call."""

from __future__ import annotations

import importlib.util
import sys
import textwrap

import pytest

from _fresh import python, run

_RUN_IN = {
    "asyncio.run": "asyncio.run(main())",
    "new_event_loop": "new_loop().run_until_complete(main())",
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
