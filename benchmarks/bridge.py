"""What the bridge costs: from coroutines to blocking-style functions and back.

``python -m benchmarks.bridge [--repeat 25] [--loops asyncio uvloop] [--rows NAME ...]``

Every loop gets a process, and in it all contenders of a row take turns, a short slice
each, round after round: whatever the machine does meanwhile hits them alike. The figure
is CPU time of the process, threads included, by operation; the table has medians.

The rivals: greenback, greenletio, SQLAlchemy's `greenlet_spawn`, asgiref (threads), and
what asyncio itself has for the purpose, which is the floor where no greenlet is needed.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import greenio

# How long a slice takes, roughly: seconds.
SLICE = 0.02
ROUNDS = 25
TIMEOUT = 900

# A contender runs the operation so often and returns the CPU seconds that it took.
Contender = Callable[[int], Awaitable[float]]
OURS = "greenio"
# What asyncio does without any greenlet: the floor, and no rival.
FLOORS = ("await", "create_task")


# -- what is called and awaited ---------------------------------------------------------


def nothing() -> None:
    pass


async def at_once() -> None:
    pass


async def once() -> None:
    await asyncio.sleep(0)


def done_future() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


# -- the shapes of a measurement --------------------------------------------------------


def repeated(make: Callable[[], Callable[[], Awaitable[Any]]]) -> Contender:
    """Measure ``await operation()``, in a coroutine."""

    async def run(count: int) -> float:
        operation = make()
        start = time.process_time()
        for _ in range(count):
            await operation()
        return time.process_time() - start

    return run


def inside(
    enter: Callable[..., Awaitable[float]], operation: Callable[[], Any]
) -> Contender:
    """Measure ``operation()`` in a function that the library's bridge has entered."""

    def loop(count: int) -> float:
        start = time.process_time()
        for _ in range(count):
            operation()
        return time.process_time() - start

    async def run(count: int) -> float:
        return await enter(loop, count)

    return run


def awaiting(await_: Callable[[Any], Any]) -> dict[str, Callable[[], Any]]:
    """The three things to await: a done future, and coroutines that wait or don't."""

    def done() -> Any:
        # The loop is looked for outside what is measured.
        future = done_future()
        return lambda: await_(future)

    return {
        "await_ done": done,
        "await_ at once": lambda: lambda: await_(at_once()),
        "await_ once": lambda: lambda: await_(once()),
    }


def add_awaiting(
    rows: dict[str, dict[str, Contender]],
    name: str,
    enter: Callable[..., Awaitable[float]],
    await_: Callable[[Any], Any],
) -> None:
    for row, make in awaiting(await_).items():

        async def run(count: int, make: Callable[[], Any] = make) -> float:
            return await inside(enter, make())(count)

        rows[row][name] = run


# -- the contenders ---------------------------------------------------------------------

ROWS = {
    "await_ done": "await_ of a done future",
    "await_ at once": "await_ of a coroutine that does not wait",
    "await_ once": "await_ of a coroutine that waits once",
    "call": "a function called that does not wait",
    "call once": "a function called that awaits something once",
    "wrapped": "the same through a decorator: not waiting",
    "wrapped back": "a decorated coroutine function called by a function",
    "spawned": "a green thread started and awaited",
    "portal": "a portal for a coroutine",
    "portal once": "a portal for a coroutine that waits once, by a function",
    "ensure": "a portal for a running task; the task is new",
}


def _greenio(rows: dict[str, dict[str, Contender]]) -> None:
    async def in_portal(func: Any, *args: Any) -> Any:
        return func(*args)

    async def in_green_thread(func: Any, *args: Any) -> Any:
        return await greenio.spawn(func, *args)

    async def once_by_function() -> None:
        greenio.await_(once())

    async def ensured() -> None:
        await greenio.ensure_portal()

    def waits_once() -> None:
        greenio.await_(once())

    def sleeps() -> None:
        greenio.sleep(0)

    add_awaiting(rows, OURS, greenio.run_green, greenio.await_)
    add_awaiting(rows, f"{OURS}, portal", greenio.portal(in_portal), greenio.await_)
    add_awaiting(rows, f"{OURS}, green thread", in_green_thread, greenio.await_)
    as_async, back = greenio.as_async(nothing), greenio.as_sync(at_once)
    with_portal, by_function = (
        greenio.portal(at_once),
        greenio.portal(once_by_function),
    )
    rows["call"][OURS] = repeated(lambda: lambda: greenio.run_green(nothing))
    rows["call once"][OURS] = repeated(lambda: lambda: greenio.run_green(waits_once))
    rows["call once"][f"{OURS}, sleep(0)"] = repeated(
        lambda: lambda: greenio.run_green(sleeps)
    )
    rows["wrapped"][OURS] = repeated(lambda: as_async)
    rows["wrapped back"][OURS] = inside(greenio.run_green, back)
    rows["spawned"][OURS] = repeated(lambda: lambda: greenio.spawn(nothing))
    rows["portal"][OURS] = repeated(lambda: with_portal)
    rows["portal once"][OURS] = repeated(lambda: by_function)
    rows["ensure"][OURS] = repeated(lambda: lambda: asyncio.create_task(ensured()))


