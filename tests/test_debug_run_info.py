"""`greenio.debug.format_run_info`: who runs, and who waits for what."""

from __future__ import annotations

import asyncio
import gc
import re
import signal
import socket
import sys
import threading

import pytest

import greenio
from _support import until
from greenio import debug, hubs, sleep, spawn
from greenio.event import Event
from greenio.queue import Queue


def under(text: str, title: str) -> list[str]:
    """The lines of one entry: its own, and those below it."""
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if title in line)
    depth = len(lines[first]) - len(lines[first].lstrip())
    entry = [lines[first]]
    for line in lines[first + 1 :]:
        if len(line) - len(line.lstrip()) <= depth:
            break
        entry.append(line)
    return entry


def waits_for_item(queue):
    queue.get()


def waits_forever():
    Event().wait()


async def sleeper():
    await asyncio.sleep(600)


async def gathers():
    await asyncio.gather(sleeper(), sleeper())


def naps():
    sleep(600)


def waits_for_thread(thread):
    thread.wait()


def test_everybody_and_what_they_wait_for(run_async):
    left, right = socket.socketpair()
    right = greenio.greenio.GreenSocket(right)
    queue = Queue()

    async def runs_green():
        await greenio.run_green(joins)

    def joins():
        with greenio.GreenGroup() as group:
            group.spawn(waits_for_item, queue)
            group.spawn(waits_for_item, queue)

    def awaits():
        greenio.await_(runs_green())

    def reads():
        right.recv(1)

    @greenio.portal
    async def blocks():
        queue.get()

    async def main():
        threads = [spawn(f) for f in (awaits, reads, naps, waits_forever)]
        threads.append(spawn(waits_for_thread, threads[-1]))
        tasks = [
            asyncio.create_task(blocks(), name="blocker"),
            asyncio.create_task(gathers(), name="gatherer"),
        ]
        while queue.getting() < 3:
            await asyncio.sleep(0)
        text = debug.format_run_info()
        for thing in (*threads, *tasks):
            thing.kill() if isinstance(thing, greenio.GreenThread) else thing.cancel()
        await asyncio.wait(tasks)
        for thread in threads:
            await asyncio.wait([asyncio.ensure_future(thread)])
        return text

    text = run_async(main)
    left.close()
    right.close()
    assert "<Hub attached" in text
    entry = under(text, "green thread of awaits")
    states = [line for line in entry if "waits for" in line]
    assert "await_() of task" in states[0]
    assert "run_green(" in states[1]
    assert "joins" in states[1]
    assert "the green threads of its group" in states[2]
    assert "get() of <Queue" in states[3]
    assert [len(line) - len(line.lstrip()) for line in states] == [2, 4, 6, 8]
    assert entry[-1].strip() == "(1 more like this)"
    assert "    queue.get()" in "\n".join(entry)
    assert "descriptor" in under(text, "green thread of reads")[0]
    assert "to read" in under(text, "green thread of reads")[0]
    assert "sleep(600)" in under(text, "green thread of naps")[0]
    entry = under(text, "green thread of waits_for_thread")
    assert "the end of green thread of waits_forever" in entry[0]
    assert any(line.startswith("    green thread of waits_forever") for line in entry)
    entry = under(text, "task 'blocker'")
    assert "with a portal: waits for get() of <Queue" in entry[0]
    assert "queue.get()" in entry[-1]
    entry = under(text, "task 'gatherer'")
    assert "2 awaitables together" in entry[0]
    assert sum("waits for asyncio.sleep" in line for line in entry) == 1
    assert entry[-1].strip() == "(1 more like this)"
    assert "task 'Task-" in text
    assert ": running" in text
    assert not re.search("_kernel|_reactor", text)


def test_from_everywhere(hub_name):
    texts = {}

    def green():
        texts["green"] = debug.format_run_info()

    async def coroutine():
        texts["coroutine"] = debug.format_run_info()

    @greenio.portal
    async def portal():
        sleep(0)
        texts["portal"] = debug.format_run_info()

    texts["main, before"] = debug.format_run_info()
    spawn(green).wait()
    texts["main"] = debug.format_run_info()
    spawn(greenio.await_, coroutine()).wait()
    greenio.await_(portal())
    hub = hubs.get_hub()
    hub.loop.call_soon(lambda: texts.update(callback=debug.format_run_info()))
    until(lambda: "callback" in texts)
    thread = threading.Thread(
        target=lambda: texts.update(thread=debug.format_run_info())
    )
    thread.start()
    until(lambda: "thread" in texts)
    thread.join()
    before = signal.signal(
        signal.SIGUSR1, lambda *_: texts.update(signal=debug.format_run_info())
    )
    signal.raise_signal(signal.SIGUSR1)
    until(lambda: "signal" in texts)
    signal.signal(signal.SIGUSR1, before)
    assert "green thread of green" in texts["green"]
    assert "main program: waits for the end of green" in texts["green"]
    assert "main program: running" in texts["main"]
    for place in ("green", "coroutine", "portal", "signal"):
        assert ": running" in texts[place], place
    for text in list(texts.values())[1:]:
        assert "<Hub owned" in text


