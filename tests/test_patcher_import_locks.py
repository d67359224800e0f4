"""Imports of a patched program at the same time."""

from __future__ import annotations

import textwrap

import pytest

import greenio
from _fresh import run
from _support import settle
from greenio._patch import import_locks
from greenio._patch.locks import ThreadLock
from greenio.event import Event

_BEGIN = """
import greenio; greenio.monkey_patch()
import importlib, os, sys, tempfile, threading
directory = tempfile.mkdtemp()
sys.path.insert(0, directory)
def module(name, text):
    with open(os.path.join(directory, name + ".py"), "w") as file:
        file.write(text)
    importlib.invalidate_caches()
# Who waits in the middle of an import, until it is told to go on.
go_on = {name: greenio.event.Event() for name in ("one", "two")}
def wait(name):
    if name in go_on:
        go_on[name].wait()
sys.wait = wait
"""


def program(text: str, hub: str) -> str:
    return run(_BEGIN + textwrap.dedent(text), hub=hub)


def test_all_importers_see_a_module_whole(loop):
    assert (
        program(
            """
            module("slow", "import sys; first = 1; sys.wait('one'); last = 2")
            def importing():
                from slow import last
                return last
            threads = [greenio.spawn(importing) for _ in range(5)]
            greenio.sleep(0)
            go_on["one"].send()
            print([thread.wait() for thread in threads])
            """,
            loop,
        )
        == "[2, 2, 2, 2, 2]\n"
    )


def test_a_circle_in_one_thread_gives_the_module_as_far_as_it_is(loop):
    assert (
        program(
            """
            module("a", "import b; late = 1")
            module("b", "import a; early = not hasattr(a, 'late')")
            import a
            print(greenio.spawn(importlib.import_module, "b").wait().early)
            """,
            loop,
        )
        == "True\n"
    )


def test_a_circle_between_two_threads_ends(loop):
    assert (
        program(
            """
            module("a", "import sys; sys.wait('one'); import b")
            module("b", "import sys; sys.wait('two'); import a")
            threads = [greenio.spawn(importlib.import_module, name) for name in "ab"]
            greenio.sleep(0)
            for event in go_on.values():
                event.send()
            print([thread.wait().__name__ for thread in threads])
            """,
            loop,
        )
        == "['a', 'b']\n"
    )


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_an_importer_that_is_killed_lets_the_others_go_on(loop, victim):
    assert (
        program(
            f"""
            module("slow", "import sys; sys.wait('one')")
            def importing():
                import slow
                return slow.__name__
            threads = [greenio.spawn(importing) for _ in range(3)]
            greenio.sleep(0)
            threads.pop({victim}).kill()
            go_on["one"].send()
            print([thread.wait() for thread in threads])
            """,
            loop,
        )
        == "['slow', 'slow']\n"
    )


def test_a_real_thread_and_a_green_one_import_one_module(loop):
    assert (
        program(
            """
            module("slow", "import sys; sys.wait('one'); last = 2")
            def importing():
                from slow import last
                return last
            first = greenio.spawn(importing)
            greenio.sleep(0)
            began = threading.Event()
            def second():
                began.set()
                return importing()
            other = greenio.spawn(greenio.tpool.execute, second)
            began.wait()
            go_on["one"].send()
            print(first.wait(), other.wait())
            """,
            loop,
        )
        == "2 2\n"
    )


def test_a_coroutine_gets_a_module_as_far_as_it_is(loop):
    assert (
        program(
            """
            module("slow", "import sys; first = 1; sys.wait('one'); last = 2")
            async def main():
                thread = greenio.spawn(importlib.import_module, "slow")
                await greenio.run_green(greenio.sleep, 0)
                import slow
                print(slow.first, hasattr(slow, "last"))
                go_on["one"].send()
                await thread
                print(slow.last)
            greenio.run(main)
            """,
            loop,
        )
        == "1 False\n2\n"
    )


def test_a_coroutine_waits_for_the_import_of_a_real_thread(loop):
    assert (
        program(
            """
            import asyncio
            original = greenio.patcher.original
            events = sys.events = [original("threading").Event() for _ in range(2)]
            module("slow", "import sys; sys.events[0].set(); sys.events[1].wait(); x = 2")
            async def main():
                other = asyncio.ensure_future(
                    asyncio.to_thread(importlib.import_module, "slow"))
                await asyncio.to_thread(events[0].wait)
                timer = original("threading").Timer(0.05, events[1].set)
                timer.start()
                from slow import x
                print(x, (await other).x)
            greenio.run(main)
            """,
            loop,
        )
        == "2 2\n"
    )


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_process_imports_what_the_parent_was_importing(loop):
    assert (
        program(
            """
            module("slow", "import sys; sys.wait('one'); last = 2")
            thread = greenio.spawn(importlib.import_module, "slow")
            greenio.sleep(0)
            pid = os.fork()
            if pid == 0:
                import slow
                os._exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            go_on["one"].send()
            print(thread.wait().last)
            """,
            loop,
        )
        == "7\n2\n"
    )


def test_a_lock_that_is_given_back_while_somebody_makes_ready_to_wait(
    hub_name, monkeypatch
):
    lock = import_locks.ModuleLock("module")
    go_on, done = Event(), []

    def importer():
        lock.acquire()
        go_on.wait()
        lock.release()

    def gate():
        # As a finalizer that waits: the importer runs meanwhile.
        go_on.send()
        settle()
        return ThreadLock()

    def other():
        lock.acquire()
        done.append(1)
        lock.release()

    monkeypatch.setattr(import_locks, "ThreadLock", gate)
    greenio.spawn(importer)
    greenio.sleep(0)
    thread = greenio.spawn(other)
    with greenio.Timeout(5):
        thread.wait()
    assert done
