"""What no green thread in Python can go below: the same with greenlets and a loop alone.

``python -m benchmarks.floors [--repeat 5] [--rows NAME ...] [--loops asyncio uvloop]``

Each row has a program that does the least that the operation needs, on bare greenlets and
bare callbacks of the loop, and nothing of what makes it a library: no time limits, no kills,
no other OS threads, no signals, nobody to be told, no errors for wrong calls. Next to it
greenio is measured, and where there are such, the cheaper of gevent and eventlet, and what
asyncio or uvloop has for it. Each program runs in a process of its own; rounds are
interleaved; the figures are CPU time per operation, as medians, and ratios to the floor with
their spread over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from greenlet import getcurrent, greenlet

from . import echo
from .measurement import Measurement, Stopwatch
from .micro import CONTENDERS, PERMITS
from .runtimes import RUNTIMES, run_coroutine
from .suite import BENCHMARKS

LOOPS = ("asyncio", "uvloop")
FLOOR = "floor"

# What runs, given the name of a loop and a number of operations.
Program = Callable[[str, int], Measurement]


@dataclasses.dataclass(frozen=True)
class Row:
    """An operation, the program that is its floor, and who is compared with that.

    Attributes:
        floor: What the floor does, for the table.
        count: How many operations one run makes.
        programs: The floor's, and greenio's if the suite has none.
        benchmark: The benchmark of the suite that has the operation, if one has.
        peers: Who else is measured; the cheapest is shown.
        loops: Whether the floor depends on the loop.
    """

    floor: str
    count: int
    programs: dict[str, Program]
    benchmark: str | None = None
    peers: tuple[str, ...] = ("gevent", "eventlet")
    loops: bool = True


# Starts greenlets on a running loop, which call the second argument at the end.
Begin = Callable[[asyncio.AbstractEventLoop, Callable[[], None]], None]


def _run_bare(loop_name: str, begin: Begin) -> None:
    """Run a loop in the caller's greenlet until what `begin` has started ends it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        end: asyncio.Future[None] = loop.create_future()
        begin(loop, lambda: end.set_result(None))
        await end

    run_coroutine(loop_name, main())


# -- yields ----------------------------------------------------------------------------


