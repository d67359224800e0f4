"""The end: of asyncio.run, of scripts, by interruption, and what comes after a fork."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

import greenio
from _fresh import python, run
from _support import end_loop, settle_async, until_async
from greenio import event, sleep, spawn
from greenio._loop import signals


def test_the_end_of_the_loop_ends_green_threads(loop_factory):
    waiting, steps = [], []

    def parked(name):
        try:
            waiting.append(name)
            sleep(1000)
        finally:
            sleep(0)
            greenio.await_(asyncio.sleep(0))
            steps.append(name)

    async def main():
        spawn(parked, "first")
        spawn(parked, "second")
        await until_async(lambda: len(waiting) == 2)

    def as_asyncio_run_does():
        loop = loop_factory()
        loop.run_until_complete(main())
        end_loop(loop)

    as_asyncio_run_does()
    assert sorted(steps) == ["first", "second"]


def test_an_interrupt_as_the_supervisor_begins(loop_factory, monkeypatch):
    """It leaves the loop, and whoever ends that cancels what is left."""
    steps = []

    def parked():
        try:
            sleep(1000)
        finally:
            sleep(0)
            steps.append("finally")

    def arm(self):
        if not steps:
            steps.append("interrupted")
            raise KeyboardInterrupt

    async def main():
        thread = spawn(parked)
        await settle_async()
        thread.kill()

    monkeypatch.setattr(signals.SignalWakeup, "arm", arm)
    loop = loop_factory()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main())
    end_loop(loop)
    assert steps == ["interrupted", "finally"]


def test_those_who_will_not_end_are_left_after_a_while(loop_factory, monkeypatch):
    monkeypatch.setattr("greenio._kernel.shutdown._timeout", 0.05)
    seen, threads, enough = [], [], []

    def stubborn():
        while not enough:
            try:
                event.Event().wait()
            except greenio.greenlet.GreenletExit:
                continue

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: seen.append(context["message"]))
        threads.append(spawn(stubborn))
        await settle_async()

    loop = loop_factory()
    loop.run_until_complete(main())
    end_loop(loop)
    assert "still running" in seen[0]
    # Its loop is gone, so only this ends it.
    enough.append(True)
    threads[0].parent = greenio.getcurrent()
    threads[0].throw()
    assert threads[0].dead


def test_a_loop_closed_without_ado_makes_no_noise(hub_name):
    # Warnings are errors, and anything on stderr is a failure.
    run(
        """
        import asyncio, sys, greenio

        if sys.argv[1] == "uvloop":
            import uvloop
            loop = uvloop.new_event_loop()
        else:
            loop = asyncio.SelectorEventLoop()

        async def main():
            greenio.spawn(greenio.sleep, 1000)
            await asyncio.sleep(0)

        loop.run_until_complete(main())
        loop.close()
        """,
        hub_name,
    )


SCRIPT_END = """
    import greenio

    def parked(name):
        try:
            greenio.sleep(1000)
        finally:
            greenio.sleep(0)
            print(name, "cleaned up")

    greenio.spawn(parked, "first")
    greenio.spawn(parked, "second")
    greenio.sleep(0)
    print("the end")
"""


def test_the_end_of_a_script(hub_name):
    printed = run(SCRIPT_END, hub=hub_name)
    assert printed.splitlines() == [
        "the end",
        "first cleaned up",
        "second cleaned up",
    ]


@pytest.mark.parametrize("ending", ["in a green thread", "in a task"])
def test_an_exit_in_a_clean_up_keeps_nobody_from_ending(hub_name, ending):
    """It is silent: the program ends already, and with the status that it has."""
    done = python(
        "-c",
        f"""if True:
        import asyncio, sys
        import greenio

        def exiting():
            try:
                greenio.sleep(1000)
            finally:
                sys.exit(3)

        async def exiting_task():
            try:
                await asyncio.sleep(1000)
            finally:
                sys.exit(3)

        def patient():
            try:
                greenio.sleep(1000)
            finally:
                greenio.sleep(0.01)
                print("cleaned up")

        hub = greenio.hubs.get_hub()
        greenio.spawn(patient)
        if {ending!r} == "in a task":
            task = hub.loop.create_task(exiting_task())
        else:
            greenio.spawn(exiting)
        greenio.spawn(patient)
        greenio.sleep(0)
        sys.exit(4)
        """,
        hub=hub_name,
    )
    assert (done.returncode, done.stdout, done.stderr) == (4, "cleaned up\n" * 2, "")


def test_an_exit_in_a_clean_up_is_raised_when_the_hub_has_ended(hub_name):
    def exiting():
        try:
            greenio.sleep(1000)
        finally:
            raise SystemExit(3)

    hub = greenio.hubs.get_hub()
    others = [greenio.spawn(greenio.sleep, 1000) for _ in range(2)]
    greenio.spawn(exiting)
    greenio.sleep(0)
    with pytest.raises(SystemExit):
        hub.close()
    assert hub.closed
    assert hub.loop.is_closed()
    assert all(thread.dead for thread in others)


@pytest.mark.parametrize(
    ("raising", "code", "text"),
    [
        ("raise SystemExit(7)", 7, ""),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
@pytest.mark.parametrize("style", ["script", "asyncio.run"])
def test_exits_in_a_green_thread_end_the_program(hub_name, raising, code, text, style):
    source = f"""
