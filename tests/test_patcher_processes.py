"""`multiprocessing` and process pools in a patched program."""

from __future__ import annotations

import inspect
import os
import textwrap

import pytest

from _fresh import python, run
from _support import Ticker

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

every_method = pytest.mark.parametrize("method", ["fork", "spawn"])

# Children that are spawned import the program again.
START = """
from __future__ import annotations

import greenio
greenio.monkey_patch()
import multiprocessing, os, sys, threading, time
from concurrent.futures import ProcessPoolExecutor

"""


def program(tmp_path, functions, main, *arguments, hub):
    """Run a program of several processes; it ends well, quietly, and by itself."""
    source = START + inspect.getsource(Ticker) + textwrap.dedent(functions)
    source += '\n\nif __name__ == "__main__":\n'
    source += textwrap.indent(textwrap.dedent(main), "    ")
    path = tmp_path / "program.py"
    path.write_text(source)
    done = python(str(path), *arguments, hub=hub)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


@every_method
def test_processes_and_what_they_share(hub_name, tmp_path, method):
    printed = program(
        tmp_path,
        """
        def child(queue, begin, counter, lock, conn):
            begin.wait()
            for _ in range(20):
                with lock:
                    counter.value += 1
            queue.put(os.getpid())
            greenio.spawn(conn.send, "from a green thread").wait()
        """,
        """
        context = multiprocessing.get_context(sys.argv[1])
        queue, begin, lock = context.Queue(), context.Event(), context.RLock()
        counter = context.Value("i", 0, lock=False)
        near, far = context.Pipe()
        arguments = (queue, begin, counter, lock, far)
        processes = [context.Process(target=child, args=arguments) for _ in range(2)]
        # In this process, by the same lock.
        processes.append(threading.Thread(target=child, args=arguments))
        with Ticker() as ticker:
            for process in processes:
                process.start()
            waiting = greenio.spawn(queue.get)
            while ticker.ticks < 2:
                greenio.sleep(0)
            before = ticker.ticks
            begin.set()
            pids = {waiting.wait(), queue.get(), queue.get(timeout=20)}
            print(pids == {processes[0].pid, processes[1].pid, os.getpid()})
            print({near.recv() for _ in processes})
            for process in processes:
                process.join()
            print(counter.value, [process.exitcode for process in processes[:2]])
            print(before > 1, ticker.ticks > before)
        """,
        method,
        hub=hub_name,
    )
    assert printed == ["True", "{'from a green thread'}", "60 [0, 0]", "True True"]


@every_method
def test_pools(hub_name, tmp_path, method):
    """One is closed, one terminated, and one left to the end of the interpreter."""
    printed = program(
        tmp_path,
        """
        def square(number):
            time.sleep(0.001)
            return number * number
        """,
        """
        context = multiprocessing.get_context(sys.argv[1])
        with Ticker() as ticker:
            with context.Pool(2) as pool:
                print(pool.map(square, range(5)))
                print(pool.apply_async(square, (3,)).get(20))
                print(sorted(pool.imap_unordered(square, [4, 5])))
            pool = context.Pool(2)
            print(pool.map(square, range(3)))
            pool.close()
            pool.join()
            with ProcessPoolExecutor(2, mp_context=context) as executor:
                print(list(executor.map(square, range(5))))
            print(ticker.ticks > 1)
        executor = ProcessPoolExecutor(1, mp_context=context)
        print(executor.submit(square, 6).result())
        """,
        method,
        hub=hub_name,
    )
    assert printed == [
        "[0, 1, 4, 9, 16]",
        "9",
        "[16, 25]",
        "[0, 1, 4]",
        "[0, 1, 4, 9, 16]",
        "True",
        "36",
    ]


