"""Echo of 64-byte messages: the server's CPU time per request.

Three processes: the worker starts the server and a load client, lets the client warm
up, and reads the server's CPU clock before and after the measured requests. The client
only has to be quick enough; what it costs itself appears nowhere.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from .measurement import Benchmark, Measurement
from .runtimes import Kind

SIZE = 64
# Where the worker finds the compiled client; set by whoever compiled it.
CLIENT_VARIABLE = "GREENIO_BENCHMARK_CLIENT"


def compile_client(directory: Path) -> Path | None:
    """Compile the C client, or return None where that can't be done."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":  # it uses epoll
        return None
    source = Path(__file__).with_name("echo_client.c")
    client = directory / "echo_client"
    done = subprocess.run([compiler, "-O2", "-o", client, source], check=False)
    return client if done.returncode == 0 else None


def cpu_clock(pid: int) -> Callable[[], float]:
    """Return a function that reads the CPU seconds of another process."""
    libc = ctypes.CDLL(None)
    clock = ctypes.c_int()
    if hasattr(libc, "clock_getcpuclockid") and not libc.clock_getcpuclockid(
        pid, ctypes.byref(clock)
    ):
        identifier = clock.value
        return lambda: time.clock_gettime(identifier)
    # Counted in ticks of 10 ms: good enough for a second of load.
    process = psutil.Process(pid)

    def read() -> float:
        times = process.cpu_times()
        seconds: float = times.user + times.system
        return seconds

    return read


def _python(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"{__package__}.{module}", *map(str, arguments)]


def serve_load(runtime: str, style: str, connections: int, count: int) -> Measurement:
    compiled = os.environ.get(CLIENT_VARIABLE)
    client_command = [compiled] if compiled else _python("echo_client")
    server = subprocess.Popen(
        _python("echo_server", runtime, style), stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        if not port:
            raise RuntimeError("the server ended before it listened")
        numbers = [port, connections, max(count // 10, connections), count, SIZE]
        client = subprocess.Popen(
            [*client_command, *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with client:
            assert client.stdin is not None
            assert client.stdout is not None
            if client.stdout.readline() != "ready\n":
                raise RuntimeError("the client failed while warming up")
            read_cpu = cpu_clock(server.pid)
            before = read_cpu()
            client.stdin.write("go\n")
            client.stdin.flush()
            answer = client.stdout.readline()
            cpu = read_cpu() - before
        if client.returncode:
            raise RuntimeError(f"the client failed: {client.returncode}")
        extra = {"client": "C" if compiled else "Python"}
        return Measurement(count, cpu, float(answer), extra=extra)
    finally:
        server.kill()
        server.wait()


def _connections(count: int) -> str:
    return f"{count} connection{'s' if count > 1 else ''}"


def _echo(connections: int, count: int) -> Benchmark:
    def run(runtime: str, requests: int) -> Measurement:
        return serve_load(runtime, "stream", connections, requests)

    return Benchmark(
        f"echo{connections}",
        f"echo, {_connections(connections)}",
        count,
        {Kind.GREEN: run, Kind.COROUTINE: run},
        warmup=False,
        rate=True,
    )


def _echo_protocol(connections: int, count: int) -> Benchmark:
    """For the record: what asyncio and uvloop reach with callbacks alone."""

    def run(runtime: str, requests: int) -> Measurement:
        return serve_load(runtime, "protocol", connections, requests)

    return Benchmark(
        f"echo{connections}-protocol",
        f"echo, {_connections(connections)}, asyncio protocols",
        count,
        {Kind.COROUTINE: run},
        warmup=False,
        rate=True,
    )


BENCHMARKS = (
    _echo(1, 20_000),
    _echo_protocol(1, 20_000),
    _echo(100, 60_000),
    _echo_protocol(100, 60_000),
)
