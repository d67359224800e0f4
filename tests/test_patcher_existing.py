"""What existed before the patch: names, locks and the rest, and the report on them."""

from __future__ import annotations

import os

import pytest

from _fresh import run


def test_names_that_were_imported_by_themselves():
    """They are green under their own name; another name keeps the original."""
    run("""
        import time, threading, socketserver, tempfile
        from socket import socket, create_connection
        from threading import Lock, RLock, local, get_ident, current_thread
        from time import sleep
        from select import select
        real_sleep = time.sleep
        class Plain(threading.local):
            pass

        import greenio
        greenio.monkey_patch()

        assert sleep is time.sleep is not real_sleep
        assert Lock is threading.Lock and RLock is threading.RLock
        assert create_connection is __import__("socket").create_connection
        assert issubclass(socket, greenio.green.socket.GreenSocket)
        assert get_ident is threading.get_ident
        assert current_thread is threading.current_thread
        # It is the base class of a class in this module.
        assert Plain.__mro__[1] is local is not threading.local
        # The standard library has names of its own for what it imports.
        import selectors
        assert socketserver._ServerSelector is selectors.PollSelector
        assert type(tempfile._allocate_lock()) is type(Lock())
        assert select is greenio.green.select.select
    """)


def test_values_of_parameters():
    """As with names: under their own name, and in the standard library under any."""
    run("""
        import multiprocessing.connection, os, sched, select, time

        def retry(call, sleep=time.sleep, pause=time.sleep, tries=3, *, select=select.select):
            return sleep, pause, tries, select

        class Retry:
            def __init__(self, tries, sleep=time.sleep):
                self.sleep = sleep

        def untouched(tries=3, *, pause=time.sleep):
            pass

        plain = time.sleep, select.select
        kept = untouched.__defaults__, untouched.__kwdefaults__

        import greenio
        greenio.monkey_patch()

        assert retry(1) == (time.sleep, plain[0], 3, select.select) != plain
        assert Retry(1).sleep is time.sleep is not plain[0]
        assert kept[0] is untouched.__defaults__ and kept[1] is untouched.__kwdefaults__
        assert sched.scheduler().delayfunc is time.sleep
        assert greenio.patcher.original("sched").scheduler().delayfunc is plain[0]
        assert os.read in multiprocessing.connection.Connection._recv.__defaults__
    """)


def test_asyncio_keeps_what_it_imported():
    run("""
        import asyncio.events, importlib._bootstrap
        kept = asyncio.events.threading, importlib._bootstrap._blocking_on
        import greenio
        greenio.monkey_patch()
        assert asyncio.events.threading is not __import__("threading")
        assert importlib._bootstrap._blocking_on is kept[1]
    """)


def test_who_looks_on_while_code_runs_keeps_his_locks():
    """A green lock is Python code: coverage would measure it while it holds the lock."""
    run("""
        import sys, threading, types
        made = {}
        for name in ("coverage.sysmon", "another.sysmon"):
            module = sys.modules[name] = types.ModuleType(name)
            tracer = type("Tracer", (), {"__module__": name})()
            tracer.lock, tracer.again = threading.Lock(), threading.RLock()
            made[name] = tracer
        del tracer
        import greenio
        greenio.monkey_patch()
        from greenio.lock import Lock
        kept, changed = made["coverage.sysmon"], made["another.sysmon"]
        assert not isinstance(kept.lock, Lock)
        assert "greenio" not in repr(kept.again)
        assert isinstance(changed.lock, Lock)
        assert "greenio" in repr(changed.again)
    """)


