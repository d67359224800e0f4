"""`loop_hidden` and `hide_loop`: green threads that see no running loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import socket

import pytest

import greenio
from _fresh import python, run
from greenio import GreenGroup, hubs, loop_hidden, run_green, sleep, spawn
from greenio.event import Event
from greenio.queue import Queue


def sees():
    """Whether the caller sees a running loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        assert asyncio._get_running_loop() is None
        with pytest.raises(RuntimeError):
            asyncio.current_task()
        return False
    assert loop.is_running()
    return True


def seen_around(wait):
    """What a green thread sees before and after a wait, hidden and outside of that."""
    seen = [sees()]
    with loop_hidden():
        seen.append(sees())
        wait()
        seen.append(sees())
    seen.append(sees())
    wait()
    seen.append(sees())
    return seen


HIDDEN_INSIDE = [True, False, False, True, True]


def sleep_some():
    sleep(0.001)


def sleep_none():
    sleep(0)


def wait_for_queue():
    queue = Queue()
    spawn(queue.put, 1)
    queue.get()


def wait_for_time_limit():
    assert Event().wait(timeout=0.001) is None


def wait_for_thread():
    spawn(sleep, 0).wait()


def wait_for_coroutine():
    async def main():
        assert sees()
        await asyncio.sleep(0)
        assert sees()

    greenio.await_(main())


def wait_for_future():
    loop = hubs.get_hub().loop
    future = loop.create_future()
    loop.call_soon(future.set_result, 1)
    greenio.await_(future)


def wait_for_real_thread():
    from greenio import tpool

    assert tpool.execute(int, "5") == 5


def wait_for_socket():
    left, right = (greenio.greenio.GreenSocket(end) for end in socket.socketpair())
    for _ in range(3):
        spawn(right.sendall, b"1")
        assert left.recv(10) == b"1"
    left.settimeout(0.001)
    with pytest.raises(TimeoutError):
        left.recv(1)
    left.close()
    right.close()


def wait_for_descriptor():
    left, right = socket.socketpair()
    with left, right:
        spawn(right.sendall, b"1")
        hubs.trampoline(left, read=True)


def wait_for_timeout():
    with pytest.raises(greenio.Timeout), greenio.Timeout(0.001):
        Event().wait()


def wait_for_nested():
    """A coroutine that waits for a green thread that waits for a coroutine."""

    async def main():
        assert sees()
        await run_green(wait_for_coroutine)
        assert sees()

    greenio.await_(main())


def wait_in_a_group():
    with GreenGroup() as group:
        group.spawn(sleep, 0)
        group.spawn(sleep, 0.001)


def kill_somebody():
    for state in (True, False):
        with loop_hidden(state):
            other = spawn(Event().wait)
        sleep(0)
        other.kill()
        assert other.dead


WAITS = [
    sleep_some,
    sleep_none,
    wait_for_queue,
    wait_for_time_limit,
    wait_for_thread,
    wait_for_coroutine,
    wait_for_future,
    wait_for_real_thread,
    wait_for_socket,
    wait_for_descriptor,
    wait_for_timeout,
    wait_for_nested,
    wait_in_a_group,
    kill_somebody,
]
every_wait = pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.__name__)


@every_wait
def test_hidden_while_a_block_lasts(hub_name, wait):
    assert spawn(seen_around, wait).wait() == HIDDEN_INSIDE


@every_wait
def test_hidden_beside_coroutines(run_async, wait):
    """On a loop that runs already; what runs there always sees it."""

    async def ticker():
        while True:
            assert sees()
            await asyncio.sleep(0)

    async def main():
        ticking = asyncio.create_task(ticker())
        visible = spawn(lambda: [(sleep(0), sees())[1] for _ in range(100)])
        assert await run_green(seen_around, wait) == HIDDEN_INSIDE
        assert sees()
        assert await spawn(loop_hidden()(lambda: (wait(), sees())[1])) is False
        assert sees()
        assert all(await visible)
        assert not ticking.done()
        ticking.cancel()

    run_async(main)


@every_wait
def test_hidden_from_the_main_program(hub_name, wait):
    """It sees none before its loop runs; later it does, unless that is hidden."""
    before = sees()
    assert before is False
    with loop_hidden():
        wait()
        assert sees() is False
        assert spawn(lambda: (wait(), sees())[1]).wait() is False
    sleep(0)
    assert sees() is True
    with loop_hidden():
        assert sees() is False
        wait()
        assert sees() is False


