"""What goes on in a forked child, and what stays with its parent."""

from __future__ import annotations

import os
import textwrap

import pytest

from _fresh import python, run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

START = """
import os, sys, threading, time, warnings
import greenio, greenlet
from greenio.queue import Queue
from greenio._std import originals

# Since Python 3.12, if there are OS threads besides.
warnings.filterwarnings("ignore", "This process", DeprecationWarning)
parent = os.getpid()

def say(*words):
    # In one write: two processes share the pipe.
    originals.os_write(1, (" ".join(map(str, words)) + "\\n").encode())

def status_of(child):
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        greenio.sleep(0.005)
"""
PATCH = "import greenio; greenio.monkey_patch()"


def program(text, *, patched=False, hub):
    source = [PATCH] if patched else []
    source += [START, textwrap.dedent(text)]
    return run("\n".join(source), hub=hub).splitlines()


patched_or_not = pytest.mark.parametrize(
    "patched", [False, True], ids=["plain", "patched"]
)


def test_who_had_ended_keeps_his_outcome(hub_name):
    printed = program(
        """
        ended = greenio.spawn(lambda: (greenio.sleep(0), 7)[1])
        ended.wait()
        child = os.fork()
        if not child:
            say(ended.wait())
            os._exit(0)
        assert status_of(child) == 0
        """,
        hub=hub_name,
    )
    assert printed == ["7"]


@patched_or_not
def test_items_are_not_handed_to_those_who_stayed_with_the_parent(hub_name, patched):
    """Nor do the others' `finally` blocks run in the child, whatever becomes of them."""
    printed = program(
        """
        items = Queue()

        def waiter():
            own = greenio.event.Event()
            try:
                say("got", items.get(), "in the parent", os.getpid() == parent)
                greenio.sleep(0)
                own.send()
            finally:
                say("finally in the parent", os.getpid() == parent)

        waiting = [greenio.spawn(waiter), greenio.spawn(waiter)]
        greenio.sleep(0)

        def forking():
            child = os.fork()
            if child:
                return status_of(child)
            items.put("of the child")
            assert items.get(timeout=10) == "of the child"
            assert all(thread.dead for thread in waiting)
            waiting[0].kill()
            try:
                waiting[1].wait()
            except greenlet.GreenletExit:
                say("not in the child")
            waiting.clear()
            items.__dict__.clear()
            greenio.sleep(0.001)
            os._exit(3)

        say(greenio.spawn(forking).wait())
        say(forking())
        items.put(1)
        items.put(2)
        for thread in waiting:
            thread.wait()
        """,
        patched=patched,
        hub=hub_name,
    )
    assert printed[:4] == ["not in the child", "3"] * 2
    assert sorted(printed[4:]) == [
        "finally in the parent True",
        "finally in the parent True",
        "got 1 in the parent True",
        "got 2 in the parent True",
    ]


def test_items_are_not_handed_to_coroutines_and_os_threads_of_the_parent(hub_name):
    printed = program(
        """
        items = Queue()
        real = originals.Thread(target=lambda: say("thread", items.get()))
        real.start()
        while not items.getting():
            greenio.sleep(0.001)

        async def coroutine():
            say("coroutine", await items.get_async())

        async def asynchronous():
            import asyncio
            task = asyncio.ensure_future(coroutine())
            while items.getting() < 2:
                await asyncio.sleep(0)
            say(await greenio.run_green(forking))
            items.put(1)
            items.put(2)
            await task

        def forking():
            child = os.fork()
            if child:
                return status_of(child)
            items.put("of the child")
            assert items.get(timeout=10) == "of the child"
            os._exit(3)

        greenio.run(asynchronous)
        real.join()
        """,
        hub=hub_name,
    )
    assert printed[0] == "3"
    assert sorted(printed[1:]) == ["coroutine 2", "thread 1"]


@patched_or_not
@pytest.mark.parametrize(
    ("how", "status"),
    [("return", 0), ("sys.exit()", 0), ("sys.exit(7)", 7), ("sys.exit('no')", 1)],
)
def test_the_child_ends_with_the_green_thread_that_forked(
    hub_name, patched, how, status
):
    """It does not go on in the parent's stack: neither in its loop nor in its main."""
    printed = program(
        f"""
        def forking():
            child = os.fork()
            if child:
                return status_of(child)
            sys.stderr = sys.stdout
            threading.Thread(target=lambda: (time.sleep(0.05), say("thread"))).start()
            print("buffered")
            {how}

        sys.stdout.reconfigure(line_buffering=False, write_through=False)
        try:
            say(greenio.spawn(forking).wait())
        finally:
            say("end of", "parent" if os.getpid() == parent else "child")
        """,
        patched=patched,
        hub=hub_name,
    )
    printed = [line for line in printed if line != "no"]
    assert printed == ["thread", "buffered", str(status), "end of parent"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise LookupError('lost')", "LookupError: lost"),
        ("sys.stdout.close()", "ValueError: I/O operation on closed file"),
    ],
)
def test_the_child_says_why_its_end_was_none(loop, how, said):
    done = python(
        "-c",
        f"""{START}
def forking():
    child = os.fork()
    if child:
        return status_of(child)
    {how}

say(greenio.spawn(forking).wait(), os.getpid() == parent)
""",
        hub=loop,
    )
    assert done.stdout == "1 True\n"
    assert said in done.stderr.splitlines()[-1]


