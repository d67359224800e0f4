"""`asyncio.run`, called by green code in a patched program."""

from __future__ import annotations

import textwrap

import pytest

import _fresh

# -- what asyncio.run does ----------------------------------------------------------------


def test_it_runs_in_green_threads_and_returns_and_raises(program):
    assert program(
        """
        async def double(x):
            await asyncio.sleep(0)
            if x is None:
                raise KeyError("none")
            return 2 * x

        def legacy(x):
            try:
                return asyncio.run(double(x))
            except KeyError as exc:
                return exc, [entry.name for entry in __import__("traceback")
                             .extract_tb(exc.__traceback__)][-1]

        print(spawn(legacy, 2).wait(), spawn(legacy, None).wait())
        sleep(0)
        print("main", legacy(4))
        """
    ) == ["4 (KeyError('none'), 'double')", "main 8", ""]


def test_two_hundred_at_once_overlap(program):
    assert program(
        """
        inside = 0
        everybody = greenio.event.Event()

        async def main(number):
            global inside
            inside += 1
            if inside == 200:
                everybody.send()
            await everybody.wait_async()
            return number

        threads = [spawn(lambda n=n: asyncio.run(main(n))) for n in range(200)]
        print([thread.wait() for thread in threads] == list(range(200)))
        """
    ) == ["True", ""]


def test_its_own_tasks_are_cancelled_and_nobody_elses(program):
    assert program(
        """
        log = []

        async def worker(name):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                log.append("cancelled " + name)
                raise

        async def main(name):
            task = asyncio.create_task(worker(name))
            grandchild = asyncio.create_task(starts(name + "'s child's child"))
            # On uvloop a timer that is due comes before tasks that are to start.
            for _ in range(3):
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)

        async def starts(name):
            asyncio.get_running_loop().create_task(worker(name))
            await asyncio.sleep(0)

        def others():
            task = asyncio.get_running_loop().create_task(worker("other"))
            ticks = 0
            while not done:
                sleep(0)
                ticks += 1
            print("other goes on", not task.done(), ticks > 3)
            task.cancel()

        done = False
        beside = spawn(others)
        spawn(lambda: asyncio.run(main("a"))).wait()
        print(sorted(log))
        done = True
        beside.wait()
        """
    ) == [
        """['cancelled a', "cancelled a's child's child"]""",
        "other goes on True True",
        "",
    ]


def test_its_own_asynchronous_generators_are_closed_and_nobody_elses(program):
    assert program(
        """
        async def numbers(name):
            try:
                while True:
                    yield 1
            finally:
                await asyncio.sleep(0)
                print("closed", name)

        kept = []

        async def begin(name):
            generator = numbers(name)
            kept.append(generator)
            await generator.__anext__()

        def others():
            greenio.await_(begin("other"))

        spawn(others).wait()
        spawn(lambda: asyncio.run(begin("a"))).wait()
        print("over")
        """
    )[:2] == ["closed a", "over"]


def test_failing_tasks_left_behind_are_reported(program):
    assert program(
        """
        async def clumsy():
            try:
                await asyncio.sleep(1000)
            finally:
                raise ValueError("in the end")

        async def main():
            task = asyncio.create_task(clumsy())
            await asyncio.sleep(0)

        async def outer():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(
                lambda loop, context: print(repr(context["exception"])))
            await main()

        def green():
            asyncio.run(outer())

        spawn(green).wait()
        """
    ) == ["ValueError('in the end')", ""]


def test_context_variables_go_in_and_do_not_come_out(program):
    assert program(
        """
        variable = contextvars.ContextVar("variable", default="unset")

        async def main():
            before = variable.get()
            variable.set("inside")
            await asyncio.sleep(0)
            seen = await asyncio.create_task(child())
            return before, seen

        async def child():
            return variable.get()

        def green():
            variable.set("green")
            return asyncio.run(main()), variable.get()

        print(spawn(green).wait())
        """
    ) == ["(('green', 'inside'), 'green')", ""]


def test_runs_nest_through_green_code(program):
    assert program(
        """
        log = []

        async def forever(name):
            try:
                await asyncio.sleep(1000)
            finally:
                log.append(name)

        async def inner():
            asyncio.create_task(forever("inner"))
            await asyncio.sleep(0)
            log.append(len(asyncio.all_tasks()))

        async def outer():
            asyncio.create_task(forever("outer"))
            await greenio.run_green(lambda: asyncio.run(inner()))
            log.append("inner over")

        spawn(lambda: asyncio.run(outer())).wait()
        print(log)
        """
    ) == ["[2, 'inner', 'inner over', 'outer']", ""]