@every_method
def test_coroutines_start_processes_and_ask_managers(hub_name, tmp_path, method):
    """Other processes answer at once; who waits for an event waits for anybody."""
    printed = program(
        tmp_path,
        """
        import asyncio
        from multiprocessing.managers import SyncManager

        def child(value, event):
            async def main():
                value.value = 42
                event.set()

            asyncio.run(main())

        def refused(function):
            try:
                function()
            except greenio.BlockingInLoopError as error:
                return str(error).partition(" would ")[0]

        async def main(context):
            with SyncManager(("127.0.0.1", 0), ctx=context) as manager:
                value, event = manager.Value("i", 0), manager.Event()
                process = context.Process(target=child, args=(value, event))
                process.start()
                print(refused(event.wait))
                await greenio.run_green(event.wait)
                print(event.is_set(), value.value)
                await greenio.run_green(process.join)
                queue, lock = manager.Queue(), manager.Lock()
                queue.put("it")
                print(refused(queue.get), queue.get(False), queue.empty())
                print(refused(lock.acquire), lock.acquire(False))
                print(manager.dict(one=1).get("one"))
            try:
                time.sleep(0.001)
            except greenio.BlockingInLoopWarning:
                print("coroutines block no more than that")
        """,
        "asyncio.run(main(multiprocessing.get_context(sys.argv[1])))",
        method,
        hub=hub_name,
    )
    assert printed == [
        "Event.wait()",
        "True 42",
        "Queue.get() it True",
        "Lock.acquire() True",
        "1",
        "coroutines block no more than that",
    ]


def test_locks_between_green_threads(hub_name):
    """Those of one OS thread exclude each other too."""
    printed = run(
        """
        import greenio; greenio.monkey_patch()
        import multiprocessing, threading, time

        def work(lock):
            with lock:
                inside.append(1)
                time.sleep(0.002)
                most.append(len(inside))
                inside.pop()

        def recursive(lock):
            with lock:
                work(lock)

        inside, most = [], []
        for lock, target in (
            (multiprocessing.Lock(), work),
            (multiprocessing.RLock(), recursive),
        ):
            threads = [threading.Thread(target=target, args=[lock]) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        print(most)
        with lock:
            print(greenio.spawn(lock.acquire, False).wait())
            print(greenio.spawn(lock.acquire, True, 0.01).wait())
            def release():
                try:
                    lock.release()
                except AssertionError as exc:
                    return exc
            print(greenio.spawn(release).wait())
        print(greenio.spawn(lock.acquire, True, 0.01).wait())
        """,
        hub=hub_name,
    )
    assert printed.splitlines() == [
        "[1, 1, 1, 1, 1, 1]",
        "False",
        "False",
        "attempt to release recursive lock not owned by thread",
        "True",
    ]


@pytest.mark.parametrize("keep", ["pool", "nothing"])
def test_a_pool_nobody_closes(hub_name, tmp_path, keep):
    """The interpreter ends it, and says so where Python does: there are warnings."""
    path = tmp_path / "program.py"
    path.write_text(
        START
        + textwrap.dedent(
            """
            if __name__ == "__main__":
                pool = multiprocessing.get_context("fork").Pool(2)
                print(pool.map(abs, [-1, 2]))
                if sys.argv[1] == "nothing":
                    del pool
            """
        )
    )
    done = python("-W", "ignore", "-m", "greenio", str(path), keep, hub=hub_name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[1, 2]\n", "")


def test_patching_after_multiprocessing_was_imported(hub_name):
    printed = run(
        """
        import concurrent.futures.process, multiprocessing.connection
        import greenio; greenio.monkey_patch()

        def ping():
            greenio.sleep(0.01)
            far.send("ping")
            queue.put("pong")

        near, far = multiprocessing.Pipe()
        queue = multiprocessing.Queue()
        greenio.spawn(ping)
        print(near.recv(), queue.get())
        near.close()
        """,
        hub=hub_name,
    )
    assert printed == "ping pong\n"


def test_a_child_that_is_not_patched(hub_name, tmp_path):
    """It shares the descriptors with one that is, and waits in its own way."""
    path = tmp_path / "program.py"
    path.write_text(
        textwrap.dedent(
            """
            import multiprocessing

            def child(connection):
                connection.send("ready")
                connection.send(connection.recv().upper())

            if __name__ == "__main__":
                import greenio; greenio.monkey_patch()

                context = multiprocessing.get_context("spawn")
                near, far = context.Pipe()
                process = context.Process(target=child, args=(far,))
                process.start()
                print(near.recv())
                # It waits by now, or soon will.
                greenio.sleep(0.05)
                near.send("answer")
                print(near.recv())
                process.join()
            """
        )
    )
    done = python(str(path), hub=hub_name)
    assert (done.stdout, done.stderr) == ("ready\nANSWER\n", "")