def test_a_thread_that_forks_is_the_childs_main_thread(hub_name):
    printed = program(
        """
        def forking():
            child = os.fork()
            if child:
                statuses.append(status_of(child))
                return
            me = threading.current_thread()
            assert threading.main_thread() is me
            assert me.is_alive()
            assert threading.enumerate() == [me], threading.enumerate()
            assert not bystander.is_alive()
            bystander.join()
            thread = threading.Thread(target=say, args=["a thread of the child"])
            thread.start()
            thread.join()
            assert greenio.tpool.execute(abs, -5) == 5
            sys.exit(5)

        statuses = []
        release = threading.Event()
        bystander = threading.Thread(target=release.wait)
        bystander.start()
        thread = threading.Thread(target=forking)
        thread.start()
        thread.join()
        release.set()
        bystander.join()
        say(statuses)
        """,
        patched=True,
        hub=hub_name,
    )
    # In a thread, sys.exit() ends the thread.
    assert printed == ["a thread of the child", "[0]"]


def test_green_threads_of_the_child_have_threads_that_are_started(hub_name):
    printed = program(
        """
        def state():
            return repr(threading.current_thread()).split()[1]

        say(greenio.spawn(state).wait())
        child = os.fork()
        if not child:
            say(greenio.spawn(state).wait())
            os._exit(0)
        say(status_of(child))
        """,
        patched=True,
        hub=hub_name,
    )
    assert printed == ["started", "started", "0"]


def test_many_threads_fork(hub_name):
    printed = program(
        """
        def forking(number):
            child = os.fork()
            if not child:
                time.sleep(0.001)
                os._exit(number)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

        statuses = []
        threads = [threading.Thread(target=forking, args=[n]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say(sorted(statuses))
        """,
        patched=True,
        hub=hub_name,
    )
    assert printed == [str(list(range(8)))]


@patched_or_not
def test_an_os_thread_forks(hub_name, patched):
    """The main thread's loop is the parent's also then."""
    printed = program(
        """
        def forking():
            child = os.fork()
            if not child:
                greenio.spawn(greenio.sleep, 0.001).wait()
                items.put("of the child")
                assert items.get(timeout=10) == "of the child"
                os._exit(3)
            return child

        items = Queue()
        waiting = greenio.spawn(items.get)
        greenio.sleep(0)
        say(status_of(greenio.tpool.execute(forking)))
        items.put("of the parent")
        say(waiting.wait())
        """,
        patched=patched,
        hub=hub_name,
    )
    assert printed == ["3", "of the parent"]


def test_another_os_thread_was_in_the_middle_of_something(hub_name):
    """What it held is nobody's in the child."""
    printed = run(
        """
        import os, _thread, warnings
        warnings.filterwarnings("ignore", "This process", DeprecationWarning)
        held, release = _thread.allocate_lock(), _thread.allocate_lock()
        held.acquire()
        release.acquire()

        def hold():
            with mutex:
                held.release()
                release.acquire()

        def before():
            _thread.start_new_thread(hold, ())
            held.acquire()

        # The last thing that is done before the fork, since it is the first noted.
        os.register_at_fork(before=before, after_in_parent=release.release)
        start_real = _thread.start_new_thread
        import logging
        import greenio
        greenio.monkey_patch()
        from greenio._kernel.waiters import mutex
        import threading

        class _thread:
            start_new_thread = start_real

        child = os.fork()
        if not child:
            thread = threading.Thread(target=logging.getLogger().debug, args=["x"])
            thread.start()
            thread.join()
            os._exit(3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        hub=hub_name,
    )
    assert printed == "3\n"


def test_a_coroutine_forks(hub_name):
    """Itself, in a portal, or through a green thread of its loop."""
    printed = program(
        """
        import asyncio

        def fork(where):
            child = os.fork()
            if not child:
                greenio.sleep(0.001)
                greenio.await_(asyncio.sleep(0.001))
                say(where, greenio.spawn(lambda: "forks").wait())
                os._exit(3)
            return child

        @greenio.portal
        async def in_a_portal():
            greenio.sleep(0.001)
            say(status_of(fork("a portal")))
            await asyncio.sleep(0.001)
            greenio.sleep(0.001)

        async def main():
            greenio.hubs.get_hub()
            say(await greenio.run_green(status_of, fork("a coroutine")))
            await in_a_portal()
            say(await greenio.run_green(lambda: status_of(fork("a green thread"))))

        asyncio.run(main())
        """,
        hub=hub_name,
    )
    assert printed == [
        *("a coroutine forks", "3", "a portal forks", "3"),
        *("a green thread forks", "3"),
    ]


def test_signals_wake_the_childs_loop(hub_name):
    printed = program(
        """
        import signal

        def forking():
            child = os.fork()
            if child:
                return status_of(child)
            arrived = greenio.event.Event()
            signal.signal(signal.SIGALRM, lambda *_: arrived.send())
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            arrived.wait()
            os._exit(3)

        say(greenio.spawn(forking).wait())
        """,
        hub=hub_name,
    )
    assert printed == ["3"]
