"""A loop that green code runs is the running loop, for itself and for the libraries."""

from __future__ import annotations

import sys
import textwrap

import pytest

from _fresh import Interrupted, run

pytestmark = pytest.mark.slow

# Ways to run a coroutine on a loop of one's own, whose loop is then the running one.
_WAYS = {
    "run": "asyncio.run(main())",
    "new_event_loop": "own_loop().run_until_complete(main())",
    "class": "own_loop(asyncio.SelectorEventLoop).run_until_complete(main())",
    "policy": "own_loop(asyncio.get_event_loop_policy().new_event_loop)"
    ".run_until_complete(main())",
}
if sys.version_info >= (3, 11):
    _WAYS["Runner"] = "asyncio.Runner().run(main())"
    _WAYS["factory"] = (
        "asyncio.Runner(loop_factory=asyncio.SelectorEventLoop).run(main())"
    )
_WHERE = {
    "main": "greenio.sleep(0); go()",
    "green thread": "greenio.spawn(go).wait()",
    "hidden": "greenio.spawn(greenio.loop_hidden()(go)).wait()",
    "thread": "thread = threading.Thread(target=go); thread.start(); thread.join()",
    "run_green": "greenio.await_(greenio.run_green(go))",
    "portal": "greenio.await_(in_portal())",
    "attached": "asyncio.run(greenio.run_green(go))",
    "nested": "asyncio.run(greenio.run_green(lambda: asyncio.run(greenio.run_green(go))))",
}
_PROGRAM = """
    import warnings; warnings.simplefilter("ignore")
    import greenio; greenio.monkey_patch()
    import asyncio, threading, time
    from greenio import await_, run_green, sleep, spawn

    def own_loop(make=asyncio.new_event_loop):
        loop = make()
        loops.append(loop)
        return loop

    loops = []

    @greenio.portal
    async def in_portal():
        return go()
"""


@pytest.mark.parametrize("where", _WHERE.values(), ids=_WHERE)
def test_the_loop_is_the_running_one_and_all_is_of_it(loop, where):
    output = run(
        _PROGRAM
        + f"""
    def others():
        while not stop:
            ticks.append(asyncio._get_running_loop())
            sleep(0.001)

    async def main():
        loop = asyncio.get_running_loop()
        assert loop is asyncio.get_event_loop() and loop.is_running()
        assert type(loop) is asyncio.SelectorEventLoop
        if loops:
            assert loop is loops[0]
        task = asyncio.current_task()
        assert task is asyncio.current_task(loop) and task.get_loop() is loop
        assert asyncio.all_tasks() == asyncio.all_tasks(loop) == {{task}}
        assert outer is None or asyncio.current_task(outer) is None
        future = asyncio.Future(loop=loop)
        loop.call_later(0.001, future.set_result, 1)
        assert await future == 1
        async def child(number):
            await asyncio.sleep(0)
            assert asyncio.get_running_loop() is loop
            return number
        tasks = [asyncio.Task(child(2), loop=loop), loop.create_task(child(3))]
        assert await asyncio.gather(*tasks, child(4)) == [2, 3, 4]
        assert await asyncio.wait_for(child(5), 30) == 5
        try:
            await asyncio.wait_for(loop.create_future(), 0.001)
        except asyncio.TimeoutError:
            pass
        done, _ = await asyncio.wait({{loop.create_task(child(6))}})
        assert [task.result() for task in done] == [6]
        assert await asyncio.to_thread(lambda: 7) == 7
        lock, queue = asyncio.Lock(), asyncio.Queue()
        async with lock:
            loop.call_soon_threadsafe(queue.put_nowait, 8)
            assert await queue.get() == 8
        before = len(ticks)
        while len(ticks) < before + 2:
            await asyncio.sleep(0.001)
        assert ticks[-1] is not loop
        return "done"

    def go():
        global outer
        outer = asyncio._get_running_loop()
        for way in ways:
            assert eval(way) == "done", way
            assert asyncio._get_running_loop() is outer
            if loops:
                # Twice.
                assert loops[0].run_until_complete(main()) == "done"
                loops.pop().close()

    ways = {list(_WAYS.values())!r}
    stop, ticks, outer = False, [], None
    if "asyncio.run" not in {where!r}:
        spawn(others)
        {where}
    else:
        async def beside(awaitable):
            spawn(others)
            return await awaitable
        run_it, asyncio.run = asyncio.run, lambda coro: run_it(beside(coro))
        run_go, go = go, lambda: (setattr(asyncio, "run", run_it), run_go())[1]
        {where}
    stop = True
    print("ok")
    """,
        hub=loop,
    )
    assert output == "ok\n"