def test_all_tasks_shows_the_tasks_of_the_run(program):
    assert program(
        """
        async def main():
            mine = asyncio.create_task(asyncio.sleep(0))
            return asyncio.all_tasks() == {mine, asyncio.current_task()}

        def legacy():
            other = asyncio.get_running_loop().create_task(asyncio.sleep(0.01))
            return asyncio.run(main()), other in asyncio.all_tasks()

        print(spawn(legacy).wait())
        """
    ) == ["(True, True)", ""]


def test_what_is_no_coroutine_is_refused(program):
    assert program(
        """
        def legacy():
            for wrong in (5, print):
                try:
                    asyncio.run(wrong)
                except (TypeError, ValueError) as exc:
                    print("a coroutine was expected" in str(exc)
                          or "awaitable is required" in str(exc))

        spawn(legacy).wait()
        """
    ) == ["True", "True", ""]


# -- ended from outside -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "timeout"])
def test_ending_the_green_thread_cancels_and_waits(program, how):
    assert program(
        f"""
        begun, log = [], []

        async def worker(name):
            begun.append(name)
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(0)
                log.append(name)

        async def main():
            asyncio.create_task(worker("child"))
            await worker("main")

        def legacy():
            try:
                with greenio.Timeout(0.01 if {how!r} == "timeout" else None):
                    asyncio.run(main())
            except BaseException as exc:
                log.append(type(exc).__name__)

        thread = spawn(legacy)
        if {how!r} == "kill":
            while len(begun) < 2:
                sleep(0)
            thread.kill()
        thread.wait()
        print(sorted(log[:2]), log[2:])
        """
    ) == [
        f"['child', 'main'] ['{'GreenletExit' if how == 'kill' else 'Timeout'}']",
        "",
    ]


def test_its_coroutines_take_their_runner_for_their_thread(program):
    """`threading.get_ident`, `current_thread` and `local` are those of the green thread."""
    assert program(
        """
        import threading
        local = threading.local()

        async def main(n):
            async def child():
                await asyncio.sleep(0)
                return threading.get_ident(), threading.current_thread(), local.value
            assert local.value == n
            local.value += 1000
            return await asyncio.create_task(child())

        def legacy(n):
            local.value = n
            seen = asyncio.run(main(n))
            assert seen == (threading.get_ident(), threading.current_thread(), n + 1000)
            assert local.value == n + 1000
            return seen[0]

        threads = [spawn(legacy, n) for n in range(5)]
        print(len({thread.wait() for thread in threads}))
        legacy(7)
        assert threading.current_thread() is threading.main_thread()
        """
    ) == ["5", ""]


def test_uvloop_run(program):
    pytest.importorskip("uvloop")
    assert program(
        """
        import uvloop
        from uvloop import run

        async def main(x):
            await asyncio.sleep(0.01)
            return 2 * x

        print([t.wait() for t in [spawn(lambda n=n: run(main(n))) for n in range(3)]])
        print(uvloop.run(main(5)))

        async def inside():
            try:
                uvloop.run(main(5))
            except RuntimeError as exc:
                return "cannot be called from a running event loop" in str(exc)
            finally:
                pass

        import warnings
        warnings.simplefilter("ignore")
        print(uvloop.run(inside()))
        """
    ) == ["[0, 2, 4]", "10", "True", ""]


def test_an_interrupt_ends_the_run_and_the_program(loop):
    source = _fresh.ASYNCIO_HEAD + textwrap.dedent(
        """
        async def main():
            print("ready")
            try:
                await asyncio.sleep(1000)
            finally:
                print("cleaned up")

        def legacy():
            asyncio.run(main())

        try:
            spawn(legacy).wait()
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    program = _fresh.Interrupted("-c", source, until="ready", hub=loop)
    assert (program.stdout, program.stderr) == (
        "ready\ninterrupted\ncleaned up\n",
        "",
    )


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit"])
def test_what_ends_the_program_leaves_the_run(program, kind):
    assert (
        program(
            f"""
        async def main():
            try:
                await asyncio.sleep(0)
                raise {kind}("now")
            finally:
                print("finally")

        def legacy():
            try:
                asyncio.run(main())
            except {kind} as exc:
                print("legacy", exc)

        try:
            spawn(legacy).wait()
            sleep(0.01)
        except {kind} as exc:
            print("main", exc)
        sleep(0.01)
        """
        )[0]
        == "finally"
    )
