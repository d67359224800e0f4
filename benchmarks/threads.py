"""What a second OS thread brings: hubs that share nothing, one per thread.

``python -m benchmarks.threads [--threads 2] [--repeat 9] [--rows NAME ...]``

Every thread has a hub with the same work. The table compares how many operations per
second all threads together make with how many one alone makes, as medians of paired
rounds: with the interpreter lock that can hardly be more than 1, without it (a
free-threaded Python, ``PYTHON_GIL=0``) it can be as many as there are idle cores. The
second figure is the CPU time of an operation, which grows where threads wait for each
other's locks. `bare` shows what the interpreter itself reaches: switches between two
greenlets, and nothing of greenio.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable

from greenlet import getcurrent, greenlet

import greenio

# How long one thread's work takes, roughly: seconds.
SLICE = 0.2

Work = Callable[[int], None]


def bare(count: int) -> None:
    """One operation: a switch to a greenlet and back."""
    main = getcurrent()

    def body() -> None:
        while True:
            main.switch()

    other = greenlet(body)
    for _ in range(count):
        other.switch()


def turns(count: int) -> None:
    """One operation: a `sleep(0)` of one of ten green threads."""

    def body() -> None:
        for _ in range(count // 10):
            greenio.sleep(0)

    for thread in [greenio.spawn(body) for _ in range(10)]:
        thread.wait()


def spawn(count: int) -> None:
    """One operation: `spawn` and `wait`."""
    for _ in range(count // 100):
        for thread in [greenio.spawn(int) for _ in range(100)]:
            thread.wait()


def queue(count: int) -> None:
    """One operation: an item to another green thread, and one back."""
    there, back = greenio.queue.LightQueue(1), greenio.queue.LightQueue(1)

    def echo() -> None:
        for _ in range(count):
            back.put(there.get())

    thread = greenio.spawn(echo)
    for item in range(count):
        there.put(item)
        back.get()
    thread.wait()


def semaphore(count: int) -> None:
    """One operation: to take a semaphore for which nine others wait, and release it."""
    permit = greenio.semaphore.Semaphore()

    def body() -> None:
        for _ in range(count // 10):
            with permit:
                greenio.sleep(0)

    for thread in [greenio.spawn(body) for _ in range(10)]:
        thread.wait()


ROWS: dict[str, Work] = {
    work.__name__: work for work in (bare, turns, spawn, queue, semaphore)
}


def measure(work: Work, count: int, threads: int) -> tuple[float, float]:
    """Return the seconds and the CPU seconds that so many threads at once take."""
    begin, end = (threading.Barrier(threads + 1) for _ in range(2))

    def run() -> None:
        if work is not bare:
            greenio.hubs.get_hub()
        begin.wait()
        work(count)
        end.wait()

    started = [threading.Thread(target=run) for _ in range(threads)]
    for thread in started:
        thread.start()
    begin.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    end.wait()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    for thread in started:
        thread.join()
    return wall, cpu


def compare(work: Work, threads: int, repeat: int) -> tuple[float, float]:
    """Return the throughput of all threads, and their CPU time, as shares of one's."""
    count = 1_000
    # The first time also warms up.
    while measure(work, count, 1)[1] < SLICE:
        count *= 2
    rates, costs = [], []
    for _ in range(repeat):
        wall, cpu = measure(work, count, 1)
        walls, cpus = measure(work, count, threads)
        rates.append(threads * wall / walls)
        costs.append(cpus / (threads * cpu))
    return statistics.median(rates), statistics.median(costs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=9, help="paired rounds (9)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    options = parser.parse_args()
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(
        f"Python {sys.version.split()[0]}, {'with' if has_lock else 'without'} the "
        f"interpreter lock; {options.threads} threads compared with one\n"
    )
    print("| operation | throughput | CPU time of one |\n|---|---|---|")
    for name in options.rows:
        rate, cost = compare(ROWS[name], options.threads, options.repeat)
        print(f"| {name} | {rate:.2f} | {cost:.2f} |", flush=True)


if __name__ == "__main__":
    main()
