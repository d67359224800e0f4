"""After monkey_patch: threads and locks, up to the end of the interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from _fresh import PATIENCE, Interrupted, environment, python, run

# Each starts interpreters.
pytestmark = pytest.mark.slow

# -- threads, locks and the end ---------------------------------------------------------


def test_threads_and_the_end_of_the_program(loop):
    done = python(
        "-c",
        "import greenio; greenio.monkey_patch()\n"
        "import threading, time, atexit, concurrent.futures\n"
        "def late(): time.sleep(0.05); print('late'); later.start()\n"
        "later = threading.Thread(target=lambda: (time.sleep(0.01), print('later')))\n"
        "later.daemon = False\n"
        "threading.Thread(target=late).start()\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "pool = concurrent.futures.ThreadPoolExecutor(2)\n"
        "pool.submit(time.sleep, 0.01)\n"
        "greenio.spawn(time.sleep, 600)\n"
        "atexit.register(print, 'atexit')\n"
        "print('main ends')\n",
        hub=loop,
    )
    assert done.stdout.splitlines() == ["main ends", "late", "later", "atexit"]
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_that_outlive_the_main_thread(loop):
    printed = run(
        """
        import greenio; greenio.monkey_patch()
        import sys, threading

        def until_the_end():
            main = threading.main_thread()
            main.join(0.001)
            print(main.is_alive())
            asked.set()
            main.join()
            print(main.is_alive())
            last = threading.Thread(target=print, args=["the last"])
            last.start()
            last.join()

        asked = threading.Event()
        threading.Thread(target=until_the_end).start()
        threading.Thread(target=threading.main_thread().join, daemon=True).start()
        asked.wait()
        print("end of main")
        """,
        hub=loop,
    )
    assert printed.splitlines() == ["True", "end of main", "False", "the last"]


def test_an_unhandled_error_in_a_thread():
    done = python(
        "-c",
        "import greenio; greenio.monkey_patch()\n"
        "import threading\n"
        "thread = threading.Thread(target=lambda: 1 / 0, name='failing one')\n"
        "thread.start(); thread.join()\n"
        "threading.excepthook = lambda args: print('hook', args.exc_type.__name__)\n"
        "thread = threading.Thread(target=lambda: 1 / 0)\n"
        "thread.start(); thread.join()\n",
    )
    assert done.returncode == 0
    assert "Exception in thread failing one" in done.stderr
    assert done.stderr.count("ZeroDivisionError") == 1
    assert done.stdout == "hook ZeroDivisionError\n"


def test_an_interrupt_in_a_thread_is_the_main_threads(loop):
    program = (
        "import greenio; greenio.monkey_patch()\n"
        "import threading\n"
        "def busy():\n"
        "    print('busy', flush=True)\n"
        "    while True: pass\n"
        "thread = threading.Thread(target=busy, daemon=True)\n"
        "try:\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    done = Interrupted("-c", program, until="busy", hub=loop)
    assert done.stdout.endswith("interrupted\n")
    assert (done.status, done.stderr) == (0, "")


def test_logging_between_all_kinds_of_threads(loop):
    """The handlers' locks were made before, and everybody shares them."""
    run(
        """
        import asyncio, io, logging, sys
        stream = io.StringIO()
        logging.basicConfig(stream=stream, format="%(threadName)s %(message)s")
        log = logging.getLogger("test")
        import greenio
        greenio.monkey_patch()
        import threading, time

        class Slow(logging.StreamHandler):
            def emit(self, record):
                time.sleep(0.001)
                super().emit(record)
        slow = Slow(stream)
        plain = logging.Logger("plain")
        plain.addHandler(logging.getLogger().handlers[0])
        green = logging.Logger("green")
        green.addHandler(slow)

        def noise(name):
            for number in range(50):
                plain.warning("%s %s", name, number)
        def green_noise(name):
            for number in range(20):
                green.warning("%s %s", name, number)

        async def main():
            async def coroutine():
                for number in range(50):
                    plain.warning("coroutine %s", number)
                    await asyncio.sleep(0)
            await asyncio.wait_for(asyncio.gather(
                coroutine(),
                *(asyncio.to_thread(noise, "real") for _ in range(3)),
                *(asyncio.to_thread(green_noise, "real") for _ in range(2)),
                *(greenio.spawn(green_noise, "green") for _ in range(3)),
                *(greenio.spawn(noise, "green") for _ in range(3)),
            ), 30)
        asyncio.run(main())
        assert len(stream.getvalue().splitlines()) == 50 + 3 * 50 + 2 * 20 + 60 + 150
        """,
        hub=loop,
    )


def test_current_thread_and_locals():
    run("""
        import greenio
        greenio.monkey_patch()
        import gc, threading
        data = threading.local()
        data.name = "main"
        before = threading.enumerate()

        def work(name):
            assert not hasattr(data, "name")
            data.name = name
            greenio.sleep(0)
            assert data.name == name
            return threading.current_thread()

        threads = [greenio.spawn(work, number) for number in range(10)]
        found = [thread.wait() for thread in threads]
        assert len(set(found)) == 10 and data.name == "main"
        assert threading.enumerate() == before
        assert threading.current_thread() is threading.main_thread() is before[0]
        objects = [thread.wait() for thread in threads]
        state = object.__getattribute__(data, "_local__state")
        del threads, found, objects
        gc.collect()
        assert not state.green
    """)


def test_patching_in_a_real_thread_and_in_a_coroutine():
    run("""
        import threading, asyncio, time
        import greenio
        errors = []
        def patch():
            try:
                greenio.monkey_patch()
            except BaseException as error:
                errors.append(error)
        thread = threading.Thread(target=patch)
        thread.start()
        thread.join()
        assert not errors and greenio.patcher.is_monkey_patched("thread")
        green = threading.Thread(target=time.sleep, args=(0.01,))
        green.start(); green.join()
        assert threading.current_thread() is threading.main_thread()
    """)
    run("""
        import asyncio, greenio
        async def main():
            greenio.monkey_patch()
            import time
            await greenio.run_green(time.sleep, 0.01)
            return await asyncio.to_thread(lambda: 5)
        assert asyncio.run(main()) == 5
    """)


def test_psycopg2_is_given_a_wait_callback(tmp_path):
    """With a psycopg2 that only remembers it."""
    package = tmp_path / "psycopg2"
    package.mkdir()
    (package / "__init__.py").write_text("class ProgrammingError(Exception): pass\n")
    (package / "extensions.py").write_text(
        "POLL_OK, POLL_READ, POLL_WRITE = range(3)\n"
        "callbacks = []\n"
        "set_wait_callback = callbacks.append\n"
    )
    program = (
        "import greenio; greenio.monkey_patch()\n"
        "import os, psycopg2\n"
        "from psycopg2 import extensions\n"
        "(wait,) = extensions.callbacks\n"
        "reader, writer = os.pipe()\n"
        "class Connection:\n"
        "    states = [1, 2, 0]\n"
        "    def poll(self): return self.states.pop(0)\n"
        "    def fileno(self): return reader if len(self.states) == 2 else writer\n"
        "greenio.spawn_after(0.02, os.write, writer, b'x')\n"
        "wait(Connection())\n"
        "Connection.states = [9]\n"
        "try: wait(Connection())\n"
        "except psycopg2.ProgrammingError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment(PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("unexpected result 9 of poll()\n", "")