@every_wait
def test_many_at_once(hub_name, wait):
    def work(hidden):
        for _ in range(5):
            with loop_hidden(hidden):
                assert sees() is not hidden
                wait()
                assert sees() is not hidden
                with loop_hidden(not hidden):
                    assert sees() is hidden
                    sleep(0)
                    assert sees() is hidden

    threads = [spawn(work, n % 2 == 0) for n in range(20)]
    for thread in threads:
        thread.wait()


def test_children_are_like_their_parent(hub_name):
    seen = {}

    def child(name):
        seen[name, "start"] = sees()
        sleep(0)
        seen[name] = sees()

    def parent():
        with loop_hidden():
            children = [
                spawn(child, "hidden"),
                greenio.spawn_after(0.001, child, "late"),
            ]
            pool = greenio.GreenPool()
            pool.spawn(child, "pooled")
        children.append(spawn(child, "visible"))
        for thread in children:
            thread.wait()
        pool.waitall()

    spawn(parent).wait()
    assert seen == {
        "hidden": False,
        ("hidden", "start"): False,
        "late": False,
        ("late", "start"): False,
        "pooled": False,
        ("pooled", "start"): False,
        "visible": True,
        ("visible", "start"): True,
    }


def test_a_hidden_end_shows_the_loop_again(hub_name):
    """However a hidden green thread ends, nobody else sees less for it."""
    seen = []

    async def look():
        seen.append(sees())

    def fail():
        sleep(0)
        raise KeyError("expected")

    def spawner():
        with loop_hidden():
            threads = [spawn(sleep, 0), spawn(fail), spawn(Event().wait)]
            threads.append(spawn(sleep, 10))
        sleep(0)
        loop = hubs.get_hub().loop
        for thread in threads[2:]:
            thread.kill()
            loop.call_soon(lambda: seen.append(sees()))
        with pytest.raises(KeyError):
            threads[1].wait()
        greenio.await_(look())
        sleep(0)

    spawn(spawner).wait()
    assert seen == [True, True, True]


def test_a_forgotten_one_is_taken_apart(hub_name):
    """The interpreter ends it in the middle of somebody else, who sees what he saw."""
    ends = []

    def forgotten():
        try:
            hubs.get_hub().switch()
        finally:
            ends.append(sees())

    def forgetful(hidden):
        with loop_hidden():
            thread = spawn(forgotten)
        sleep(0)
        with loop_hidden(hidden):
            del thread
            gc.collect()
            assert sees() is not hidden
            sleep(0)
            assert sees() is not hidden

    for hidden in (True, False):
        spawn(forgetful, hidden).wait()
    assert len(ends) == 2


def test_errors_leave_the_block(hub_name):
    def work():
        with pytest.raises(KeyError), loop_hidden():
            raise KeyError(1)
        assert sees()
        with pytest.raises(greenio.Timeout), greenio.Timeout(0.001), loop_hidden():
            Event().wait()
        assert sees()

    spawn(work).wait()


def test_killed_in_the_block(hub_name):
    seen = []

    def work():
        try:
            with loop_hidden():
                try:
                    Event().wait()
                finally:
                    seen.append(sees())
        finally:
            seen.append(sees())

    def killer():
        thread = spawn(work)
        sleep(0)
        thread.kill()
        seen.append(sees())

    spawn(killer).wait()
    assert seen == [False, True, True]


def test_context_is_kept(hub_name):
    variable = contextvars.ContextVar("variable", default=0)

    def work():
        variable.set(1)
        with loop_hidden():

            async def change():
                variable.set(variable.get() + 1)

            greenio.await_(change())
            assert variable.get() == 2

    spawn(work).wait()


def test_a_greenlet_of_the_users_inside(hub_name):
    """It may wait as ever, and sees what its starter sees."""
    import greenlet

    def inner():
        assert not sees()
        sleep(0.001)
        assert not sees()
        return "inner"

    def work():
        with loop_hidden():
            raw = greenlet.greenlet(inner)
            result = raw.switch()
            while not raw.dead:
                result = raw.switch()
            assert not sees()
        assert sees()
        return result

    # The raw greenlet parks by itself; its starter goes on when it ends.
    assert spawn(work).wait() == "inner"


