"""What docs/howto/debugging.md says of debuggers and profilers."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import pytest

from _fresh import PATIENCE, environment, run

# Each starts an interpreter.
pytestmark = pytest.mark.slow


def debug(program: str, commands: str, hub: str) -> str:
    """Run a program with commands for its debugger; return what is shown."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        input=textwrap.dedent(commands),
        env=environment(hub),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pdb_in_a_green_thread(loop):
    """`n` steps over a wait, in which others run, and stays in this green thread."""
    shown = debug(
        """
        import greenio, sys
        ticks = []

        def ticker():
            while True:
                ticks.append(1)
                greenio.sleep(0)

        def worker(n):
            doubled = n * 2
            breakpoint()
            greenio.sleep(0.01)
            result = doubled + 1
            return result

        greenio.spawn(ticker)
        print("ended with", greenio.spawn(worker, 4).wait())
        """,
        """\
        p ("at", doubled, len(ticks))
        n
        n
        n
        p ("then", result, len(ticks) > 2)
        c
        """,
        loop,
    )
    assert "('at', 8, " in shown
    assert "('then', 9, True)" in shown
    assert "ended with 9" in shown


def test_pdb_in_what_a_coroutine_calls(loop):
    shown = debug(
        """
        import asyncio, greenio

        def blocking(number):
            breakpoint()
            greenio.sleep(0.001)
            return number

        async def main():
            print("ended with", await greenio.run_green(blocking, 3))

        asyncio.run(main())
        """,
        """\
        n
        n
        p ("number", number)
        c
        """,
        loop,
    )
    assert "('number', 3)" in shown
    assert "ended with 3" in shown


def test_faulthandler_shows_who_runs(loop):
    shown = run(
        """
        import faulthandler, sys, greenio

        def parked():
            greenio.sleep(1000)

        def running():
            faulthandler.dump_traceback(sys.stdout)

        thread = greenio.spawn(parked)
        greenio.sleep(0)
        greenio.spawn(running).wait()
        thread.kill()
        """,
        hub=loop,
    )
    assert " in running" in shown
    assert " in parked" not in shown


def test_the_profiler_that_knows_green_threads(loop):
    shown = run(
        """
        import greenio
        from greenio.green import profile

        def often():
            for _ in range(7):
                turn()

        def turn():
            greenio.sleep(0)

        def main():
            threads = [greenio.spawn(often) for _ in range(3)]
            for thread in threads:
                thread.wait()

        profiler = profile.Profile()
        profiler.runcall(main)
        profiler.print_stats()
        """,
        hub=loop,
    )
    calls = {
        name: int(n)
        for n, name in re.findall(r"^ *(\d+) .*\((\w+)\)$", shown, re.MULTILINE)
    }
    assert (calls["main"], calls["often"], calls["turn"]) == (1, 3, 21)


def test_what_is_set_in_one_green_thread_sees_all(loop):
    shown = run(
        """
        import sys, greenio
        seen = []

        def profile(frame, event, arg):
            if event in ("call", "return") and frame.f_code.co_name in "ab":
                seen.append(event + " " + frame.f_code.co_name)

        def sets():
            sys.setprofile(profile)

        def a():
            greenio.sleep(0)

        def b():
            greenio.sleep(0)

        greenio.spawn(sets).wait()
        threads = [greenio.spawn(a), greenio.spawn(b)]
        greenio.joinall(threads)
        sys.setprofile(None)
        print(seen)
        """,
        hub=loop,
    )
    assert shown == "['call a', 'call b', 'return a', 'return b']\n"


def test_tracemalloc(loop):
    shown = run(
        """
        import tracemalloc, greenio
        # The loop is imported by then, which may take more.
        greenio.sleep(0)
        tracemalloc.start(10)
        kept = []

        def allocates():
            for _ in range(50):
                kept.append(bytearray(10000))
                greenio.sleep(0)

        greenio.spawn(allocates).wait()
        first = tracemalloc.take_snapshot().statistics("traceback")[0]
        assert first.size > 500000, first
        print(*first.traceback, sep="\\n")
        """,
        hub=loop,
    )
    assert shown.splitlines()[-1].startswith("<string>:10")
    assert "thread.py" in shown.splitlines()[0]
