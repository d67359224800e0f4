"""Event loops that a patched program runs itself, while its green threads go on."""

from __future__ import annotations

import pytest

from _fresh import run

pytestmark = pytest.mark.slow


@pytest.fixture(params=["default", "select", "poll", "uvloop"])
def start(request):
    """The beginning of a program that has a function `make_loop`."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    make = {
        "default": "asyncio.SelectorEventLoop()",
        "select": "asyncio.SelectorEventLoop(selectors.SelectSelector())",
        "poll": "asyncio.SelectorEventLoop(selectors.PollSelector())",
        "uvloop": "__import__('uvloop').new_event_loop()",
    }[request.param]
    return f"""
        import greenio; greenio.monkey_patch()
        import asyncio, selectors, socket, threading, time
        def make_loop():
            return {make}
    """


def test_threads_that_were_started_before(loop, start):
    """They run while the main program runs a loop, and after it has ended."""
    run(
        start
        + """
        seen, go_on = [], threading.Event()
        loop = make_loop()

        def work():
            time.sleep(0.001)
            seen.append("slept")
            loop.call_soon_threadsafe(future.set_result, 1)
            go_on.wait()
            seen.append("went on")

        future = loop.create_future()
        thread = threading.Thread(target=work)
        thread.start()
        assert loop.run_until_complete(future) == 1
        assert seen == ["slept"] and thread.is_alive()
        loop.close()
        go_on.set()
        thread.join()
        assert seen == ["slept", "went on"]
        """,
        hub=loop,
    )


def test_a_loop_in_the_middle_of_a_green_program(loop, start):
    """The main program has waited before, so its hub is running already."""
    run(
        start
        + """
        time.sleep(0.001)
        ticks = []

        def tick():
            while True:
                time.sleep(0.001)
                ticks.append(asyncio._get_running_loop())

        threading.Thread(target=tick, daemon=True).start()
        outer = asyncio._get_running_loop()
        loop = make_loop()

        async def numbers():
            yield 1
            yield 2

        async def main():
            assert asyncio.get_running_loop() is loop
            assert [x async for x in numbers()] == [1, 2]
            before = len(ticks)
            while len(ticks) < before + 3:
                await asyncio.sleep(0.001)
            assert set(ticks) == {outer}, "green threads see their own hub's loop"
            started = []
            thread = threading.Thread(target=lambda: started.append(time.sleep(0.001)))
            thread.start()
            while not started:
                await asyncio.sleep(0.001)
            real = await asyncio.to_thread(lambda: 5)
            reader, writer = await asyncio.open_connection(*server.getsockname())
            assert await reader.read() == b"from a green thread"
            writer.close()
            await writer.wait_closed()
            return real

        server = socket.create_server(("127.0.0.1", 0))

        def serve():
            connection, _ = server.accept()
            connection.sendall(b"from a green thread")
            connection.close()

        threading.Thread(target=serve).start()
        assert loop.run_until_complete(main()) == 5
        assert asyncio._get_running_loop() is outer
        # Twice, and with run_forever.
        before = len(ticks)

        def stop_after_a_tick():
            if len(ticks) > before:
                loop.stop()
            else:
                loop.call_later(0.001, stop_after_a_tick)

        stop_after_a_tick()
        loop.run_forever()
        assert len(ticks) > before
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        server.close()
        before = len(ticks)
        while len(ticks) < before + 3:
            time.sleep(0.001)
        """,
        hub=loop,
    )


def test_errors_and_interruptions_come_through(loop, start):
    run(
        start
        + """
        import signal
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        loop = make_loop()

        async def fails():
            await asyncio.sleep(0)
            raise ValueError("mine")

        try:
            loop.run_until_complete(fails())
        except ValueError as error:
            assert str(error) == "mine"
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            loop.run_until_complete(asyncio.sleep(600))
        except KeyboardInterrupt:
            print("interrupted")
        assert loop.run_until_complete(asyncio.sleep(0, "fine")) == "fine"
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()

        async def finish():
            await asyncio.gather(*tasks, return_exceptions=True)

        loop.run_until_complete(finish())
        loop.close()
        time.sleep(0.001)
        """,
        hub=loop,
    )


def test_a_blocking_call_in_a_coroutine_is_refused(loop, start):
    """The inner loop's coroutines are coroutines, although green code runs them."""
    run(
        start
        + """
        held = threading.Lock()
        greenio.spawn(lambda: (held.acquire(), time.sleep(600)))
        greenio.sleep(0)
        loop = make_loop()

        async def blocks():
            held.acquire()

        try:
            loop.run_until_complete(blocks())
        except greenio.BlockingInLoopError:
            pass
        else:
            raise AssertionError("it waited")
        loop.close()
        """,
        hub=loop,
    )