def _greenback(rows: dict[str, dict[str, Contender]]) -> None:
    import greenback

    async def once_by_function() -> None:
        greenback.await_(once())

    async def ensured() -> None:
        await greenback.ensure_portal()

    def waits_once() -> None:
        greenback.await_(once())

    name = "greenback"
    call = greenback.with_portal_run_sync
    portal = greenback.with_portal_run
    back = greenback.autoawait(at_once)
    add_awaiting(rows, name, call, greenback.await_)
    rows["call"][name] = repeated(lambda: lambda: call(nothing))
    rows["call once"][name] = repeated(lambda: lambda: call(waits_once))
    rows["wrapped back"][name] = inside(call, back)
    rows["portal"][name] = repeated(lambda: lambda: portal(at_once))
    rows["portal once"][name] = repeated(lambda: lambda: portal(once_by_function))
    rows["ensure"][name] = repeated(lambda: lambda: asyncio.create_task(ensured()))


def _greenletio(rows: dict[str, dict[str, Contender]]) -> None:
    from greenletio import async_, await_

    def waits_once() -> None:
        await_(once())

    async def enter(func: Any, *args: Any) -> Any:
        return await async_(func)(*args)

    name = "greenletio"
    wrapped, wrapped_once = async_(nothing), async_(waits_once)
    add_awaiting(rows, name, enter, await_)
    rows["call"][name] = repeated(lambda: lambda: enter(nothing))
    rows["call once"][name] = repeated(lambda: wrapped_once)
    rows["wrapped"][name] = repeated(lambda: wrapped)
    rows["wrapped back"][name] = inside(enter, await_(at_once))


def _sqlalchemy(rows: dict[str, dict[str, Contender]]) -> None:
    from sqlalchemy.util import await_only, greenlet_spawn

    def waits_once() -> None:
        await_only(once())

    name = "SQLAlchemy"
    add_awaiting(rows, name, greenlet_spawn, await_only)
    rows["call"][name] = repeated(lambda: lambda: greenlet_spawn(nothing))
    rows["call once"][name] = repeated(lambda: lambda: greenlet_spawn(waits_once))


def _asgiref(rows: dict[str, dict[str, Contender]]) -> None:
    from asgiref.sync import async_to_sync, sync_to_async

    async def enter(func: Any, *args: Any) -> Any:
        return await sync_to_async(func, thread_sensitive=True)(*args)

    async def awaited(awaitable: Any) -> Any:
        return await awaitable

    name = "asgiref"
    back = async_to_sync(at_once)
    wrapped = sync_to_async(nothing, thread_sensitive=True)
    waits_once = sync_to_async(async_to_sync(once), thread_sensitive=True)
    add_awaiting(rows, name, enter, async_to_sync(awaited))
    rows["call"][name] = repeated(lambda: lambda: enter(nothing))
    rows["call once"][name] = repeated(lambda: waits_once)
    rows["wrapped"][name] = repeated(lambda: wrapped)
    rows["wrapped back"][name] = inside(enter, back)


def _asyncio(rows: dict[str, dict[str, Contender]]) -> None:
    def done() -> Callable[[], Awaitable[None]]:
        future = done_future()
        return lambda: future

    plain, task = FLOORS
    for row, operation in {
        "await_ at once": at_once,
        "await_ once": once,
        "call": at_once,
        "call once": once,
        "wrapped": at_once,
        "wrapped back": at_once,
        "portal": at_once,
        "portal once": once,
    }.items():
        rows[row][plain] = repeated(functools.partial(lambda o: o, operation))
        rows[row][task] = repeated(
            functools.partial(lambda o: lambda: asyncio.create_task(o()), operation)
        )
    rows["await_ done"][plain] = repeated(done)
    rows["spawned"][task] = rows["call"][task]
    rows["ensure"][task] = rows["call once"][task]


