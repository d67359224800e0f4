"""What `format_run_info` says of names, owners of locks, time limits and several at once."""

from __future__ import annotations

import re

import pytest

import greenio
from _fresh import run
from _support import until
from greenio import debug, sleep, spawn
from greenio.event import Event
from greenio.lock import RLock
from greenio.queue import Queue
from test_debug_run_info import under


@pytest.fixture
def background(hub_name):
    """Spawn what is killed in the end."""
    threads = []

    def begin(function, *args):
        threads.append(spawn(function, *args))
        sleep(0)
        return threads[-1]

    yield begin
    for thread in threads:
        thread.kill()


def waits(event):
    event.wait()


def test_a_name_of_its_own(background):
    thread = background(waits, Event())
    assert thread.name == "waits"
    assert not thread.is_named
    thread.name = 7
    assert (thread.name, thread.is_named) == ("7", True)
    assert repr(thread).startswith("<GreenThread 7, parked at 0x")
    assert "  '7' of waits at 0x" in debug.format_run_info()


def test_one_that_has_a_name_serves_no_other_call(run_async):
    names = []

    def note(name):
        greenio.getcurrent().name = name
        names.append(greenio.getcurrent().is_named)

    def look():
        names.append(greenio.getcurrent().name)

    async def main():
        await greenio.run_green(note, "mine")
        await greenio.run_green(look)

    run_async(main)
    assert names[0] is True
    assert "mine" not in names
    assert names[1].endswith("look")


def test_who_holds_a_lock(background):
    lock, event = RLock(), Event()

    def holds():
        with lock:
            event.wait()

    def wants():
        with lock:
            pass

    background(holds)
    background(wants)
    text = debug.format_run_info()
    entry = under(text, "green thread of wants at")
    assert "of <RLock owner=<GreenThread" in entry[0]
    assert any(line.startswith("    green thread of holds") for line in entry)
    event.send()


def test_time_limits(background):
    queue = Queue()

    def gets():
        queue.get(timeout=600)

    def is_limited():
        with greenio.Timeout(900), greenio.Timeout(700):
            queue.get()

    background(gets)
    for _ in range(3):
        background(is_limited)
    text = debug.format_run_info()
    assert ", for 600 s at most" in under(text, "green thread of gets at")[0]
    entry = under(text, "green thread of is_limited at")
    # The next one first; how long that is depends on how long this takes.
    limits = re.findall(r"; Timeout in (\d+) s", entry[0])
    assert 0 < int(limits[0]) < int(limits[1]) <= 900
    assert entry[-1].strip() == "(2 more like this)"


def test_several_at_once(background):
    events = [Event(), Event(), Event()]
    threads = [background(waits, event) for event in events]

    def joins():
        greenio.joinall(threads, timeout=600)

    joiner = background(joins)
    events[0].send()
    until(lambda: threads[0].dead)
    text = debug.format_run_info()
    entry = under(text, "green thread of joins at")
    assert "waits for joinall(), 2 of 3 left, for 600 s at most" in entry[0]
    assert sum("green thread of waits" in line for line in entry) >= 1
    joiner.kill()


def test_a_pool(background):
    pool = greenio.GreenPool(2)
    event = Event()
    pool.spawn(waits, event)
    background(pool.waitall)
    text = debug.format_run_info()
    entry = under(text, "waits for the green threads of <GreenPool size=2 running=1")
    assert any("green thread of waits" in line for line in entry)
    event.send()
    pool.waitall()


def test_threads_of_a_patched_program_have_their_names(loop):
    run(
        """
        import greenio; greenio.monkey_patch()
        import threading
        from greenio import debug
        done = threading.Event()

        def work():
            done.wait()

        thread = threading.Thread(target=work, name="the worker")
        thread.start()
        text = debug.format_run_info()
        assert "thread 'the worker' of work at 0x" in text, text
        done.set()
        thread.join()
        """,
        hub=loop,
    )