def test_green_code_works_for_a_loop_and_on_it(loop):
    """Each may wait for what is of the other, and no call needs to be a threadsafe one."""
    output = run(
        _PROGRAM
        + """
    import contextlib
    from greenio.event import Event
    from greenio.queue import Queue

    async def rest(begun):
        begun.append(True)
        await asyncio.sleep(600)

    def test_calls_from_outside():
        loop = own_loop()
        runner = spawn(loop.run_forever)
        while not loop.is_running():
            sleep(0)
        seen = []
        loop.call_soon(seen.append, "soon")
        loop.call_later(0.001, seen.append, "later")
        future = loop.create_future()
        loop.call_soon(future.add_done_callback, lambda _: seen.append("future"))
        task = loop.create_task(future_of(future))
        sleep(0)
        future.set_result(5)
        assert await_(task) == 5
        begun = []
        cancelled = loop.create_task(rest(begun))
        while not begun:
            sleep(0)
        cancelled.cancel()
        while not cancelled.done():
            sleep(0.001)
        assert asyncio.run_coroutine_threadsafe(future_of(future), loop).result() == 5
        assert loop.is_running() and not runner.dead
        while len(seen) < 3:
            sleep(0.001)
        loop.stop()
        runner.wait()
        assert sorted(seen) == ["future", "later", "soon"]
        # What it was called by is as it was.
        assert "call_soon" not in vars(loop)

    async def future_of(future):
        return await future

    def test_what_is_of_the_outer_loop():
        outer = asyncio.get_running_loop()
        future = outer.create_future()
        failing = outer.create_future()
        never = outer.create_future()
        event, queue = Event(), Queue(0)
        beside = spawn(lambda: (sleep(0.002), future.set_result(1),
                                failing.set_exception(KeyError("x")),
                                event.send(2), queue.put(3)) and 4)

        def green():
            assert asyncio.get_running_loop() is inner
            assert await_(future) == 1
            try:
                await_(failing)
            except KeyError:
                pass
            with greenio.Timeout(0.001, False):
                await_(never)
            assert never.cancelled()
            return event.wait()

        async def main():
            nonlocal inner
            inner = asyncio.get_running_loop()
            try:
                await future
            except RuntimeError as error:
                assert "different loop" in str(error) or "different" in str(error)
            else:
                raise AssertionError("it was awaited")
            mine = spawn(lambda: queue.get())
            assert await run_green(green) == 2
            assert await mine == 3
            assert await beside == 4
            assert await event.wait_async() == 2

        inner = None
        asyncio.run(main())
        assert asyncio.get_running_loop() is outer

    def test_a_coroutine_waits_where_green_code_works():
        channel, answers = Queue(0), Queue(0)

        def serve():
            for number in iter(channel.get, None):
                answers.put(2 * number)

        async def main():
            for number in range(50):
                await channel.put_async(number)
                assert await answers.get_async() == 2 * number
            await channel.put_async(None)

        server = spawn(serve)
        asyncio.run(main())
        server.wait()

    def test_many_levels():
        async def level(depth):
            await asyncio.sleep(0.001)
            if depth:
                await run_green(lambda: asyncio.run(level(depth - 1)))
                reader, writer = await asyncio.open_connection(*address)
                assert await reader.read() == b"hello"
                writer.close()
                await writer.wait_closed()

        def answer(connection, _):
            connection.sendall(b"hello")
            connection.close()

        from greenio import convenience
        listener = convenience.listen(("127.0.0.1", 0))
        address = listener.getsockname()
        server = spawn(convenience.serve, listener, answer)
        # The kernel nests five pollers.
        asyncio.run(level(7))
        server.kill()

    def test_threads_that_it_starts_outlive_it():
        go_on, seen = threading.Event(), []

        async def main():
            thread = threading.Thread(target=lambda: (go_on.wait(), seen.append(1)))
            thread.start()
            await asyncio.sleep(0)
            return thread

        thread = asyncio.run(main())
        assert thread.is_alive()
        go_on.set()
        thread.join()
        assert seen == [1]

    def test_kill_and_time_limit():
        begun, log = [], []

        async def main(wait):
            try:
                begun.append(True)
                await wait()
            finally:
                await asyncio.sleep(0.001)
                log.append("cleaned up")

        def legacy(how, wait):
            loop = own_loop()
            try:
                with greenio.Timeout(0.005 if how == "timeout" else None):
                    loop.run_until_complete(main(wait))
            except BaseException as error:
                log.append(type(error).__name__)
            left = {task.get_name() for task in asyncio.all_tasks(loop)}
            assert left <= {"greenio-supervisor"}

        async def busy():
            while True:
                await asyncio.sleep(0)

        for wait in (lambda: asyncio.sleep(600), busy,
                     lambda: run_green(sleep, 600)):
            spawn(legacy, "timeout", wait).wait()
            begun.clear()
            thread = spawn(legacy, "kill", wait)
            while not begun:
                sleep(0)
            thread.kill()
            thread.wait()
        # The end of a run ends the green threads that live on its loop.
        wanted = ["cleaned up", "Timeout", "cleaned up", "GreenletExit"] * 3
        assert log == wanted, log

    def test_set_event_loop_says_whose_loop_is_meant():
        outer = asyncio._get_running_loop()

        def legacy():
            loop = own_loop()
            asyncio.set_event_loop(loop)
            assert asyncio._get_running_loop() is None
            future = asyncio.Future()
            assert future.get_loop() is loop is asyncio.get_event_loop()
            together = asyncio.gather(loop.create_task(asyncio.sleep(0, 1)))
            loop.call_later(0.001, future.set_result, 2)
            assert loop.run_until_complete(together) == [1]
            assert loop.run_until_complete(future) == 2
            assert asyncio.run(future_of_running_loop()) is not loop
            assert asyncio.get_event_loop() is loop
            sleep(0.001)
            asyncio.set_event_loop(None)

        async def future_of_running_loop():
            return asyncio.get_event_loop()

        threads = [spawn(legacy) for _ in range(3)]
        for thread in threads:
            thread.wait()
        assert asyncio._get_running_loop() is outer is asyncio.get_event_loop()
        # They have ended: who runs next sees the loop.
        seen = []
        outer.call_soon(lambda: seen.append(asyncio._get_running_loop()))
        thread = spawn(legacy)
        outer.call_soon(lambda: seen.append(asyncio._get_running_loop()))
        thread.wait()
        assert await_(asyncio.sleep(0, "in a task")) == "in a task"
        assert seen == [outer, outer]

    def test_a_thread_that_begins_with_a_loop_of_its_own():
        def run_loop():
            nonlocal inner
            inner = own_loop()
            asyncio.set_event_loop(inner)
            inner.call_soon(ready.set)
            inner.run_forever()

        def hidden():
            with greenio.loop_hidden():
                sleep(0.001)

        for _ in range(5):
            inner, ready = None, threading.Event()
            thread = threading.Thread(target=run_loop)
            thread.start()
            ready.wait()
            result = asyncio.run_coroutine_threadsafe(asyncio.sleep(0, 5), inner)
            assert result.result() == 5
            inner.call_soon_threadsafe(inner.stop)
            thread.join()
            thread = threading.Thread(target=hidden)
            thread.start()
            thread.join()
            sleep(0.001)

    def all_tests():
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                test()
                while loops:
                    loops.pop().close()
                print(name)

    spawn(all_tests).wait()
    sleep(0)
    all_tests()
    """,
        hub=loop,
    )
    assert len(output.splitlines()) == 16


