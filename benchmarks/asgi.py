"""A thousand requests that wait on a slow upstream, in WSGI applications inside ASGI.

``python -m benchmarks.asgi [--requests 1000] [--delay 0.1] [--repeat 3]``

The application connects to another process, which answers after the delay, in blocking
style, and returns what it got. All requests come at once. One that has each of them
wait by itself finishes them in the time of one wave, the delay, plus what the processor
has to do; one with N threads needs so many waves as N goes into the requests.

Each rival is measured twice: called directly with hand-made messages, so that nothing
else is measured, and on uvicorn, with a client in another process.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .echo import cpu_clock

REQUEST = b"GET /work HTTP/1.1\r\nhost: localhost\r\n\r\n"


# -- the applications -------------------------------------------------------------------


class Blocking:
    """The WSGI application; counts how many requests are inside."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._lock = threading.Lock()
        self._inside = self.peak = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with self._lock:
            self._inside += 1
            self.peak = max(self.peak, self._inside)
        with socket.create_connection(self._address) as connection:
            connection.sendall(b"question")
            answer = connection.recv(64)
        with self._lock:
            self._inside -= 1
        start_response(
            "200 OK", [("Content-Length", str(len(answer))), ("X-Peak", str(self.peak))]
        )
        return [answer]


class Coroutine:
    """The same, written for ASGI: what a rewrite would bring."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._inside = self.peak = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._inside += 1
        self.peak = max(self.peak, self._inside)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"question")
        answer = await reader.read(64)
        writer.close()
        self._inside -= 1
        length, peak = b"%d" % len(answer), b"%d" % self.peak
        headers = [(b"content-length", length), (b"x-peak", peak)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def _greenio(app: Any, requests: int) -> Any:
    from greenio.asgi import WSGIMiddleware

    return WSGIMiddleware(app)


def _a2wsgi(app: Any, requests: int) -> Any:
    from a2wsgi import WSGIMiddleware

    return WSGIMiddleware(app)


def _a2wsgi_all(app: Any, requests: int) -> Any:
    from a2wsgi import WSGIMiddleware

    return WSGIMiddleware(app, workers=requests)


def _asgiref(app: Any, requests: int) -> Any:
    from asgiref.wsgi import WsgiToAsgi

    return WsgiToAsgi(app)


def _asgiref_all(app: Any, requests: int) -> Any:
    from asgiref.sync import ThreadSensitiveContext

    inner = _asgiref(app, requests)

    async def in_own_thread(scope: Any, receive: Any, send: Any) -> None:
        async with ThreadSensitiveContext():
            await inner(scope, receive, send)

    return in_own_thread


Adapter = Callable[[Any, int], Any]

# With the loop, what makes the ASGI application, and the threads at the default.
RUNTIMES: dict[str, tuple[str, Adapter | None, str]] = {
    "greenio-asyncio": ("asyncio", _greenio, "none"),
    "greenio-uvloop": ("uvloop", _greenio, "none"),
    "asyncio": ("asyncio", None, "none (a rewrite)"),
    "uvloop": ("uvloop", None, "none (a rewrite)"),
    "a2wsgi": ("uvloop", _a2wsgi, "10"),
    "a2wsgi, workers=all": ("uvloop", _a2wsgi_all, "one per request"),
    "asgiref": ("uvloop", _asgiref, "1"),
    "asgiref, own contexts": ("uvloop", _asgiref_all, "one per request"),
}
MODES = ("direct", "uvicorn")


# -- the processes ----------------------------------------------------------------------


def _run(coroutine: Any, loop: str) -> Any:
    if loop == "asyncio" or importlib.util.find_spec("uvloop") is None:
        return asyncio.run(coroutine)
    import uvloop

    return uvloop.run(coroutine)


async def _upstream(delay: float) -> None:
    class Slow(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            loop.call_later(delay, self.transport.write, b"answer")

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Slow, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _wave(app: Any, count: int) -> int:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/work",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }

    async def request() -> tuple[bytes, int]:
        first = True
        body = b""
        peak = 0

        async def receive() -> Any:
            nonlocal first
            if not first:
                await asyncio.get_running_loop().create_future()
            first = False
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            nonlocal body, peak
            body += message.get("body", b"")
            peak = peak or int(dict(message["headers"])[b"x-peak"])

        await app(dict(scope), receive, send)
        return body, peak

    answers = await asyncio.gather(*(request() for _ in range(count)))
    assert {body for body, _ in answers} == {b"answer"}
    return max(peak for _, peak in answers)


def _worker(mode: str, runtime: str, requests: int, warmup: int, upstream: int) -> None:
    loop, adapter, _ = RUNTIMES[runtime]
    app: Any
    if adapter is None:
        app = Coroutine(upstream)
    else:
        if adapter is _greenio:
            import greenio

            greenio.monkey_patch()
        app = adapter(Blocking(upstream), requests)
    if mode == "direct":
        result = _run(_directly(app, requests, warmup), loop)
        print(json.dumps(result), flush=True)
    else:
        import uvicorn

        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(
            app, lifespan="off", log_level="error", access_log=False, backlog=4096
        )
        _run(uvicorn.Server(config).serve(sockets=[listener]), loop)


async def _directly(app: Any, requests: int, warmup: int) -> dict[str, float]:
    await _wave(app, warmup)
    start, cpu = time.perf_counter(), time.process_time()
    peak = await _wave(app, requests)
    wall = time.perf_counter() - start
    return {"wall": wall, "cpu": time.process_time() - cpu, "peak": peak}


async def _client(port: int, requests: int, warmup: int, server: int) -> None:
    cpu = cpu_clock(server)

    async def connect() -> Any:
        # Some more patience than a full backlog needs.
        for _ in range(10):
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
        raise ConnectionError

    async def request(streams: Any) -> int:
        reader, writer = streams
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        assert await reader.readexactly(6) == b"answer"
        return int(head.lower().partition(b"x-peak:")[2].split()[0])

    async def wave(count: int) -> dict[str, float]:
        connections = [await connect() for _ in range(count)]
        start, before = time.perf_counter(), cpu()
        peaks = await asyncio.gather(*map(request, connections))
        result = {"wall": time.perf_counter() - start, "cpu": cpu() - before}
        result["peak"] = max(peaks)
        for _, writer in connections:
            writer.close()
        return result

    await wave(warmup)
    print(json.dumps(await wave(requests)), flush=True)


# -- putting it together ----------------------------------------------------------------


class Process:
    """One of the processes above; what it prints is read line by line."""

    def __init__(self, *arguments: object) -> None:
        root = str(Path(__file__).parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.asgi", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def line(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended early")
        return json.loads(line)


def measure(mode: str, runtime: str, requests: int, upstream: int) -> dict[str, float]:
    """Let the requests come at once, in a fresh process."""
    warmup = max(1, requests // 100)
    with Process("worker", mode, runtime, requests, warmup, upstream) as worker:
        first: Any = worker.line()
        if mode == "direct":
            return dict(first)
        pid = worker.process.pid
        with Process("client", first, requests, warmup, pid) as client:
            return dict(client.line())


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asgi")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    samples: dict[tuple[str, str], list[dict[str, float]]] = {}
    with Process("upstream", options.delay) as process:
        upstream = process.line()
        for turn in range(options.repeat):
            for mode in options.modes:
                for runtime in options.only:
                    known = samples.setdefault((mode, runtime), [])
                    # What takes a hundred waves is not asked again.
                    if turn and known[0]["wall"] > 30:
                        continue
                    print(f"round {turn + 1}: {mode}, {runtime}", file=sys.stderr)
                    known.append(measure(mode, runtime, options.requests, upstream))
    print(f"{options.requests} requests, each of which waits {options.delay:g} s\n")
    for mode in options.modes:
        _print_table(mode, samples, options)
    if options.json:
        data = [
            {"mode": mode, "runtime": runtime, "samples": values}
            for (mode, runtime), values in samples.items()
        ]
        options.json.write_text(json.dumps(data, indent=1))


def _print_table(
    mode: str,
    samples: dict[tuple[str, str], list[dict[str, float]]],
    options: argparse.Namespace,
) -> None:
    print(
        f"| {mode} | threads | inside at once | seconds | waves | CPU ms per request |"
    )
    print("|---|---|---|---|---|---|")
    for runtime in options.only:
        values = samples[mode, runtime]
        wall = statistics.median(value["wall"] for value in values)
        cpu = statistics.median(value["cpu"] for value in values)
        print(
            f"| {runtime} | {RUNTIMES[runtime][2]} | {values[0]['peak']:g} "
            f"| {wall:.2f} | {wall / options.delay:.1f} "
            f"| {cpu / options.requests * 1000:.2f} |"
        )
    print()


def _process(role: str, *arguments: str) -> None:
    # A connection to the client and one to the upstream for each request.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if role == "upstream":
        _run(_upstream(float(arguments[0])), "uvloop")
    elif role == "client":
        port, requests, warmup, server = map(int, arguments)
        _run(_client(port, requests, warmup, server), "uvloop")
    else:
        mode, runtime, *numbers = arguments
        requests, warmup, upstream = map(int, numbers)
        _worker(mode, runtime, requests, warmup, upstream)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("upstream", "worker", "client"):
        _process(*sys.argv[1:])
    else:
        main(sys.argv[1:])
