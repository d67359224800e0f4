"""Threads of a patched program go on when the event loop ends that they ran on."""

from __future__ import annotations

import textwrap

from _fresh import run

_BEGIN = """
import greenio; greenio.monkey_patch()
import asyncio, os, queue, socket, threading, time
def run(main):
    if {loop!r} == "uvloop":
        import uvloop
        uvloop.run(main)
    else:
        asyncio.run(main)
original = greenio.patcher.original("threading")
go_on = threading.Event()
"""


def program(text: str, loop: str) -> str:
    return run(_BEGIN.format(loop=loop) + textwrap.dedent(text), hub=loop)


def test_threads_and_timers_go_on_and_the_program_waits_for_them(loop):
    assert sorted(
        program(
            """
            def work():
                time.sleep(0.02)
                print("thread")
            async def main():
                threading.Thread(target=work).start()
                threading.Timer(0.04, print, ["timer"]).start()
                await asyncio.sleep(0)
            run(main())
            print("run returned")
            """,
            loop,
        ).splitlines()
    ) == ["run returned", "thread", "timer"]


def test_a_job_of_an_executor_that_is_left_open_is_finished(loop):
    assert (
        program(
            """
            from concurrent.futures import ThreadPoolExecutor
            pool = ThreadPoolExecutor(1)
            async def main():
                for name in "ab":
                    await greenio.run_green(
                        pool.submit, lambda name=name: (go_on.wait(30), print(name)))
            run(main())
            print("run returned")
            go_on.set()
            """,
            loop,
        )
        == "run returned\na\nb\n"
    )


def test_the_main_program_sets_what_a_thread_waits_for(loop):
    assert (
        program(
            """
            async def main():
                global thread
                thread = threading.Thread(target=lambda: print(go_on.wait(30)))
                thread.start()
                await asyncio.sleep(0)
            run(main())
            go_on.set()
            thread.join()
            print("joined")
            """,
            loop,
        )
        == "True\njoined\n"
    )


def test_a_real_thread_sets_what_a_thread_waits_for(loop):
    assert (
        program(
            """
            async def main():
                global thread
                thread = threading.Thread(target=lambda: print(go_on.wait()))
                thread.start()
                await asyncio.sleep(0)
            run(main())
            original.Timer(0.02, go_on.set).start()
            thread.join()
            """,
            loop,
        )
        == "True\n"
    )


def test_a_thread_goes_on_waiting_for_a_socket(loop):
    assert (
        program(
            """
            left, right = socket.socketpair()
            right.settimeout(30)
            def work():
                for _ in range(2):
                    right.send(right.recv(9).upper())
            async def main():
                global thread
                thread = threading.Thread(target=work)
                thread.start()
                await asyncio.sleep(0)
            run(main())
            for text in (b"one", b"two"):
                left.sendall(text)
                print(left.recv(9))
            thread.join()
            left.close(); right.close()
            """,
            loop,
        )
        == "b'ONE'\nb'TWO'\n"
    )


def test_time_limits_go_on(loop):
    assert sorted(
        program(
            """
            def receive():
                left, right = socket.socketpair()
                right.settimeout(0.03)
                with left, right:
                    try:
                        right.recv(1)
                    except TimeoutError:
                        print("socket")
            def sleep():
                try:
                    with greenio.Timeout(0.02):
                        time.sleep(30)
                except greenio.Timeout:
                    print("Timeout")
            async def main():
                threads = [threading.Thread(target=each) for each in (receive, sleep)]
                threads.append(
                    threading.Thread(target=lambda: print(go_on.wait(0.04))))
                for thread in threads:
                    thread.start()
                await asyncio.sleep(0)
                return threads
            run(main())
            """,
            loop,
        ).splitlines()
    ) == ["False", "Timeout", "socket"]


def test_a_thread_that_is_never_idle_goes_on(loop):
    assert (
        program(
            """
            turns = 0
            def work():
                global turns
                while not go_on.is_set():
                    turns += 1
                    time.sleep(0)
            async def main():
                global thread
                thread = threading.Thread(target=work)
                thread.start()
                await asyncio.sleep(0)
            run(main())
            before = turns
            while turns < before + 10:
                time.sleep(0)
            go_on.set()
            thread.join()
            print("ended")
            """,
            loop,
        )
        == "ended\n"
    )


def test_a_daemon_serves_the_main_program_too(loop):
    assert (
        program(
            """
            jobs, done = queue.Queue(), []
            def work():
                while True:
                    done.append(jobs.get())
                    jobs.task_done()
            async def main():
                threading.Thread(target=work, daemon=True).start()
                jobs.put(1)
                await greenio.run_green(jobs.join)
            run(main())
            jobs.put(2)
            jobs.join()
            run(main())
            print(done)
            """,
            loop,
        )
        == "[1, 2, 1]\n"
    )


