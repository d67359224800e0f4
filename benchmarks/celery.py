"""Celery's pools compared: tasks that do nothing, one by one and from a backlog, and that wait.

    python -m benchmarks.celery [--broker URL] [--tasks 500] [--rounds 3] [--eventlet PYTHON]

Each round starts one worker after the other, on each broker, sends it tasks and waits for
their results. What is reported is the CPU time of the worker's process per task (user and
system, from /proc), and its ratio to greenio's; and how
long it takes from the first message to the last result, which for 300 naps of a second is to be
less than two seconds. The backlog is a full queue that the worker is told to read; how many of its
tasks are done in a second depends on what else the machine does, and on how many threads ask it
for their turn. Real eventlet cannot share a process with the alias, but may share an
environment; `--eventlet` names the interpreter that has it, if another.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

# Read by the workers, which import this module by `-A benchmarks.celery`.
BROKER = os.environ.get("BENCHMARK_BROKER", "redis://127.0.0.1:6379/13")
QUEUE = os.environ.get("BENCHMARK_QUEUE", "benchmark")
# This module's name is the package's: what is imported here is Celery.
from celery import Celery
from kombu import Exchange, Queue

app = Celery(
    "benchmark", broker=BROKER, backend=os.environ.get("BENCHMARK_BACKEND") or BROKER
)
app.conf.update(task_default_queue=QUEUE, broker_connection_retry_on_startup=True)


@app.task(name="nothing")
def nothing():
    return 1


@app.task(name="nap")
def nap(seconds):
    time.sleep(seconds)


if os.environ.get("BENCHMARK_AWAITS"):

    @app.task(name="nothing")
    async def nothing_async():
        return 1

    @app.task(name="nap")
    async def nap_async(seconds):
        import asyncio

        await asyncio.sleep(seconds)


OURS = ("-m", "greenio.workers.celery")
THEIRS = ("-m", "celery")
# name: command, options, environment
POOLS = {
    "greenio": (OURS, (), {"GREENIO_HUB": "asyncio"}),
    "greenio uvloop": (OURS, (), {"GREENIO_HUB": "uvloop"}),
    "greenio async": (OURS, (), {"GREENIO_HUB": "asyncio", "BENCHMARK_AWAITS": "1"}),
    "eventlet on greenio": (("-m", "greenio", *THEIRS), ("-P", "eventlet"), {}),
    "eventlet": (THEIRS, ("-P", "eventlet"), {}),
    "gevent": (THEIRS, ("-P", "gevent"), {}),
    "threads": (THEIRS, ("-P", "threads"), {}),
}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, broker: str, python: str, tasks: int) -> dict[str, float]:
    command, options, more = POOLS[name]
    queue = f"benchmark-{uuid.uuid4().hex[:8]}"
    backend = "rpc://" if broker.startswith("amqp") else broker
    variables = {
        "BENCHMARK_BROKER": broker,
        "BENCHMARK_BACKEND": backend,
        "BENCHMARK_QUEUE": queue,
        "C_FORCE_ROOT": "1",
    }
    client = Celery("client", broker=broker, backend=backend, set_as_current=False)
    with tempfile.NamedTemporaryFile("w+") as log:
        worker = subprocess.Popen(
            [
                *(python, *command, "-A", "benchmarks.celery", "worker", "-c", "300"),
                *("-l", "INFO", "-n", f"{queue}@b", *options),
                *("--without-gossip", "--without-mingle"),
            ],
            env={**os.environ, **more, **variables},
            stdout=log,
            stderr=log,
        )
        try:
            while " ready." not in Path(log.name).read_text():
                if worker.poll() is not None:
                    raise RuntimeError(Path(log.name).read_text()[-2000:])
                time.sleep(0.1)
            result = {}
            for task, args in (("nothing", ()), ("nap", (1,))):
                warm = [client.send_task(task, args, queue=queue) for _ in range(100)]
                for each in warm:
                    each.get(timeout=300)
                before, begun = cpu_seconds(worker.pid), time.monotonic()
                results = [
                    client.send_task(task, args, queue=queue) for _ in range(tasks)
                ]
                for each in results:
                    each.get(timeout=300)
                result[f"{task} wall s"] = time.monotonic() - begun
                cpu = cpu_seconds(worker.pid) - before
                result[f"{task} cpu ms"] = cpu / tasks * 1000
            return {
                **result,
                **backlog(client, worker.pid, queue, Path(log.name), tasks),
            }
        finally:
            worker.kill()
            worker.wait()
            with client.connection_for_write() as connection:
                for name in (queue, f"{queue}-full"):
                    connection.default_channel.queue_delete(name)


def backlog(
    client: Celery, pid: int, queue: str, log: Path, tasks: int
) -> dict[str, float]:
    """Have a worker read a queue that is full, with nobody who takes its results."""
    full = f"{queue}-full"
    with client.connection_for_write() as connection:
        Queue(full, Exchange(full), full)(connection.default_channel).declare()
    for _ in range(tasks):
        client.send_task("nothing", queue=full)
    with log.open("rb") as lines:
        lines.seek(0, os.SEEK_END)
        before, begun = cpu_seconds(pid), time.monotonic()
        client.control.add_consumer(full, destination=[f"{queue}@b"], reply=False)
        # From the first that is received to the last end, by the worker's own log: when a
        # worker begins to read a queue that it is told of is another matter.
        first, ends = None, []
        while len(ends) < tasks:
            if time.monotonic() > begun + 300:
                raise RuntimeError(
                    f"{len(ends)} of {tasks} tasks were done in 300 seconds"
                )
            time.sleep(0.02)
            for line in whole_lines(lines):
                if first is None and b" received" in line:
                    first = logged_at(line)
                elif b" succeeded in " in line:
                    ends.append(logged_at(line))
        assert first is not None
        wall = (ends[-1] - first).total_seconds()
        cpu = cpu_seconds(pid) - before
    return {"backlog per s": tasks / wall, "backlog cpu ms": cpu / tasks * 1000}


def logged_at(line: bytes) -> datetime:
    """When Celery has written a line: what it begins with."""
    moment = datetime.fromisoformat(line[1:24].decode().replace(",", "."))
    return moment.replace(tzinfo=timezone.utc)


def whole_lines(lines: IO[bytes]) -> Iterator[bytes]:
    """What has been written since, up to the last end of a line."""
    while (line := lines.readline()).endswith(b"\n"):
        yield line
    lines.seek(-len(line), os.SEEK_CUR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--broker", action="append", help="one or more URLs")
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--eventlet", default=sys.executable, help="its interpreter")
    parser.add_argument("--only", action="append", choices=POOLS)
    options = parser.parse_args()
    for broker in options.broker or [BROKER]:
        seen: dict[str, list[dict[str, float]]] = {}
        for _ in range(options.rounds):
            for name in options.only or POOLS:
                python = options.eventlet if name == "eventlet" else sys.executable
                seen.setdefault(name, []).append(
                    measure(name, broker, python, options.tasks)
                )
        print(f"\n{broker.partition(':')[0]}, {options.tasks} tasks, medians")
        kinds = list(next(iter(seen.values()))[0])
        print(f"{'pool':22}" + "".join(f"{kind:>24}" for kind in kinds))
        first = next(iter(seen.values()))
        for name, rounds in seen.items():
            row = ""
            for kind in kinds:
                value = statistics.median(each[kind] for each in rounds)
                base = statistics.median(each[kind] for each in first)
                row += f"{value:14.2f} ({value / base:5.2f}x)"
            print(f"{name:22}{row}", flush=True)


if __name__ == "__main__":
    main()