def test_states(hub_name):
    threads = [spawn(waits_forever), spawn(waits_forever)]
    sleep(0)
    late = greenio.spawn_after(600, waits_forever)
    soon = spawn(sleeper)
    text = debug.format_run_info()
    assert "green thread of sleeper" in text
    assert "about to start" in under(text, "of sleeper")[0]
    assert "not started" in text
    assert "(1 more like this)" in text
    soon.kill()
    late.cancel()
    for thread in threads:
        thread.kill()


def test_some_that_wait_for_each_other(hub_name):
    """A ring has no root, and is shown all the same."""
    threads = []

    def wait_for(number):
        threads[number].wait()

    threads += [spawn(wait_for, 1), spawn(wait_for, 2), spawn(wait_for, 0)]
    sleep(0)
    text = debug.format_run_info()
    assert text.count("waits for the end of green thread of wait_for") == 3
    for thread in threads:
        thread.kill()


def test_a_long_chain(hub_name):
    """It may be longer than the interpreter's stack is deep."""
    threads = [spawn(waits_forever)]
    for _ in range(1500):
        threads.append(spawn(greenio.GreenThread.wait, threads[-1]))
    sleep(0)
    text = debug.format_run_info()
    assert text.count("waits for the end of") == 1500
    for thread in reversed(threads):
        thread.kill()


def test_what_awaits_deep_down(run_async):
    """The stacks of portals that await, and of asynchronous generators."""

    async def innermost():
        await asyncio.sleep(600)

    @greenio.portal
    async def in_portal():
        await innermost()

    async def generator():
        await innermost()
        yield

    async def iterates():
        async for _ in generator():
            pass

    async def main():
        tasks = [
            asyncio.create_task(in_portal(), name="portal"),
            asyncio.create_task(iterates(), name="iterator"),
        ]
        await asyncio.sleep(0)
        text = debug.format_run_info()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return text

    text = run_async(main)
    for name, outer in (("portal", "in in_portal"), ("iterator", "in generator")):
        entry = under(text, f"task {name!r}")
        assert "asyncio.sleep(600)" in entry[0]
        assert outer in "\n".join(entry)
        assert "in innermost" in "\n".join(entry)


def test_hidden_green_threads(hub_name):
    def parent():
        with greenio.loop_hidden():
            child = spawn(waits_forever)
            sleep(0)
            text = debug.format_run_info()
            child.kill()
        return text

    text = spawn(parent).wait()
    assert text.count("<Hub") == 1
    assert "green thread of waits_forever" in text
    assert "green thread of parent" in text


def test_no_hub():
    assert debug.format_run_info() == "no hub runs"


def test_it_leaves_nothing_behind(hub_name):
    """What it shows is not kept alive by it."""
    import weakref

    thread = spawn(waits_forever)
    sleep(0)
    debug.format_run_info()
    thread.kill()
    gone = weakref.ref(thread)
    del thread
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("many", [1000])
def test_many_alike_are_one_line(hub_name, many):
    threads = [spawn(waits_forever) for _ in range(many)]
    sleep(0)
    # They wait for events of their own, which differ by their addresses only.
    text = debug.format_run_info()
    assert len(text.splitlines()) < 100
    assert f"({many - 1} more like this)" in text
    for thread in threads:
        thread.kill()


def test_tasks_that_gather_and_tasks_that_have_not_begun(run_async):
    async def main():
        gate = asyncio.Event()
        hubs.get_hub()

        async def gathers():
            await asyncio.gather(gate.wait(), gate.wait())

        async def waits_for_all():
            await asyncio.wait([asyncio.ensure_future(gate.wait())])

        async def awaits_a_future():
            await future

        async def begins():
            pass

        future = asyncio.get_running_loop().create_future()
        others = [
            asyncio.create_task(each(), name=each.__name__)
            for each in (waits_for_all, awaits_a_future)
        ]
        task = asyncio.create_task(gathers(), name="gathers")
        await asyncio.sleep(0)
        new = asyncio.create_task(begins(), name="begins")
        text = debug.format_run_info()
        gate.set()
        future.set_result(None)
        await asyncio.wait([task, new, *others])
        return text

    text = run_async(main)
    assert ".gathers: waits for 2 awaitables together" in text
    assert ".begins: ready" in text
    assert ".awaits_a_future: waits for a Future" in text
    assert ".waits_for_all: waits for asyncio.wait()" in text
    assert " of Event.wait: " in "".join(under(text, ".waits_for_all: "))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no TaskGroup")
def test_the_tasks_of_a_task_group(run_async):
    async def main():
        hubs.get_hub()
        gate = asyncio.Event()

        async def joins():
            async with asyncio.TaskGroup() as group:
                group.create_task(gate.wait(), name="joined")

        task = asyncio.create_task(joins(), name="joins")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        text = debug.format_run_info()
        gate.set()
        await task
        return text

    text = run_async(main)
    assert ".joins: waits for the tasks of its TaskGroup" in text
