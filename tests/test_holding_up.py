"""Coroutines of a patched program that block for a moment."""

from __future__ import annotations

import pytest

import greenio
from _fresh import python, run
from greenio import patcher

# What the system ends by itself.
CALLS = {
    "time.sleep": "time.sleep(0.001)",
    "subprocess.run": "subprocess.run([sys.executable, '-Sc', ''], check=True)",
    "wait": "subprocess.Popen(['sleep', '0.01']).wait(timeout=20)",
    "waitpid": "os.waitpid(os.posix_spawnp('sleep', ['sleep', '.01'], dict(os.environ)), 2)",
    "communicate": "print(subprocess.check_output(['sleep', '0.01']), end='')",
    "getaddrinfo": "socket.getaddrinfo('localhost', 80)",
    "gethostbyaddr": "socket.gethostbyaddr('127.0.0.1')",
    "select": "select.select(os.pipe()[:1], [], [], 0.001)",
    "read": "os.read(r, 1)",
}

PROGRAM = """
import greenio; greenio.monkey_patch()
import asyncio, os, select, socket, subprocess, sys, threading, time, warnings
warnings.simplefilter("default", greenio.BlockingInLoopWarning)
r, w = os.pipe()
native = greenio.patcher.original("threading")
native.Timer(0.01, greenio.patcher.original("os").write, (w, b"xx")).start()

async def main():
    for _ in range(2):
        {call}

asyncio.run(main())
"""


@pytest.mark.parametrize("name", CALLS)
def test_the_real_call_is_made_and_warned_of_once(name):
    program = PROGRAM.format(call=CALLS[name])
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("BlockingInLoopWarning") == 1, done.stderr
    assert done.stderr.startswith("<string>:11: ")
    assert "Use `await " in done.stderr


def test_policies():
    out = run("""
        import greenio; greenio.monkey_patch()
        import asyncio, time, warnings
        from greenio import patcher

        async def block():
            time.sleep(0.001)
            return "blocked"

        def attempt(policy):
            patcher.blocking_in_loop(policy)
            try:
                print(policy, asyncio.run(block()))
            except Exception as error:
                print(policy, type(error).__module__, type(error).__name__)

        for policy in ("allow", "refuse", "warn", None):
            attempt(policy)
    """)
    assert out == (
        "allow blocked\n"
        "refuse greenio BlockingInLoopError\n"
        # Warnings are errors in here; each place is told of once.
        "warn greenio BlockingInLoopWarning\n"
        "None blocked\n"
    )


def test_the_environment_chooses():
    program = """
import greenio; greenio.monkey_patch()
import asyncio, time
async def main():
    time.sleep(0.001)
asyncio.run(main())
"""
    done = python("-c", program, GREENIO_BLOCKING_IN_LOOP="allow")
    assert (done.returncode, done.stderr) == (0, "")
    done = python("-c", program, GREENIO_BLOCKING_IN_LOOP="refuse")
    assert "BlockingInLoopError" in done.stderr


def test_what_a_green_thread_has_to_see_to_is_refused():
    out = run("""
        import greenio; greenio.monkey_patch()
        import asyncio, queue, threading, time
        lock = threading.Lock()
        lock.acquire()
        async def main():
            for wait in (
                lambda: lock.acquire(timeout=0.01),
                lambda: threading.Event().wait(0.01),
                lambda: queue.Queue().get(timeout=0.01),
                lambda: queue.SimpleQueue().get(timeout=0.01),
                lambda: threading.Thread(target=time.sleep, args=(0.01,)).start()
                        or threading.enumerate()[-1].join(),
                lambda: greenio.sleep(0.001),
                lambda: greenio.spawn(greenio.sleep, 0.001).wait(),
            ):
                try:
                    wait()
                except greenio.BlockingInLoopError:
                    print("refused")
                else:
                    print("waited")
        asyncio.run(main())
    """)
    assert out == "refused\n" * 7


def test_the_monitor_reports_it():
    out = run("""
        import greenio; greenio.monkey_patch()
        import asyncio, time
        from greenio import debug, patcher
        patcher.blocking_in_loop("allow")
        told = []
        async def the_culprit():
            while not told:
                time.sleep(0.05)
                await asyncio.sleep(0)
        async def main():
            with debug.monitor(0.01, told.append):
                await asyncio.wait_for(the_culprit(), 30)
        asyncio.run(main())
        assert "the_culprit" in told[0].stack, told[0].stack
        print("told")
    """)
    assert out == "told\n"


def test_unknown_policy():
    with pytest.raises(ValueError, match="warn, allow, refuse, not 'sometimes'"):
        patcher.blocking_in_loop("sometimes")
    assert issubclass(greenio.BlockingInLoopWarning, RuntimeWarning)


def test_an_unpatched_program_refuses(run_async):
    from greenio.green import time as green_time

    async def main():
        with pytest.raises(greenio.BlockingInLoopError):
            green_time.sleep(0.001)

    run_async(main)