import asyncio, greenio

def exiting():
    greenio.sleep(0)
    {raising}

def script():
    greenio.spawn(exiting)
    greenio.sleep(1000)

async def main():
    greenio.spawn(exiting)
    await asyncio.sleep(1000)

if {style!r} == "script":
    script()
elif {hub_name!r} == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""
    done = python("-c", source, hub=hub_name)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "never retrieved" not in done.stderr


def test_an_interruption_reaches_the_main_greenlet(hub_name):
    source = """
    import os, signal, greenio

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)

    for _ in range(2):
        greenio.spawn_after(0.01, interrupt)
        try:
            greenio.sleep(1000)
        except KeyboardInterrupt:
            print("interrupted")
        # And the hub goes on.
        greenio.spawn(print, "went on").wait()
    """
    printed = run(source, hub=hub_name)
    assert printed.split("\n")[:4] == ["interrupted", "went on"] * 2


def test_a_signal_handler_may_spawn(hub_name):
    """PEP 475: the selector sleeps on after the handler, unless it is woken."""
    arrived = event.Event()
    previous = signal.signal(
        signal.SIGALRM, lambda *_: spawn(arrived.send, "from the handler")
    )
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert arrived.wait(timeout=10) == "from the handler"
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_a_signal_handler_may_spawn_while_the_hub_is_being_made(nothing_left):
    """They have one hub then, and what the handler has spawned runs."""
    arrived = event.Event()
    loops = []

    def factory():
        loop = asyncio.new_event_loop()
        loops.append(loop)
        if len(loops) == 1:
            signal.raise_signal(signal.SIGUSR1)
        return loop

    previous = signal.signal(signal.SIGUSR1, lambda *_: spawn(arrived.send, "spawned"))
    greenio.hubs.use_hub(factory)
    try:
        assert arrived.wait(timeout=10) == "spawned"
        assert greenio.hubs.get_hub().loop is loops[1]
        assert loops[0].is_closed()
    finally:
        signal.signal(signal.SIGUSR1, previous)
        greenio.hubs.get_hub().close()
        greenio.hubs.use_hub()