def test_a_coroutine_always_sees_its_loop(run_async):
    async def main():
        with pytest.raises(greenio.BlockingInLoopError, match="loop_hidden"):
            with loop_hidden():
                pass

        @greenio.portal
        async def in_portal():
            with pytest.raises(greenio.BlockingInLoopError, match="loop_hidden"):
                with loop_hidden():
                    pass
            sleep(0)
            assert sees()

        await in_portal()
        assert sees()

    run_async(main)


def test_waking_a_coroutine(run_async):
    """A hidden green thread hands things to coroutines as a visible one does."""

    async def main():
        queue = Queue()
        putter = spawn(loop_hidden()(lambda: [queue.put(n) for n in range(3)]))
        assert [await queue.get_async() for _ in range(3)] == [0, 1, 2]
        await putter

    run_async(main)


def test_in_a_thread_without_a_loop():
    with loop_hidden():
        assert not sees()
    assert not sees()


def test_fork_and_end(loop):
    """Patched programs: a fork in a hidden green thread, and the end of the program."""
    assert (
        run(
            """
            import greenio; greenio.monkey_patch()
            import asyncio, os, time, threading
            def sees():
                return asyncio._get_running_loop() is not None
            def child():
                with greenio.loop_hidden():
                    time.sleep(0.001)
                    pid = os.fork()
                    time.sleep(0.001)
                    if not pid:
                        assert not sees()
                        greenio.spawn(time.sleep, 0.001).wait()
                        assert not sees()
                        os._exit(7)
                    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
                assert sees()
            greenio.spawn(child).wait()
            with greenio.loop_hidden():
                greenio.spawn(time.sleep, 600)
                threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            time.sleep(0.001)
            print("end")
            """,
            hub=loop,
        )
        == "end\n"
    )


PROGRAM = """
import asyncio, sys, threading, time
import greenio

def sees():
    return asyncio._get_running_loop() is not None

def threads():
    seen = []
    def work():
        seen.append(sees())
        time.sleep(0.001)
        seen.append(sees())
    started = [threading.Thread(target=work), threading.Thread(target=work)]
    for thread in started: thread.start()
    for thread in started: thread.join()
    return seen

time.sleep(0.001)
print(sees(), *threads())

async def main():
    assert sees()
    assert await asyncio.sleep(0.001, "slept") == "slept"
    return [sees(), await greenio.run_green(sees), *await greenio.run_green(threads)]

print(*asyncio.run(main()))
print(sees())
"""


@pytest.mark.parametrize("how", ["variable", "option", "call", "not at all"])
def test_for_the_whole_program(hub_name, tmp_path, how):
    source = PROGRAM
    arguments, more = ["-m", "greenio"], {}
    if how == "variable":
        more = {"GREENIO_HIDE_LOOP": "1"}
    elif how == "option":
        arguments.append("--hide-loop")
    elif how == "call":
        source = "import greenio; greenio.hide_loop()\n" + source
    path = tmp_path / "program.py"
    path.write_text(source)
    done = python(*arguments, str(path), hub=hub_name, **more)
    assert (done.stderr, done.returncode) == ("", 0)
    seen = "True" if how == "not at all" else "False"
    assert done.stdout.split() == [seen] * 5 + ["True"] + [seen] * 5 + [seen]


def test_hide_loop_while_the_loop_runs(hub_name):
    sleep(0)
    assert sees()
    try:
        greenio.hide_loop()
        assert not sees()
        sleep(0)
        assert not sees()
        assert spawn(sees).wait() is False
        with loop_hidden(False):
            assert sees()
            sleep(0)
            assert sees()
    finally:
        greenio.hide_loop(False)
    assert sees()
    sleep(0)
    assert sees()


def test_hide_loop_on_a_running_loop(run_async):
    async def main():
        greenio.hide_loop()
        try:
            assert sees()
            assert await run_green(sees) is False
            assert await spawn(sees) is False
            hub = hubs.get_hub()
            parked = spawn(Event().wait)
            await asyncio.sleep(0)
            assert parked in hub.green_threads()
            return parked
        finally:
            greenio.hide_loop(False)

    # Whoever is left when the loop ends is ended.
    assert run_async(main).dead


def test_libraries_take_it_for_blocking_code(hub_name):
    """asgiref's `async_to_sync` without any patch, and Django's check."""
    asgiref = pytest.importorskip("asgiref.sync")

    async def double(x):
        await asyncio.sleep(0)
        return 2 * x

    def work():
        convert = asgiref.async_to_sync(double)
        with pytest.raises(RuntimeError):
            convert(1)
        with loop_hidden():
            return convert(21)

    assert spawn(work).wait() == 42