def lone_yield(loop_name: str, count: int) -> Measurement:
    """One greenlet, which has the loop call it in the next turn and switches to the loop."""
    watch = Stopwatch()

    def begin(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
        below = getcurrent()

        def body() -> None:
            switch, rest, call_soon = getcurrent().switch, below.switch, loop.call_soon
            with watch:
                for _ in range(count):
                    call_soon(switch)
                    rest()
            end()

        loop.call_soon(greenlet(body).switch)

    _run_bare(loop_name, begin)
    return watch.measurement(count)


# -- timers ----------------------------------------------------------------------------


def timers(loop_name: str, count: int) -> Measurement:
    """A greenlet for each sleep, which a timer of the loop switches to.

    On uvloop a timer must not switch, see `greenio._kernel.run_queue`: it has that called
    in the same turn.
    """
    watch = Stopwatch()
    left = count

    def begin(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
        below = getcurrent()
        direct = loop_name == "asyncio"

        def body(delay: float) -> None:
            nonlocal left
            switch = getcurrent().switch
            if direct:
                loop.call_later(delay, switch)
            else:
                loop.call_later(delay, loop.call_soon, switch)
            below.switch()
            left -= 1
            if not left:
                watch.__exit__(None, None, None)
                end()

        watch.__enter__()
        for index in range(count):
            loop.call_soon(greenlet(body).switch, 0.001 * (1 + index % 11))

    _run_bare(loop_name, begin)
    return watch.measurement(count)


# -- a fair semaphore --------------------------------------------------------------------


def semaphore(_loop_name: str, count: int) -> Measurement:
    """A queue of greenlets that are ready, and one of those that wait for a permit.

    Fair, as greenio's: each operation waits once for the permit and yields once.
    """
    turns = range(count // CONTENDERS)
    ready: deque[greenlet] = deque()
    waiting: deque[greenlet] = deque()
    free = PERMITS
    left = CONTENDERS
    main = getcurrent()

    class Bare:
        def __enter__(self) -> None:
            nonlocal free
            if free:
                free -= 1
            else:
                waiting.append(getcurrent())
                ready.popleft().switch()

        def __exit__(self, *exc_info: object) -> None:
            nonlocal free
            if waiting:
                ready.append(waiting.popleft())
            else:
                free += 1

    def rest() -> None:
        ready.append(getcurrent())
        ready.popleft().switch()

    def body() -> None:
        nonlocal left
        # Started one by one from outside.
        main.switch()
        permit = Bare()
        for _ in turns:
            with permit:
                rest()
        left -= 1
        (ready.popleft() if left else main).switch()

    threads = [greenlet(body) for _ in range(CONTENDERS)]
    for thread in threads:
        thread.switch()
    ready.extend(threads)
    with Stopwatch() as watch:
        ready.popleft().switch()
    return watch.measurement(len(turns) * CONTENDERS)


# -- the same for coroutines ---------------------------------------------------------------


class _BareSemaphore:
    """A future for each who waits."""

    def __init__(self, value: int) -> None:
        self.free = value
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.loop = asyncio.get_running_loop()

    async def acquire(self) -> None:
        if self.free:
            self.free -= 1
            return
        future = self.loop.create_future()
        self.waiting.append(future)
        await future

    def release(self) -> None:
        if self.waiting:
            self.waiting.popleft().set_result(None)
        else:
            self.free += 1


def _semaphore_of_tasks(make: Callable[[int], Any], acquire: str) -> Program:
    async def contend(count: int) -> Measurement:
        turns = range(count // CONTENDERS)
        permits = make(PERMITS)
        take, release = getattr(permits, acquire), permits.release

        async def body() -> None:
            for _ in turns:
                await take()
                await asyncio.sleep(0)
                release()

        with Stopwatch() as watch:
            await asyncio.gather(*[body() for _ in range(CONTENDERS)])
        return watch.measurement(len(turns) * CONTENDERS)

    return lambda loop_name, count: run_coroutine(loop_name, contend(count))


def _greenio_semaphore(value: int) -> Any:
    import greenio.semaphore

    return greenio.semaphore.Semaphore(value)


# -- await_ of a coroutine that does not wait --------------------------------------------


async def _at_once() -> None:
    pass


async def _await_bare(count: int) -> Measurement:
    """Two switches for each: to the Task's step with the coroutine, back with its result.

    The Task is not the current one where blocking-style code runs.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    enter, leave = asyncio.tasks._enter_task, asyncio.tasks._leave_task
    rest = getcurrent().switch

    def body() -> None:
        for _ in range(count):
            rest(_at_once())

    other = greenlet(body)
    with Stopwatch() as watch:
        leave(loop, task)
        asked = other.switch()
        enter(loop, task)
        while asked is not None:
            value = await asked
            leave(loop, task)
            asked = other.switch(value)
            enter(loop, task)
    return watch.measurement(count)


async def _await_by_greenio(count: int) -> Measurement:
    import greenio

    def body() -> Measurement:
        await_ = greenio.await_
        with Stopwatch() as watch:
            for _ in range(count):
                await_(_at_once())
        return watch.measurement(count)

    return await greenio.run_green(body)


def _in_a_task(run: Callable[[int], Coroutine[Any, Any, Measurement]]) -> Program:
    return lambda loop_name, count: run_coroutine(loop_name, run(count))


# -- echo ----------------------------------------------------------------------------------


def echo_bare(loop_name: str, count: int) -> Measurement:
    """A greenlet for each connection, which a reader of the loop switches to."""
    return echo.serve_load(loop_name, "bare", 100, count)


def _of_the_suite(benchmark: str) -> Program:
    form = BENCHMARKS[benchmark].forms[RUNTIMES["greenlet"].kind]
    return lambda _, count: form("greenlet", count)


ROWS = {
    "yield1": Row(
        "one `call_soon` and two switches: a whole turn of the loop",
        150_000,
        {FLOOR: lone_yield},
        "yield1",
    ),
    "yield100": Row(
        "one switch in a ring of 100",
        300_000,
        {FLOOR: _of_the_suite("yield100")},
        "yield100",
        loops=False,
    ),
    "spawn": Row(
        "a greenlet made, started and ended",
        40_000,
        {FLOOR: _of_the_suite("spawn")},
        "spawn",
        loops=False,
    ),
    "timers": Row(
        "a greenlet, and a timer that switches to it", 20_000, {FLOOR: timers}, "timers"
    ),
    "semaphore": Row(
        "fair: two switches, and two queues of greenlets",
        80_000,
        {FLOOR: semaphore},
        "semaphore",
        loops=False,
    ),
    "semaphore, coroutines": Row(
        "a future for each who waits",
        40_000,
        {
            FLOOR: _semaphore_of_tasks(_BareSemaphore, "acquire"),
            "greenio": _semaphore_of_tasks(_greenio_semaphore, "acquire_async"),
            "of the loop": _semaphore_of_tasks(asyncio.Semaphore, "acquire"),
        },
        peers=("of the loop",),
    ),
    "await_ at once": Row(
        "two switches, and the Task left and entered",
        100_000,
        {FLOOR: _in_a_task(_await_bare), "greenio": _in_a_task(_await_by_greenio)},
        peers=(),
    ),
    "echo100": Row(
        "a greenlet for each connection, and a reader that switches to it",
        60_000,
        {FLOOR: echo_bare},
        "echo100",
    ),
}


def _contestants(row: Row, loop_name: str) -> list[str]:
    names = [FLOOR, f"greenio-{loop_name}" if row.benchmark else "greenio"]
    return names + [
        peer
        for peer in row.peers
        if peer not in RUNTIMES or not RUNTIMES[peer].missing()
    ]


def _run_one(name: str, contestant: str, loop_name: str, count: int) -> Measurement:
    row = ROWS[name]
    program = row.programs.get(contestant)
    if program is None:
        assert row.benchmark is not None
        form = BENCHMARKS[row.benchmark].forms[RUNTIMES[contestant].kind]
        return form(contestant, count)
    return program(loop_name, count)


def _measure(name: str, contestant: str, loop_name: str) -> float:
    """Return the CPU µs of an operation, in a process of its own."""
    command = [sys.executable, "-m", f"{__package__}.floors", "--one"]
    done = subprocess.run(
        [*command, name, contestant, loop_name],
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    return float(result["cpu"] / result["operations"] * 1e6)


def _ratio(costs: list[float], floors: list[float]) -> str:
    ratios = sorted(cost / floor for cost, floor in zip(costs, floors, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def compare(name: str, loop_name: str, repeat: int) -> str:
    """Measure a row; return its line of the table."""
    row = ROWS[name]
    names = _contestants(row, loop_name)
    samples: dict[str, list[float]] = {each: [] for each in names}
    for number in range(repeat):
        first = number % len(names)
        for each in (*names[first:], *names[:first]):
            samples[each].append(_measure(name, each, loop_name))
    floors, ours = samples[FLOOR], samples[names[1]]
    peers = {each: samples[each] for each in names[2:]}
    best = min(peers, key=lambda each: statistics.median(peers[each]), default=None)
    peer = "" if best is None else f"{best} {_ratio(peers[best], floors)}"
    title = f"{name}, {loop_name}" if row.loops else name
    floor = statistics.median(floors)
    return f"| {title} | {row.floor} | {floor:.2f} | {_ratio(ours, floors)} | {peer} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floors")
    parser.add_argument("--repeat", type=int, default=5, help="rounds (5)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=LOOPS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, contestant, loop_name = options.one
        count = ROWS[name].count
        if name != "echo100":
            # As in `worker`.
            _run_one(name, contestant, loop_name, count // 10)
        measured = _run_one(name, contestant, loop_name, count)
        print(json.dumps(dataclasses.asdict(measured)))
        return
    with tempfile.TemporaryDirectory() as directory:
        client = echo.compile_client(Path(directory))
        if client is not None:
            os.environ[echo.CLIENT_VARIABLE] = str(client)
        print(f"Python {sys.version.split()[0]}, medians of {options.repeat} rounds\n")
        print("| row | the floor does | µs | greenio / floor | peer / floor |")
        print("|---|---|---|---|---|")
        for name, loop_name in itertools.product(options.rows, options.loops):
            if ROWS[name].loops or loop_name == options.loops[-1]:
                print(compare(name, loop_name, options.repeat), flush=True)


if __name__ == "__main__":
    main()