def test_threads_go_on_while_the_next_loop_runs(loop):
    assert (
        program(
            """
            async def first():
                threading.Thread(target=lambda: (time.sleep(0.02), go_on.set())).start()
                await asyncio.sleep(0)
            async def second():
                while not go_on.is_set():
                    await asyncio.sleep(0.001)
            run(first())
            run(second())
            run(second())
            print("ended")
            """,
            loop,
        )
        == "ended\n"
    )


def test_green_threads_that_were_spawned_end_with_the_loop(loop):
    assert (
        program(
            """
            def spawned():
                try:
                    time.sleep(30)
                finally:
                    print("ended")
            async def main():
                greenio.spawn(spawned)
                threading.Thread(target=go_on.wait).start()
                await asyncio.sleep(0.001)
            run(main())
            print("run returned")
            go_on.set()
            """,
            loop,
        )
        == "ended\nrun returned\n"
    )


def test_an_exception_ends_the_loop_and_no_thread(loop):
    assert (
        program(
            """
            async def main():
                threading.Thread(
                    target=lambda: (go_on.wait(30), print("thread"))).start()
                await asyncio.sleep(0)
                raise LookupError
            try:
                run(main())
            except LookupError:
                print("main")
                go_on.set()
            """,
            loop,
        )
        == "main\nthread\n"
    )


def test_on_a_loop_in_another_os_thread_they_end_with_it(loop):
    # A greenlet cannot go from one OS thread to another.
    assert (
        program(
            """
            def work():
                try:
                    time.sleep(30)
                finally:
                    time.sleep(0.001)
                    print("ended")
            async def main():
                thread = threading.Thread(target=work)
                # Also from a coroutine, before anything else has needed a hub.
                thread.start()
                await asyncio.sleep(0)
                assert thread.is_alive()
                quick = threading.Thread(target=print, args=["ran"])
                quick.start()
                await greenio.run_green(quick.join)
            def elsewhere():
                run(main())
                print("run returned")
            thread = original.Thread(target=elsewhere)
            thread.start()
            thread.join()
            """,
            loop,
        )
        == "ran\nended\nrun returned\n"
    )


# Its threads are on that loop, which stops and may run again, or never.
_LOOP = """
import atexit
if {loop!r} == "uvloop":
    import uvloop
    loop = uvloop.new_event_loop()
else:
    loop = asyncio.new_event_loop()
got = queue.Queue()
def work():
    print("begins")
    print(got.get())
    time.sleep(0.01)
    print("ends")
async def start(function=work):
    thread = threading.Thread(target=function)
    thread.start()
    return thread
"""


def on_a_loop(text: str, loop: str) -> list[str]:
    begin = _LOOP.format(loop=loop)
    return program(begin + textwrap.dedent(text), loop).splitlines()


def test_the_program_waits_for_a_thread_whose_loop_has_stopped(loop):
    assert on_a_loop(
        """
        loop.run_until_complete(start())
        print("stopped")
        atexit.register(loop.close)
        got.put("an item")
        """,
        loop,
    ) == ["begins", "stopped", "an item", "ends"]


def test_such_a_thread_goes_on_when_the_main_program_waits(loop):
    assert on_a_loop(
        """
        thread = loop.run_until_complete(start())
        threading.Timer(0.01, got.put, ["an item"]).start()
        thread.join()
        print("joined")
        loop.close()
        """,
        loop,
    ) == ["begins", "an item", "ends", "joined"]


def test_its_loop_may_run_again_and_end(loop):
    assert on_a_loop(
        """
        def see_off(ours, theirs):
            print(ours.recv(10))
            theirs.send(b"pong")
        ours, theirs = socket.socketpair()
        thread = loop.run_until_complete(start(lambda: see_off(ours, ours)))
        other = loop.run_until_complete(start())
        time.sleep(0.01)
        theirs.send(b"ping")
        async def again():
            print("again")
            await greenio.run_green(thread.join)
            print(theirs.recv(10))
            await start(lambda: (time.sleep(0.02), print("a third")))
        loop.run_until_complete(again())
        for task in (tasks := asyncio.all_tasks(loop)):
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()
        ours.close()
        theirs.close()
        got.put("an item")
        other.join()
        """,
        loop,
    ) == ["begins", "again", "b'ping'", "b'pong'", "an item", "ends", "a third"]


def test_signals_wake_the_loop_that_such_a_thread_moves_to(loop):
    assert on_a_loop(
        """
        import signal
        thread = loop.run_until_complete(start())
        loop.close()
        signal.signal(signal.SIGALRM, lambda *_: greenio.spawn(got.put, "an item"))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        thread.join()
        """,
        loop,
    ) == ["begins", "an item", "ends"]
