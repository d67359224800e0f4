"""Signal handlers of the program's own that raise, in programs that are not patched.

The interpreter calls them wherever the main thread is, and so in the loop and in the hub.
"""

from __future__ import annotations

import pytest

from _fresh import python


def ended_well(program: str, loop: str) -> str:
    """Run a program in which the interpreter may print what it can raise nowhere."""
    done = python("-c", f"if True:{program}", hub=loop)
    assert done.returncode == 0, done.stderr
    assert "Exception in callback RunQueue" not in done.stderr
    return done.stdout


def test_a_handler_may_raise_wherever_a_hub_begins(loop):
    """uvloop calls it while it makes a descriptor of its own."""
    printed = ended_well(
        """
        import random, signal
        import greenio
        from greenio import hubs

        class Told(Exception):
            pass

        def handler(*_):
            raise Told

        signal.signal(signal.SIGALRM, handler)
        told = 0
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 4e-4))
                greenio.sleep(0)
                for _ in range(100_000):
                    pass
            except Told:
                told += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            for _ in range(2):
                try:
                    greenio.sleep(0)
                    assert greenio.spawn(len, "abc").wait() == 3
                    hubs.get_hub().close()
                except Told:
                    # It came where uvloop cannot be interrupted.
                    pass
        # The others came in callbacks of weak references, or after that.
        assert told > 200
        print(signal.set_wakeup_fd(-1))
        """,
        loop,
    )
    assert printed == "-1\n"


@pytest.mark.parametrize("seconds", [0, 0.0005])
def test_a_handler_may_raise_wherever_a_hub_runs(loop, seconds):
    """Everybody goes on, and nobody has more turns than before."""
    printed = ended_well(
        f"""
        import random, signal
        import greenio
        from greenio import hubs

        class Told(Exception):
            pass

        came = 0

        def handler(*_):
            global came
            came += 1
            raise Told

        def busy(number):
            while True:
                try:
                    greenio.sleep(0)
                    turns[number] += 1
                except Told:
                    pass

        def is_told():
            now = came
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 4e-4))
            while came == now:
                greenio.sleep({seconds})

        def everybody_goes_on():
            for number, thread in enumerate(threads):
                # It may raise where nothing catches it, too.
                if thread.dead:
                    threads[number] = greenio.spawn(busy, number)
            before = list(turns)
            while not all(
                now > then or thread.dead
                for now, then, thread in zip(turns, before, threads)
            ):
                greenio.sleep({seconds})

        signal.signal(signal.SIGALRM, handler)
        turns = [0] * 5
        threads = [greenio.spawn(busy, number) for number in range(5)]
        def do(step):
            try:
                step()
            except Told:
                # It may come late.
                do(step)

        def end():
            for thread in threads:
                thread.kill()

        while came < 300:
            try:
                is_told()
            except Told:
                pass
            do(everybody_goes_on)
        do(everybody_goes_on)
        assert hubs.get_hub().statistics().ready <= 20
        do(end)
        print("ended")
        """,
        loop,
    )
    assert printed == "ended\n"


# Where the run queue is drained; what the loop itself loses then is lost without us, too.
DRAIN = ["_drain", "_run_batch"]


@pytest.mark.parametrize("function", DRAIN)
def test_a_handler_may_raise_where_the_run_queue_of_an_attached_hub_is(loop, function):
    """It leaves the loop, or is reported where uvloop leaves no other way."""
    runs = "asyncio" if loop == "asyncio" else "uvloop"
    printed = ended_well(
        f"""
        import asyncio, signal, sys, {runs}
        import greenio

        class Told(Exception):
            pass

        def handler(*_):
            told.append(True)
            raise Told

        def trace(frame, event, argument):
            if frame.f_code.co_name == {function!r} and len(turns) > 10:
                sys.settrace(None)
                signal.raise_signal(signal.SIGUSR1)

        def busy():
            for _ in range(20):
                try:
                    greenio.sleep(0)
                except Told:
                    pass
                turns.append(True)

        async def main():
            sys.settrace(trace)
            await asyncio.gather(*(greenio.run_green(busy) for _ in range(5)))

        signal.signal(signal.SIGUSR1, handler)
        told, turns = [], []
        loop = {runs}.new_event_loop()
        task = loop.create_task(main())
        while not task.done():
            try:
                loop.run_until_complete(task)
            except Told:
                print("raised")
        loop.close()
        print(len(told), len(turns))
        """,
        loop,
    )
    assert printed.removeprefix("raised\n") == "1 100\n"
    if loop == "asyncio":
        assert printed.startswith("raised")
