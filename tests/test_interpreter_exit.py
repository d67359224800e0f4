"""Exit hooks, and what is left open when a patched program ends."""

from __future__ import annotations

import sys

import pytest

from _fresh import python, run

_KEEPS_ORDER = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="hooks are settled before the first one runs"
)


@_KEEPS_ORDER
def test_hooks_from_before_the_import_find_green_threads_alive(loop):
    assert (
        run(
            """if True:
        import atexit, queue, threading
        jobs, done = queue.Queue(), []
        atexit.register(lambda: (jobs.join(), print("first", done)))
        import greenio; greenio.monkey_patch()
        atexit.register(lambda: print("second"))
        def work():
            while True:
                job = jobs.get()
                greenio.sleep(0.001)
                done.append(job)
                jobs.task_done()
        threading.Thread(target=work, daemon=True).start()
        def spawned():
            try:
                greenio.sleep(30)
            finally:
                print("ended")
        greenio.spawn(spawned)
        greenio.sleep(0)
        for job in range(3):
            jobs.put(job)
        """,
            hub=loop,
        )
        == "second\nfirst [0, 1, 2]\nended\n"
    )


@_KEEPS_ORDER
def test_every_hook_runs_once_and_a_failing_one_stops_nobody(hub_name):
    done = python(
        "-c",
        """if True:
        import atexit
        atexit.register(print, "1")
        def fail():
            raise LookupError("in a hook")
        atexit.register(fail)
        import greenio
        atexit.register(print, "2")
        atexit.register(fail)
        atexit.register(print, "3")
        greenio.sleep(0)
        """,
        hub=hub_name,
    )
    assert done.returncode == 0
    assert done.stdout == "3\n2\n1\n"
    assert done.stderr.count("LookupError: in a hook") == 2


_POOLS = {
    "multiprocessing": "multiprocessing.get_context('fork').Pool(2)",
    "threads": "multiprocessing.pool.ThreadPool(2)",
    "processes": "concurrent.futures.ProcessPoolExecutor(2)",
    "executor": "concurrent.futures.ThreadPoolExecutor(2)",
}


@pytest.mark.parametrize(
    ("pool", "where"),
    [
        (pool, where)
        for pool in _POOLS
        for where in ("main", "green", "coroutine")
        # These wait for their threads when they are made.
        if where != "coroutine" or pool not in ("multiprocessing", "threads")
    ],
)
def test_a_pool_that_is_left_open_does_not_stop_the_end(loop, pool, where):
    begin = f"""if True:
        import greenio; greenio.monkey_patch()
        import asyncio, concurrent.futures, multiprocessing.pool, warnings
        # That it is left open, and that it forks beside threads.
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        def make():
            global pool
            pool = {_POOLS[pool]}
        def use():
            print(list(pool.map(abs, [-1, 2])))
        def run(main):
            if {loop!r} == "uvloop":
                import uvloop
                uvloop.run(main)
            else:
                asyncio.run(main)
        """
    program = {
        "main": "make(); use()\n",
        "green": """
        async def main():
            await greenio.run_green(lambda: (make(), use()))
        run(main())
        """,
        "coroutine": """
        async def main():
            make()
            await greenio.run_green(use)
        run(main())
        """,
    }
    assert run(begin + program[where], hub=loop) == "[1, 2]\n"
