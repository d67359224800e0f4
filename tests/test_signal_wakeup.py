"""A loop that sleeps is woken when a signal handler has queued something."""

from __future__ import annotations

import pytest

from _fresh import run

_PROGRAM = """
import asyncio, signal
import greenio

async def alarm():
    # Nothing but the signal wakes the loop: no timer, no descriptor.
    done = asyncio.Event()
    signal.signal(signal.SIGALRM, lambda *_: greenio.spawn(done.set))
    signal.setitimer(signal.ITIMER_REAL, 0.03)
    await done.wait()
    print("woken")

async def main():
    loop = asyncio.get_running_loop()
    def hub():
        greenio.hubs.get_hub()
    def add():
        loop.add_signal_handler(signal.SIGUSR1, print, "SIGUSR1")
    def remove():
        print(loop.remove_signal_handler(signal.SIGUSR1))
    for step in steps.split():
        locals()[step]()
        # What that began is to happen now.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await alarm()

run = asyncio.run
if kind == "uvloop":
    import uvloop
    run = uvloop.run
run(main())
print(signal.set_wakeup_fd(-1))
"""


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ("hub", ""),
        ("hub add", ""),
        ("hub add remove", "True\n"),
        ("hub add remove add remove", "True\nTrue\n"),
        ("add hub remove", "True\n"),
        ("hub remove", "False\n"),
    ],
)
def test_it_is_woken_whatever_handlers_the_loop_had(loop, steps, told):
    text = f"steps, kind = {steps!r}, {loop!r}\n{_PROGRAM}"
    assert run(text, hub=loop) == f"{told}woken\n-1\n"


@pytest.mark.parametrize("green_threads", [0, 1])
def test_handlers_run_while_a_program_only_yields(loop, green_threads):
    """Also on uvloop, which calls them itself, between two turns."""
    assert (
        run(
            f"""if True:
        import signal
        import greenio
        seen = []
        def until_seen():
            while not seen:
                greenio.sleep(0)
        signal.signal(signal.SIGALRM, lambda *_: seen.append("seen"))
        threads = [greenio.spawn(until_seen) for _ in range({green_threads})]
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        until_seen()
        for thread in threads:
            thread.wait()
        print(*seen)
        """,
            hub=loop,
        )
        == "seen\n"
    )


def test_a_closed_loop_leaves_nothing_that_another_kind_puts_back():
    pytest.importorskip("uvloop")
    text = f"""{_PROGRAM.partition("run = asyncio.run")[0]}
import os
import uvloop
steps = "hub"
async def attach():
    await greenio.run_green(greenio.sleep, 0)
def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
def one_after_the_other():
    # Closed without having its green threads ended.
    loop = asyncio.new_event_loop()
    loop.run_until_complete(attach())
    loop.close()
    # Finds the closed one's descriptor, and puts it back when it ends.
    loop = uvloop.new_event_loop()
    loop.run_until_complete(attach())
    loop.close()
    asyncio.run(main())
one_after_the_other()
before = descriptors()
for _ in range(3):
    one_after_the_other()
print(descriptors() - before, signal.set_wakeup_fd(-1))
"""
    assert run(text) == "woken\n" * 4 + "0 -1\n"


def test_the_programs_own_descriptor_is_written_to(loop):
    printed = run(
        """
        import os, signal
        import greenio
        from greenio.green import select

        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.signal(signal.SIGALRM, lambda *_: print("handled"))
        signal.set_wakeup_fd(writer)
        for _ in range(2):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            with greenio.Timeout(30):
                select.select([reader], [], [])
            assert os.read(reader, 10) == bytes([signal.SIGALRM])
        greenio.hubs.get_hub().abort()
        # As it was before.
        assert signal.set_wakeup_fd(-1) == writer
        """,
        hub=loop,
    )
    assert printed == "handled\nhandled\n"


def test_what_a_handler_raises_while_the_descriptor_is_written_to(loop):
    printed = run(
        """
        import os, signal
        import greenio

        def handler(*_):
            raise ZeroDivisionError

        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.signal(signal.SIGALRM, handler)
        signal.set_wakeup_fd(writer)
        greenio.sleep(0)
        for _ in range(2):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                greenio.sleep(30)
            except ZeroDivisionError:
                print("raised")
        """,
        hub=loop,
    )
    assert printed == "raised\nraised\n"


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "free"])
def test_one_that_was_closed_before_is_not_put_back(taken):
    """Neither if its number has been given to somebody else meanwhile."""
    printed = run(
        f"""
        import os, signal
        import greenio

        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        os.close(writer)
        others = [os.dup(reader)] if {taken} else []
        assert others in ([], [writer])
        woken = greenio.Event()
        signal.signal(signal.SIGALRM, lambda *_: woken.send("woken"))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        print(woken.wait())
        greenio.hubs.get_hub().abort()
        print(signal.set_wakeup_fd(-1))
        """,
        hub="asyncio",
    )
    assert printed == "woken\n-1\n"
