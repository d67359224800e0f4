"""What the programs under test share: proofs that calls overlap, beside a coroutine.

Imported by programs that have been patched.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import greenio

# For names on servers, which others may be using too.
unique = f"greenio_{uuid.uuid4().hex[:12]}"


class Ticker:
    """A coroutine in the same loop, which counts its turns."""

    def __init__(self) -> None:
        self.ticks = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            self.ticks += 1

    def wait_for(self, more: int) -> None:
        """Wait until it had so many more turns."""
        aim = self.ticks + more
        while self.ticks < aim:
            time.sleep(0.005)


@contextlib.contextmanager
def ticking() -> Iterator[Ticker]:
    """Have a coroutine run beside the block; it must end with the block."""
    ticker = Ticker()
    task = asyncio.get_running_loop().create_task(ticker.run())
    try:
        yield ticker
    finally:
        assert not task.done(), task
        task.cancel()


def in_green_threads(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Call with 0, 1, 2… in as many green threads; return the results in order."""
    threads = [greenio.spawn(call, number) for number in range(count)]
    return [thread.wait() for thread in threads]


def together(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Make calls that take a while at once; return their results.

    Most of them must have been on their way together, all of them must take far less
    than one after the other, and a coroutine must go on during each.
    """
    inside = peak = 0
    durations = []
    with ticking() as ticker:

        def timed(number: int) -> Any:
            nonlocal inside, peak
            inside += 1
            peak = max(peak, inside)
            ticks = ticker.ticks
            start = time.perf_counter()
            try:
                result = call(number)
                durations.append(time.perf_counter() - start)
            finally:
                inside -= 1
            assert ticker.ticks - ticks >= 2, "the call blocked the loop"
            return result

        start = time.perf_counter()
        results = in_green_threads(count, timed)
        wall = time.perf_counter() - start
    assert peak > count / 2, f"only {peak} of {count} calls were made at once"
    share = 1 / 3 if count > 4 else 1 / 1.3
    assert wall < sum(durations) * share, f"{wall} s for {sum(durations)} s of calls"
    return results


def gated(
    count: int, call: Callable[[int], Any], release: Callable[[], Any]
) -> list[Any]:
    """Make calls that wait for something, and release them when all of them wait.

    None may return before. A coroutine must go on while they wait.
    """
    inside = ended = 0
    with ticking() as ticker:

        def counted(number: int) -> Any:
            nonlocal inside, ended
            inside += 1
            try:
                return call(number)
            finally:
                ended += 1

        threads = [greenio.spawn(counted, number) for number in range(count)]
        while inside < count:
            time.sleep(0.005)
        ticker.wait_for(10)
        assert not ended, f"{ended} of {count} did not wait"
        release()
        return [thread.wait() for thread in threads]
