"""What a request costs a gunicorn worker: CPU of its process, without the arbiter's.

``python -m benchmarks.gunicorn [--case hello] [--connections 100] [--rounds 5] [--only X,Y]``

One gunicorn with one worker for each kind of worker; all run at once, and in each round
each gets its share of load, one after the other, so that what else the machine does strikes
all alike. The load is that of `benchmarks.wsgi`.

The cases: ``hello`` (GET, a few bytes), ``post`` (10 KB that are read), ``log`` (hello
with the access log on), and ``sleep`` (hello after 2 ms).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.wsgi import application, load

CASES = ("hello", "post", "log", "sleep")
# By name: the package that it needs, the worker, and what else it is told.
WORKERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "greenio uvloop": ("uvloop", "greenio.workers.gunicorn.UvloopGreenWorker", ()),
    "greenio asyncio": ("greenio", "greenio.workers.gunicorn.GreenWorker", ()),
    # The same worker, its requests read and answered by gunicorn.
    "greenio, gunicorn's parser": (
        "greenio",
        "greenio.workers.gunicorn.GreenWorker",
        ("--strip-header-spaces",),
    ),
    "gevent": ("gevent", "gevent", ()),
    "gthread": ("gunicorn", "gthread", ("--threads", "8")),
    "sync": ("gunicorn", "sync", ()),
}


def __getattr__(name: str) -> Any:
    if name.endswith("_app"):
        return application(name.removesuffix("_app"), time.sleep)
    raise AttributeError(name)


class Gunicorn:
    """gunicorn with one worker."""

    def __init__(self, name: str, case: str) -> None:
        _, worker, words = WORKERS[name]
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-m", "gunicorn", "-k", worker),
                *("-b", f"127.0.0.1:{self.port}", "--log-level", "error"),
                *("--keep-alive", "75", "--worker-connections", "20000"),
                *("--backlog", "4096", *words),
                *(("--access-logfile", os.devnull) if case == "log" else ()),
                f"benchmarks.gunicorn:{case}_app",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(400):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port)) as sock,
            ):
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if sock.recv(1):
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{name} does not start")

    def cpu(self) -> float:
        """What the worker has used, in seconds."""
        import psutil

        workers = psutil.Process(self.process.pid).children()
        return sum(sum(one.cpu_times()[:2]) for one in workers)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gunicorn")
    parser.add_argument("--case", choices=CASES, default="hello")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="names of workers, or beginnings of them")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    only = tuple((options.only or "").split(","))
    servers = {
        name: Gunicorn(name, options.case)
        for name, (module, *_) in WORKERS.items()
        if name.startswith(only) and importlib.util.find_spec(module) is not None
    }
    results: dict[str, list[float]] = {name: [] for name in servers}
    try:
        for _ in range(options.rounds):
            for name, server in servers.items():
                before = server.cpu()
                answered = load(
                    options.case, server.port, options.connections, options.seconds
                )
                results[name].append((server.cpu() - before) / answered * 1e6)
    finally:
        for server in servers.values():
            server.end()
    if options.json:
        print(json.dumps(results))
        return
    base = statistics.median(next(iter(results.values())))
    print(f"{options.case}, {options.connections} connections, µs of CPU: median")
    for name, values in results.items():
        median = statistics.median(values)
        print(
            f"{name:28}{median:8.1f}  ({min(values):.1f}-{max(values):.1f})"
            f"  {median / base:5.2f}x  {1e6 / median:8.0f} requests per CPU second"
        )


if __name__ == "__main__":
    main()
