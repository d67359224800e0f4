"""Exit hooks, and what is left open when a patched program ends."""

from __future__ import annotations

import pytest

from _fresh import python, run


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


def test_green_threads_end_also_where_the_collector_knows_no_hooks(hub_name):
    done = python(
        "-c",
        """if True:
        import atexit, gc
        atexit.register(print, "hook")
        import greenio
        def spawned():
            try:
                greenio.sleep(30)
            finally:
                print("ended")
        thread = greenio.spawn(spawned)
        greenio.sleep(0)
        gc.freeze()
        """,
        hub=hub_name,
    )
    assert done.returncode == 0
    assert sorted(done.stdout.split()) == ["ended", "hook"]
    assert done.stderr == ""


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


def test_a_thread_that_the_interpreter_stops_in_a_primitive_stops_no_finalizer(loop):
    assert (
        run(
            """if True:
        import _thread, atexit, time
        go_on, is_inside = _thread.allocate_lock(), _thread.allocate_lock()
        go_on.acquire(); is_inside.acquire()
        @atexit.register
        def last_hook():
            go_on.release()
            is_inside.acquire()
        def thread(sleep=time.sleep):
            go_on.acquire()
            with mutex:
                is_inside.release()
                sleep(1000)
        _thread.start_new_thread(thread, ())
        import gc, greenio, threading; greenio.monkey_patch()
        from greenio._loop.mutex import mutex
        class Garbage:
            def __init__(self):
                self.me = self
                self.parts = greenio.queue.Queue(), greenio.event.Event(), threading.Lock()
                self.print = print
            def __del__(self):
                items, event, lock = self.parts
                items.put(1)
                event.send(2)
                with lock:
                    self.print(items.get(), event.wait())
        # It goes when the interpreter ends.
        gc.set_threshold(10**6)
        Garbage()
        """,
            hub=loop,
        )
        == "1 2\n"
    )
