"""What tells others what is patched: they put it back, as oslo.privsep's daemon does."""

from __future__ import annotations

import pytest

from _fresh import run
from greenio import patcher
from greenio.green import subprocess, threading

KEYWORDS = ("os", "select", "socket", "subprocess", "thread", "time")


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_pairs_of_modules(keyword):
    pairs = getattr(patcher, f"_green_{keyword}_modules")()
    assert pairs
    for name, green in pairs:
        original = patcher.original(name)
        assert original.__name__ == name
        for patched in green.__patched__:
            assert hasattr(green, patched)
            assert hasattr(original, patched)


def test_pairs_of_others():
    (pair,) = patcher._green_builtins()
    assert pair[0] == "builtins"
    assert "open" in vars(pair[1])
    assert patcher._green_MySQLdb() in ([], patcher._green_MySQLdb())


def test_what_eventlet_tells_is_told():
    assert {"call", "check_call", "Popen", "check_output"} <= set(
        subprocess.__patched__
    )
    names = {"Lock", "_active", "_limbo", "_allocate_lock", "current_thread", "local"}
    assert names <= set(threading.__patched__)


@pytest.mark.slow
def test_a_child_that_puts_everything_back(hub_name):
    """Its threads are real ones, and nothing of the parent's is in the way."""
    out = run(
        """
        import greenio
        greenio.install_as_eventlet()
        import eventlet
        eventlet.monkey_patch()
        import os, queue, socket, subprocess, sys, threading, time
        from concurrent.futures import ThreadPoolExecutor
        from eventlet import patcher

        KEYWORDS = "os", "select", "socket", "subprocess", "thread", "time"
        eventlet.sleep(0)
        reader, writer = socket.socketpair()
        if os.fork() == 0:
            for keyword in KEYWORDS:
                assert patcher.is_monkey_patched(keyword)
                for name, green in getattr(patcher, f"_green_{keyword}_modules")():
                    live, plain = sys.modules[name], patcher.original(name)
                    for attribute in green.__patched__:
                        if getattr(green, attribute, None) is not None:
                            setattr(live, attribute, getattr(plain, attribute, None))
            found = []
            main = threading.get_ident()
            barrier = threading.Barrier(3)

            def work(number):
                # All three at once, or never.
                barrier.wait(30)
                return number, threading.get_ident() != main

            with ThreadPoolExecutor(3) as executor:
                found.append(list(executor.map(work, range(3))))
            thread = threading.Thread(
                target=lambda: found.append(threading.current_thread() is thread)
            )
            thread.start()
            thread.join()
            found.append(thread.is_alive())
            found.append(subprocess.check_output(["echo", "x"]))
            for items in (queue.Queue(), queue.SimpleQueue()):
                threading.Thread(target=items.put, args=(1,)).start()
                found.append(items.get(timeout=30))
            event = threading.Event()
            threading.Thread(target=event.set).start()
            found.append(event.wait(30))
            ends = os.pipe()
            threading.Thread(target=os.write, args=(ends[1], b"z")).start()
            found.append(os.read(ends[0], 1))
            writer.sendall(repr(found).encode())
            os._exit(0)
        writer.close()
        text = b""
        while data := reader.recv(1000):
            text += data
        reader.close()
        print(text.decode())
        print(os.wait()[1])
        """,
        hub=hub_name,
    )
    assert out == (
        "[[(0, True), (1, True), (2, True)], True, False, b'x\\n', 1, 1, True, b'z']\n0\n"
    )


@pytest.mark.slow
def test_standard_and_green_modules_are_one_after_the_patch():
    out = run(
        """
        import greenio
        greenio.install_as_eventlet()
        # Before and after: both are to be the live ones.
        import eventlet.green.Queue, eventlet.green.subprocess
        eventlet.monkey_patch()
        import queue, subprocess, threading
        from eventlet.green import Queue, subprocess as green_subprocess
        from eventlet.green import threading as green_threading
        for name in ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "Empty"):
            assert getattr(queue, name) is getattr(Queue, name), name
        for name in ("_active", "_limbo", "Thread", "Lock", "current_thread"):
            assert getattr(threading, name) is getattr(green_threading, name), name
        for name in ("Popen", "call", "run", "TimeoutExpired"):
            assert getattr(subprocess, name) is getattr(green_subprocess, name), name
        import __original_module_threading as original
        assert original is eventlet.patcher.original("threading") is not threading
        assert eventlet.patcher.original(modname="queue").Queue is not queue.Queue
        print("one")
        """
    )
    assert out == "one\n"