def test_an_interrupt_cancels_what_the_main_program_runs(loop):
    """As in an unpatched program; and one in a green thread's does not hold it up."""
    program = Interrupted(
        "-c",
        textwrap.dedent(
            """
            import greenio; greenio.monkey_patch()
            import asyncio, signal, threading, time

            async def main(name):
                try:
                    await asyncio.sleep(600)
                finally:
                    await asyncio.sleep(0.001)
                    print("cleaned up", name)

            def ready():
                time.sleep(0.01)
                print("ready")

            greenio.sleep(0)
            threading.Thread(target=ready).start()
            greenio.spawn(lambda: asyncio.run(main("green")))
            try:
                asyncio.run(main("main"))
            except KeyboardInterrupt:
                print("interrupted")
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            """
        ),
        until="ready",
        hub=loop,
    )
    assert (program.stdout, program.stderr) == (
        "ready\ncleaned up main\ninterrupted\ncleaned up green\n",
        "",
    )


def test_what_a_signal_handler_raises_on_such_a_loop_goes_to_the_main_program(loop):
    output = run(
        """
        import greenio; greenio.monkey_patch()
        import asyncio, os, signal, threading

        def handler(*_):
            seen.append(threading.current_thread() is threading.main_thread())
            raise ValueError("from the handler")

        def interrupt():
            os.kill(os.getpid(), signal.SIGUSR1)
            sum(range(1000))

        async def main(in_coroutine):
            if in_coroutine:
                interrupt()
            else:
                await greenio.run_green(interrupt)
            await asyncio.sleep(0.001)
            return "went on"

        signal.signal(signal.SIGUSR1, handler)
        seen = []
        for in_coroutine in (True, False):
            thread = greenio.spawn(lambda: asyncio.run(main(in_coroutine)))
            try:
                greenio.sleep(600)
            except ValueError as error:
                print(error)
            assert thread.wait() == "went on"
        assert seen == [True, True]
        """,
        hub=loop,
    )
    assert output == "from the handler\n" * 2