def test_locks_become_green():
    """Wherever they lie: half of their users with another lock would be worse."""
    run("""
        import functools, logging, queue, threading
        from greenio.lock import Lock, RLock

        lock = alias = threading.Lock()
        listed, named = [threading.Lock()], {"a": threading.Lock()}
        condition, event, items = threading.Condition(), threading.Event(), queue.Queue()
        plain_condition = threading.Condition(threading.Lock())
        semaphore, barrier = threading.BoundedSemaphore(2), threading.Barrier(2)
        handler = logging.StreamHandler()

        class Shared:
            lock = threading.Lock()
            __slots__ = ("own",)
            def __init__(self):
                self.own = threading.RLock()

        class Loose:
            def __init__(self):
                self.lock = threading.Lock()
                self.take = self.lock.acquire

        def closure():
            lock = threading.Lock()
            return lambda: lock

        shared, loose, inner = Shared(), Loose(), closure()
        items.put("kept")

        import greenio
        greenio.monkey_patch()

        assert isinstance(lock, Lock) and lock is alias
        assert isinstance(listed[0], Lock) and isinstance(named["a"], Lock)
        assert isinstance(Shared.lock, Lock) and isinstance(shared.own, RLock)
        assert isinstance(loose.lock, Lock) and loose.take.__self__ is loose.lock
        assert isinstance(inner(), Lock)
        assert isinstance(condition._lock, RLock)
        assert condition.acquire.__self__ is condition._lock
        assert isinstance(plain_condition._lock, Lock)
        assert items.mutex is items.not_empty._lock is items.not_full._lock
        assert isinstance(items.mutex, Lock) and items.get() == "kept"
        assert isinstance(logging._lock, RLock) and isinstance(handler.lock, RLock)

        # They work: whoever waits lets the others run.
        def notify():
            with condition:
                condition.notify()
        greenio.spawn_after(0, notify)
        with condition:
            assert condition.wait(20)
        greenio.spawn(event.set)
        assert event.wait(20)
        greenio.spawn(items.put, 1)
        assert items.get(timeout=20) == 1
        greenio.spawn(barrier.wait)
        barrier.wait(20)
        semaphore.acquire(); semaphore.acquire()
        greenio.spawn(semaphore.release)
        assert semaphore.acquire(timeout=20)
    """)


def test_locks_that_are_in_use_are_left():
    run("""
        import threading
        held, own, fine = threading.Lock(), threading.RLock(), threading.Lock()
        in_a_tuple = (threading.Lock(),)
        held.acquire()
        own.acquire()
        before = type(held)

        started, go = threading.Event(), threading.Event()
        inside = threading.Lock()
        def work():
            with inside:
                started.set()
                go.wait(20)
        thread = threading.Thread(target=work, name="worker")
        thread.start()
        assert started.wait(20)

        import greenio
        greenio.monkey_patch()

        assert type(held) is type(inside) is type(in_a_tuple[0]) is before
        assert type(fine) is not before
        held.release()
        own.release()
        text = greenio.patcher.report()
        for line in (
            "__main__.inside: a lock that is held",
            "__main__.in_a_tuple (in it): a lock with references that cannot be",
            "the thread 'worker': a real one, started before the patch",
        ):
            assert line in text, text
        assert "__main__.fine" not in text, text
        # A real thread and the patched program go on sharing what they share.
        go.set()
        thread.join(20)
        assert not thread.is_alive()
        assert inside.acquire(timeout=20)
    """)


def test_other_objects_that_exist():
    run("""
        import queue, socket, threading
        namespace, items = threading.local(), queue.SimpleQueue()
        namespace.a = 1
        items.put(2)
        listener = socket.create_server(("127.0.0.1", 0))
        class Sock(socket.socket):
            pass
        class Namespace(threading.local):
            pass
        import time
        real_sleep = time.sleep

        import greenio
        greenio.monkey_patch()

        assert namespace.a == 1 and items.get() == 2
        def in_another():
            assert not hasattr(namespace, "a")
            namespace.a = 3
        greenio.spawn(in_another).wait()
        assert namespace.a == 1
        greenio.spawn(items.put, 4)
        assert items.get(timeout=20) == 4

        text = greenio.patcher.report()
        for line in (
            "patched: os, select, socket, subprocess, thread, time",
            "not patched: MySQLdb, builtins",
            "__main__.listener: a plain socket, made before the patch",
            "__main__.Sock: a class derived from the plain socket",
            "__main__.Namespace: a class derived from the plain _local",
            "__main__.real_sleep: the original time.sleep",
        ):
            assert line in text, text
        listener.close()
    """)