def test_asyncio_run_in_the_middle_of_a_green_program(loop):
    """In the main program and in green threads, a hundred at once."""
    run(
        """
        import greenio; greenio.monkey_patch()
        import asyncio, threading, time
        time.sleep(0.001)
        inside, most = 0, 0

        async def numbers():
            try:
                yield 1
                yield 2
            finally:
                closed.append(asyncio.get_running_loop())

        closed = []

        async def main(value):
            global inside, most
            inside += 1
            most = max(most, inside)
            loop = asyncio.get_running_loop()
            asyncio.create_task(asyncio.sleep(600))   # cancelled at the end
            async for number in numbers():
                break
            while most < together:
                await asyncio.sleep(0.001)
            inside -= 1
            assert asyncio.get_running_loop() is loop
            return value

        together = 1
        assert asyncio.run(main(5)) == 5
        assert len(closed) == 1

        together, results = 100, []
        threads = [
            threading.Thread(target=lambda n=n: results.append(asyncio.run(main(n))))
            for n in range(100)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == list(range(100))
        assert len(closed) == 101

        async def fails():
            raise ValueError("mine")

        try:
            asyncio.run(fails())
        except ValueError as error:
            assert str(error) == "mine"

        # In a coroutine it is refused, as ever.
        coroutine = main(0)

        async def nested():
            asyncio.run(coroutine)

        try:
            asyncio.run(nested())
        except RuntimeError as error:
            assert "cannot be called from a running event loop" in str(error)
        else:
            raise AssertionError("it ran")
        coroutine.close()
        """,
        hub=loop,
    )


def test_futures_of_a_loop_that_a_green_thread_runs(loop):
    """A Task of the outer loop waits for them in what it calls by `run_green`."""
    run(
        """if True:
        import greenio; greenio.monkey_patch()
        import asyncio

        async def main():
            futures, done = [], greenio.Event()
            async def inner():
                loop = asyncio.get_running_loop()
                futures.extend(loop.create_future() for _ in range(4))
                await done.wait_async()
            nested = greenio.spawn(asyncio.run, inner())
            while not futures:
                await asyncio.sleep(0)
            result, failure, cancelled, awaited = futures
            assert result.get_loop() is not asyncio.get_running_loop()
            def take(future):
                return greenio.await_(future)
            waiting = [
                asyncio.ensure_future(greenio.run_green(take, future))
                for future in futures
            ]
            await asyncio.sleep(0)
            result.set_result("value")
            failure.set_exception(LookupError("lost"))
            cancelled.cancel()
            assert await waiting[0] == "value"
            try:
                await waiting[1]
            except LookupError as error:
                assert str(error) == "lost"
            else:
                raise AssertionError
            try:
                await waiting[2]
            except asyncio.CancelledError:
                pass
            else:
                raise AssertionError
            # Who awaits owns: what was awaited ends, too.
            waiting[3].cancel()
            try:
                await waiting[3]
            except asyncio.CancelledError:
                pass
            else:
                raise AssertionError
            while not awaited.cancelled():
                await asyncio.sleep(0)
            done.send()
            await nested
        asyncio.run(main())
        """,
        hub=loop,
    )


def test_loops_of_uvloops_that_end_in_another_order(loop):
    pytest.importorskip("uvloop")
    printed = run(
        """
        import asyncio, os, signal
        import greenio, uvloop

        def descriptor():
            current = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(current)
            return current

        def runs(number):
            loop = uvloop.new_event_loop()
            try:
                loop.run_until_complete(waits(number))
            finally:
                loop.close()

        async def waits(number):
            begun.append(number)
            await may_end[number].wait()
            if number == 3:
                # The last one has its signals all the same.
                told = asyncio.Event()
                loop = asyncio.get_running_loop()
                loop.add_signal_handler(signal.SIGUSR1, told.set)
                os.kill(os.getpid(), signal.SIGUSR1)
                await told.wait()
            ended.append(number)

        greenio.sleep(0)
        before = descriptor()
        begun, ended = [], []
        may_end = [asyncio.Event() for _ in range(4)]
        threads = [greenio.spawn(runs, number) for number in range(4)]
        while len(begun) < 4:
            greenio.sleep(0.001)
        for number in (1, 0, 2, 3):
            may_end[number].set()
            threads[number].wait()
        assert ended == [1, 0, 2, 3]
        assert descriptor() == before != -1
        print("ended")
        """,
        hub=loop,
    )
    assert printed == "ended\n"
