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