@pytest.mark.skipif(
    "COVERAGE_PROCESS_CONFIG" in os.environ,
    reason="coverage has locks, which it makes before anybody patches",
)
def test_a_report_when_there_is_nothing_to_say():
    run("""
        import greenio
        assert "patched: nothing" in greenio.patcher.report()
        greenio.monkey_patch()
        assert "nothing was found that is not green" in greenio.patcher.report()
    """)


def test_clients_that_wait_in_c():
    run("""
        import sqlite3
        import greenio
        greenio.monkey_patch()
        assert "sqlite3: waits in C; " in greenio.patcher.report()
    """)


def test_the_report_says_where_each_is():
    """In a class, an object that has a name, its slots, and one that has none."""
    run("""
        import threading

        class Shop:
            lock = threading.Lock()
            def __init__(self):
                self.mine = threading.Lock()
                self.mine.acquire()

        class Slotted:
            __slots__ = ("held", "unset")
            def __init__(self):
                self.held = threading.Lock()
                self.held.acquire()

        shop, nameless, slotted = Shop(), [Shop()], Slotted()
        Shop.lock.acquire()

        import greenio
        greenio.monkey_patch()

        text = greenio.patcher.report()
        for where in (
            "__main__.Shop.lock",
            "__main__.shop.mine",
            "__main__.Shop.mine of some object",
            "__main__.slotted.held",
        ):
            assert f"  {where}: a lock that is held" in text, text
    """)


def test_threads_that_have_not_started(hub_name):
    """They are green when they start."""
    run(
        """
        import os, threading
        made = [threading.Thread(target=lambda: done.append(1)) for _ in range(3)]
        timer = threading.Timer(0.001, lambda: done.append(2))
        waits = threading.Thread(target=threading.main_thread().join)
        done = []

        import greenio
        greenio.monkey_patch()

        if (child := os.fork()) == 0:
            made[0].start()
            made[0].join()
            os._exit(len(done))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        for thread in (*made, timer):
            assert not thread.is_alive() and thread.ident is None
            thread.start()
            assert thread.ident >= 1 << 40
        for thread in (*made, timer):
            thread.join(30)
            assert not thread.is_alive()
        assert done == [1, 1, 1, 2]
        waits.start()
        """,
        hub=hub_name,
    )


def test_joining_a_thread_that_runs_already_lets_the_others_run(hub_name):
    """It may wait for one of them."""
    run(
        """
        import threading
        gate = threading.Lock()
        gate.acquire()
        real = threading.Thread(target=gate.acquire)
        real.start()

        import greenio
        greenio.monkey_patch()
        import asyncio
        from greenio import patcher

        real.join(0)
        real.join(0.001)
        for _ in range(2):
            with greenio.Timeout(0.001, False):
                real.join()
        assert real.is_alive()
        joiners = [greenio.spawn(real.join) for _ in range(3)]
        native = patcher.original("threading").Thread(target=real.join)
        native.start()
        greenio.spawn(gate.release)
        real.join()
        assert not real.is_alive()
        for joiner in joiners:
            joiner.wait()
        native.join()
        real.join(1)

        async def main():
            real.join()

        asyncio.run(main())
        """,
        hub=hub_name,
    )


def test_a_coroutine_joins_a_thread_that_runs_already(hub_name):
    run(
        """
        import threading, time
        real = threading.Thread(target=time.sleep, args=(0.01,))
        real.start()

        import greenio
        greenio.monkey_patch()
        import asyncio

        async def main():
            real.join()
            assert not real.is_alive()

        asyncio.run(main())
        """,
        hub=hub_name,
    )


def test_a_real_thread_waits_for_a_condition_meanwhile(hub_name):
    """What it has kept of the real lock, which is free while it waits, will do."""
    out = run(
        """
        import threading
        condition = threading.Condition()
        waiting = threading.Event()

        def wait():
            with condition, condition:
                waiting.set()
                condition.wait()
                print(condition._lock._count)

        real = threading.Thread(target=wait)
        real.start()
        waiting.wait()
        with condition:
            pass

        import greenio
        greenio.monkey_patch()

        assert "greenio" in repr(condition._lock)
        with condition:
            condition.notify()
        real.join()
        assert condition.acquire(False)
        """,
        hub=hub_name,
    )
    assert out == "2\n"