SOURCES = {
    "greenio": _greenio,
    "greenback": _greenback,
    "greenletio": _greenletio,
    "sqlalchemy": _sqlalchemy,
    "asgiref": _asgiref,
    "asyncio": _asyncio,
}


def contenders() -> tuple[dict[str, dict[str, Contender]], list[str]]:
    """Return who takes part, by row, and which libraries are not installed."""
    rows: dict[str, dict[str, Contender]] = {row: {} for row in ROWS}
    missing = []
    for module, add in SOURCES.items():
        if importlib.util.find_spec(module) is None:
            missing.append(module)
        else:
            add(rows)
    return rows, missing


# -- measuring --------------------------------------------------------------------------


async def _fitting(contender: Contender, share: float) -> int:
    """Find how many operations fill a slice; that warms the contender up, too."""
    count = 10
    while True:
        took = await contender(count)
        if took > SLICE * share / 4 or count > 1_000_000:
            return max(1, int(count * SLICE * share / max(took, 1e-6)))
        count *= 4


async def _measure(rounds: int, rows: list[str], share: float) -> dict[str, Any]:
    table: dict[str, dict[str, list[float]]] = {}
    found, missing = contenders()
    for row in rows:
        counts = {
            name: await _fitting(contender, share)
            for name, contender in found[row].items()
        }
        samples: dict[str, list[float]] = {name: [] for name in counts}
        order = list(counts)
        for turn in range(rounds):
            # Each round begins with another contender.
            first = turn % len(order)
            for name in order[first:] + order[:first]:
                gc.collect()
                took = await found[row][name](counts[name])
                samples[name].append(took / counts[name] * 1e6)
        table[row] = samples
    return {"rows": table, "missing": missing}


def _worker(loop: str, rounds: int, share: float, rows: list[str]) -> None:
    if loop == "uvloop":
        import uvloop

        result = uvloop.run(_measure(rounds, rows, share))
    else:
        result = asyncio.run(_measure(rounds, rows, share))
    print(json.dumps(result), flush=True)


def _run_worker(loop: str, rounds: int, share: float, rows: list[str]) -> Any:
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "benchmarks.bridge", "worker"]
    done = subprocess.run(
        [*command, loop, str(rounds), str(share), *rows],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        check=True,
        timeout=TIMEOUT,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


# -- the tables -------------------------------------------------------------------------


def _print_table(loop: str, data: dict[str, Any]) -> None:
    medians = {
        row: {name: statistics.median(values) for name, values in samples.items()}
        for row, samples in data["rows"].items()
    }
    names = list(dict.fromkeys(name for cells in medians.values() for name in cells))
    rivals = [name for name in names if name not in FLOORS and OURS not in name]
    print(f"µs of CPU time by operation, on {loop}\n")
    print(f"| | {' | '.join(names)} | greenio / best rival |")
    print(f"|---|{'---|' * (len(names) + 1)}")
    for row, cells in medians.items():
        best = min((cells[name] for name in rivals if name in cells), default=None)
        figures = [f"{cells[name]:.2f}" if name in cells else "" for name in names]
        ratio = "" if best is None else f"{cells[OURS] / best:.2f}"
        print(f"| {ROWS[row]} | {' | '.join(figures)} | {ratio} |")
    print()


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridge")
    parser.add_argument("--repeat", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    loops = ("asyncio", "uvloop")
    parser.add_argument("--loops", nargs="+", choices=loops, default=loops)
    parser.add_argument("--quick", action="store_true", help="short: does it work?")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    rounds, share = (2, 0.05) if options.quick else (options.repeat, 1.0)
    results = {}
    for loop in options.loops:
        if importlib.util.find_spec(loop) is None:
            print(f"{loop} is not installed", file=sys.stderr)
            continue
        results[loop] = _run_worker(loop, rounds, share, options.rows)
        _print_table(loop, results[loop])
        if results[loop]["missing"]:
            print(f"Not installed: {', '.join(results[loop]['missing'])}\n")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        _worker(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5:])
    else:
        main(sys.argv[1:])