def test_a_signal_handler_may_spawn_in_asyncio_run(run_async):
    async def main():
        arrived = event.Event()
        spawn(sleep)
        previous = signal.signal(
            signal.SIGALRM, lambda *_: spawn(arrived.send, "from the handler")
        )
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            assert await arrived.wait_async(timeout=10) == "from the handler"
        finally:
            signal.signal(signal.SIGALRM, previous)

    run_async(main)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_fresh_loop(hub_name):
    printed = run(
        """
        import os, sys, greenio

        greenio.spawn(greenio.sleep, 0).wait()
        before = greenio.hubs.get_hub().loop
        child = os.fork()
        if not child:
            assert greenio.hubs.get_hub().loop is not before
            greenio.sleep(0.001)
            print(greenio.spawn(lambda: "child").wait())
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(greenio.spawn(lambda: "parent").wait(), status)
        """,
        hub=hub_name,
    )
    assert printed.splitlines() == ["child", "parent 0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_green_thread_that_forks_goes_on_in_the_child(hub_name):
    printed = run(
        """
        import os, greenio

        def say(*words):
            # In one write: two processes share the pipe.
            os.write(1, (" ".join(map(str, words)) + "\\n").encode())

        def other():
            greenio.sleep(0.05)
            say("other", os.getpid() == parent)

        def forking():
            child = os.fork()
            greenio.sleep(0.001)
            if not child:
                # Alone: the other green threads are the parent's.
                assert greenio.hubs.get_hub().green_threads() == [greenio.getcurrent()]
                say(greenio.spawn(lambda: "child").wait())
                os._exit(0)
            greenio.tpool.execute(os.waitpid, child, 0)
            return "parent"

        parent = os.getpid()
        bystander = greenio.spawn(other)
        say(greenio.spawn(forking).wait())
        bystander.wait()
        """,
        hub=hub_name,
    )
    assert sorted(printed.splitlines()) == ["child", "other True", "parent"]


def _end(loop_factory, function, *, clean_up=5.0, monkeypatch=None):
    """Run a green thread on a loop that ends as under asyncio.run; return what it said."""
    said, threads = [], []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: said.append(context["message"]))
        threads.append(spawn(function))
        await until_async(lambda: threads[0].gr_frame is not None)

    monkeypatch.setattr("greenio._kernel.shutdown._timeout", clean_up)
    loop = loop_factory()
    loop.run_until_complete(main())
    end_loop(loop)
    return threads[0], said


def test_who_swallows_its_end_and_waits_again_is_ended_again(loop_factory, monkeypatch):
    ends = []

    def swallows():
        for _ in range(3):
            try:
                event.Event().wait()
            except greenio.greenlet.GreenletExit:
                ends.append("swallowed")
        event.Event().wait()

    thread, said = _end(loop_factory, swallows, clean_up=30.0, monkeypatch=monkeypatch)
    assert thread.dead
    assert ends == ["swallowed"] * 3
    assert said == []


def test_a_loop_that_lets_only_system_exit_pass_ends(loop_factory, monkeypatch):
    """As engineio's does, which logs all else and goes on."""
    logged = []

    def goes_on():
        while True:
            try:
                event.Event().wait()
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                logged.append(error)

    thread, said = _end(loop_factory, goes_on, clean_up=30.0, monkeypatch=monkeypatch)
    assert thread.dead
    assert (logged, said) == ([], [])


def test_clean_up_that_waits_is_not_disturbed(loop_factory, monkeypatch):
    steps = []

    def cleans_up():
        try:
            event.Event().wait()
        except greenio.greenlet.GreenletExit:
            for _ in range(3):
                sleep(0.01)
            steps.append("except")
            raise
        finally:
            sleep(0.01)
            steps.append("finally")

    thread, said = _end(loop_factory, cleans_up, clean_up=30.0, monkeypatch=monkeypatch)
    assert thread.dead
    assert (steps, said) == (["except", "finally"], [])


def test_the_message_names_who_did_not_end_and_where(loop_factory, monkeypatch):
    enough = event.Event()

    def never_ends():
        try:
            sleep(1000)
        finally:
            enough.wait()

    thread, said = _end(
        loop_factory, never_ends, clean_up=0.05, monkeypatch=monkeypatch
    )
    assert "never_ends" in said[0]
    assert "enough.wait()" in said[0]
    assert "1 green thread was still running 0.05 seconds" in said[0]
    assert "set_shutdown_timeout" in said[0]
    thread.parent = greenio.getcurrent()
    thread.throw()


def test_the_time_for_clean_up_is_a_setting():
    program = "import greenio; from greenio._kernel import shutdown; "
    show = "print(shutdown.shutdown_timeout())"
    assert run(program + show) == "5.0\n"
    assert run(f"{program} greenio.hubs.set_shutdown_timeout(2); {show}") == "2.0\n"
    done = python("-c", program + show, GREENIO_SHUTDOWN_TIMEOUT="0.5")
    assert done.stdout == "0.5\n"
    done = python("-c", program + show, GREENIO_SHUTDOWN_TIMEOUT="soon")
    assert "GREENIO_SHUTDOWN_TIMEOUT='soon' is not a number of seconds" in done.stderr
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="0 seconds or more"):
            greenio.hubs.set_shutdown_timeout(wrong)
