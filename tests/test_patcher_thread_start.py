"""`Thread.start` of a patched program, and the one `threading` that it has."""

from __future__ import annotations

from _fresh import run

_PATCHED = "import greenio; greenio.monkey_patch()\n"


def test_start_returns_when_the_thread_has_run_up_to_its_first_wait(loop):
    assert (
        run(
            _PATCHED
            + """if True:
        import threading, time
        seen = []
        def work():
            seen.append("began")
            time.sleep(0)
            seen.append("went on")
        def start():
            thread = threading.Thread(target=work)
            thread.start()
            seen.append("started")
            thread.join()
        for where in (start, lambda: greenio.spawn(start).wait()):
            where()
            print(seen)
            seen.clear()
        """,
            hub=loop,
        )
        == "['began', 'started', 'went on']\n" * 2
    )


def test_nobody_else_runs_while_a_green_thread_starts_another(loop):
    # Else a coroutine could meet a lock that the starter holds.
    assert (
        run(
            _PATCHED
            + """if True:
        import asyncio, threading
        lock = threading.Lock()
        refused = []
        async def taker(done):
            while not done.is_set():
                with lock:
                    pass
                await asyncio.sleep(0)
        def starter():
            for _ in range(100):
                with lock:
                    threading.Thread(target=lambda: None).start()
                greenio.sleep(0)
        async def main():
            done = asyncio.Event()
            task = asyncio.create_task(taker(done))
            await greenio.run_green(starter)
            done.set()
            await task
            print("nobody met the lock")
        greenio.run(main)
        """,
            hub=loop,
        )
        == "nobody met the lock\n"
    )


def test_a_thread_that_a_coroutine_starts_runs_when_the_loop_does(loop):
    assert (
        run(
            _PATCHED
            + """if True:
        import asyncio, threading
        async def main():
            event = asyncio.Event()
            thread = threading.Thread(target=event.set)
            thread.start()
            print(event.is_set())
            await event.wait()
            print(event.is_set())
        greenio.run(main)
        """,
            hub=loop,
        )
        == "False\nTrue\n"
    )


def test_who_starts_a_thread_that_is_killed_before_it_begins_goes_on(loop):
    assert (
        run(
            _PATCHED
            + """if True:
        import gc, threading
        thread = threading.Thread(target=print, args=("it ran",))
        def kill():
            for other in gc.get_objects():
                if isinstance(other, greenio.GreenThread) and not other and not other.dead:
                    other.kill()
        greenio.spawn(kill)
        thread.start()
        thread.join()
        print(thread.is_alive(), threading.active_count())
        """,
            hub=loop,
        )
        == "False 1\n"
    )


def test_green_and_standard_modules_are_the_same_after_the_patch(loop):
    assert (
        run(
            """if True:
        from greenio.green import threading as early
        import greenio; greenio.monkey_patch()
        import queue, subprocess, threading
        from greenio.green import queue as green_queue
        from greenio.green import subprocess as green_subprocess
        from greenio.green import threading as late
        assert early is late
        assert late.Thread is threading.Thread
        assert late._active is threading._active
        assert green_queue.Queue is queue.Queue
        assert green_queue.SimpleQueue is queue.SimpleQueue
        assert green_subprocess.Popen is subprocess.Popen
        go_on = threading.Event()
        threads = [module.Thread(target=go_on.wait) for module in (threading, late)]
        for thread in threads:
            thread.start()
        print(late.active_count(), threading.active_count())
        print(set(threads) <= set(late.enumerate()))
        go_on.set()
        """,
            hub=loop,
        )
        == "3 3\nTrue\n"
    )


def test_a_part_that_is_not_patched_keeps_a_green_module_of_its_own(loop):
    assert (
        run(
            """if True:
        import greenio; greenio.monkey_patch(thread=False)
        import queue, subprocess, threading
        from greenio.green import queue as green_queue
        from greenio.green import subprocess as green_subprocess
        from greenio.green import threading as green_threading
        print(green_threading.Thread is threading.Thread)
        print(green_queue.Queue is queue.Queue)
        print(green_subprocess.Popen is subprocess.Popen)
        """,
            hub=loop,
        )
        == "False\nFalse\nTrue\n"
    )


def test_a_thread_that_interrupts_who_starts_it_can_be_joined(loop):
    assert (
        run(
            _PATCHED
            + """if True:
        import _thread, threading, time
        time.sleep(0)
        thread = threading.Thread(target=_thread.interrupt_main)
        try:
            thread.start()
            thread.join()
        except KeyboardInterrupt:
            print("interrupted")
        thread.join()
        print(thread.is_alive(), threading.active_count())
        """,
            hub=loop,
        )
        == "interrupted\nFalse 1\n"
    )
