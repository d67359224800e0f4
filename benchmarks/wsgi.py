"""What a request costs an HTTP server: CPU of its process, without the client's.

``python -m benchmarks.wsgi [--case hello] [--connections 100] [--rounds 5] [--only X,Y]``

Every server runs at once, in a process of its own, and in each round each gets its share
of load, one after the other, so that what else the machine does strikes all alike. The
load comes from `wrk` if it is installed, else from a client in Python, which is slower;
the CPU per request is the server's alone either way.

``--connections 1000`` is the other number that is worth a look; it takes a limit on open
files of 2,000 (``ulimit -n``).

The cases: ``hello`` (GET, a few bytes), ``post`` (10 KB that are read), ``log`` (hello
with the access log on), ``sleep`` (hello after 2 ms), and ``idle``: the memory of a
connection that waits, in KiB.

``bare greenlets`` is no server: it answers whatever comes with the same bytes. What
``sleep`` costs it more than ``hello`` does, no server with green threads can save.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenlet import getcurrent, greenlet

BODY = b"hello, world\n"
UPLOAD = 10 * 1024
CASES = ("hello", "post", "log", "sleep", "idle")


# -- the servers ------------------------------------------------------------------------


def application(case: str, sleep: Callable[[float], Any]) -> Callable[..., Any]:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if case == "post":
            environ["wsgi.input"].read()
        elif case == "sleep":
            sleep(0.002)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [BODY]

    return app


def greenio_server(loop: str, protocol: str, case: str, port: int) -> None:
    import greenio
    from greenio import hubs, wsgi

    hubs.use_hub(loop)

    class Green(wsgi.HttpProtocol):
        def __init__(self, *args: Any) -> None:
            # Each connection has a green thread for it.
            super().__init__(*args)

    kinds: dict[str, Any] = {
        "loop": wsgi.HttpProtocol,
        "green": Green,
        "classic": type(
            "Classic",
            (wsgi.HttpProtocol,),
            {"get_environ": wsgi.HttpProtocol.get_environ},
        ),
    }
    with Path(os.devnull).open("w") as log:
        wsgi.server(
            greenio.listen(("127.0.0.1", port), backlog=4096),
            application(case, greenio.sleep),
            log=log,
            log_output=case == "log",
            protocol=kinds[protocol],
            max_size=20_000,
        )


def eventlet_server(case: str, port: int) -> None:
    import eventlet
    from eventlet import wsgi

    with Path(os.devnull).open("w") as log:
        wsgi.server(
            eventlet.listen(("127.0.0.1", port), backlog=4096),
            application(case, eventlet.sleep),
            log=log,
            log_output=case == "log",
            max_size=20_000,
        )


def gevent_server(case: str, port: int) -> None:
    import gevent
    from gevent.pywsgi import WSGIServer

    with Path(os.devnull).open("w") as log:
        WSGIServer(
            ("127.0.0.1", port),
            application(case, gevent.sleep),
            log=log if case == "log" else None,
            backlog=4096,
        ).serve_forever()


def uvicorn_server(case: str, port: int) -> None:
    head = [
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(BODY)).encode()),
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        if case == "sleep":
            await asyncio.sleep(0.002)
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": BODY})

    serve_with_uvicorn(app, case, port)


def greenio_asgi_server(case: str, port: int) -> None:
    import greenio
    from greenio.asgi import WSGIMiddleware

    serve_with_uvicorn(WSGIMiddleware(application(case, greenio.sleep)), case, port)


def serve_with_uvicorn(app: Any, case: str, port: int) -> None:
    import uvicorn

    if case == "log":
        # To nowhere, as the others'.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="info" if case == "log" else "error",
        access_log=case == "log",
        backlog=4096,
    )


class BareServer:
    """The least that a request which sleeps takes: a greenlet, and a timer of the loop.

    Nothing is parsed and the answer is always the same. Those who sleep until the same
    millisecond share a timer, as greenio's do.
    """

    def __init__(self, case: str, port: int) -> None:
        import uvloop

        self.sleeps = case == "sleep"
        self.loop: Any = uvloop.new_event_loop()
        self.top = getcurrent()
        self.ready: list[socket.socket] = []
        self.idle: list[Any] = []
        self.sleepers: dict[int, list[Any]] = {}
        with socket.create_server(("127.0.0.1", port), backlog=4096) as self.listener:
            self.listener.setblocking(False)
            self.loop.add_reader(self.listener.fileno(), self.accept)
            self.loop.run_forever()

    def accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self.listener.accept()
                sock.setblocking(False)
                self.loop.add_reader(sock.fileno(), self.receive, sock)

    def receive(self, sock: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = sock.recv(65536)
        if data:
            if not self.ready:
                self.loop.call_soon(self.serve)
            self.ready.append(sock)
        elif sock.fileno() >= 0:
            self.loop.remove_reader(sock.fileno())
            self.loop.call_soon(sock.close)

    def serve(self) -> None:
        socks = self.ready[:]
        self.ready.clear()
        for sock in socks:
            worker: Any = self.idle.pop() if self.idle else greenlet(self.work)
            worker.sock = sock
            worker.switch()

    def work(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
        me: Any = getcurrent()
        while True:
            if self.sleeps:
                self.sleep()
            with contextlib.suppress(OSError):
                me.sock.send(answer)
            self.idle.append(me)
            self.top.switch()

    def sleep(self) -> None:
        when = round(self.loop.time() * 1000) + 2
        if when in self.sleepers:
            self.sleepers[when].append(getcurrent())
        else:
            self.sleepers[when] = [getcurrent()]
            self.loop.call_later(0.002, self.wake, when)
        self.top.switch()

    def wake(self, when: int) -> None:
        # Not in a timer's callback; see greenio's run queue.
        self.loop.call_soon(self.resume, self.sleepers.pop(when))

    @staticmethod
    def resume(some: list[Any]) -> None:
        for one in some:
            one.switch()


def granian_server(case: str, port: int) -> None:
    from granian.server.embed import Server  # noqa: F401 - is it there

    os.execv(
        sys.executable,
        [
            *(sys.executable, "-m", "granian", "--interface", "wsgi"),
            *("--port", str(port), "--no-access-log", "--log-level", "error"),
            f"benchmarks.wsgi:{case}_app",
        ],
    )


def __getattr__(name: str) -> Any:
    if name.endswith("_app"):
        return application(name.removesuffix("_app"), time.sleep)
    raise AttributeError(name)


SERVERS: dict[str, tuple[str, Callable[[str, int], Any]]] = {
    "greenio uvloop": ("uvloop", lambda *a: greenio_server("uvloop", "loop", *a)),
    "greenio asyncio": ("greenio", lambda *a: greenio_server("asyncio", "loop", *a)),
    "greenio uvloop, green": (
        "uvloop",
        lambda *a: greenio_server("uvloop", "green", *a),
    ),
    "greenio uvloop, classic": (
        "uvloop",
        lambda *a: greenio_server("uvloop", "classic", *a),
    ),
    "eventlet": ("eventlet", eventlet_server),
    "gevent": ("gevent", gevent_server),
    "uvicorn (ASGI)": ("uvicorn", uvicorn_server),
    "uvicorn, greenio.asgi": ("uvicorn", greenio_asgi_server),
    "granian (WSGI)": ("granian", granian_server),
    "bare greenlets, uvloop": ("uvloop", BareServer),
}


# -- the load ---------------------------------------------------------------------------


def load(case: str, port: int, connections: int, seconds: float) -> int:
    """Make requests for a while; return how many were answered."""
    if shutil.which("wrk") is None:
        return asyncio.run(_python_load(case, port, connections, seconds))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if case == "post":
            script.write(f'wrk.method="POST"; wrk.body=string.rep("x", {UPLOAD})')
            script.flush()
            command += ["-s", script.name]
        out = subprocess.run(
            [*command, f"http://127.0.0.1:{port}/"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        print(f"  errors:\n{out}", file=sys.stderr)
    found = re.search(r"(\d+) requests in", out)
    assert found, out
    return int(found[1])


async def _python_load(case: str, port: int, connections: int, seconds: float) -> int:
    body = b"x" * UPLOAD if case == "post" else b""
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    if body:
        request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % UPLOAD
    end = time.monotonic() + seconds
    answered = 0

    async def client() -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < end:
            writer.write(request + body)
            await reader.readuntil(BODY)
            answered += 1
        writer.close()

    await asyncio.gather(*[client() for _ in range(connections)])
    return answered


class Server:
    """A server in a process of its own."""

    def __init__(self, name: str, case: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-m", "benchmarks.wsgi"),
                *("--serve", name, "--case", case, "--port", str(self.port)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(400):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            time.sleep(0.05)
        raise RuntimeError(f"{name} does not start")

    def _tree(self) -> list[Any]:
        import psutil

        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def cpu(self) -> float:
        return sum(sum(one.cpu_times()[:2]) for one in self._tree())

    def memory(self) -> int:
        return sum(one.memory_info().rss for one in self._tree())

    def end(self) -> None:
        for one in reversed(self._tree()):
            one.kill()
        self.process.wait()


def per_request(server: Server, case: str, connections: int, seconds: float) -> float:
    before = server.cpu()
    answered = load(case, server.port, connections, seconds)
    return (server.cpu() - before) / answered * 1e6


def per_connection(server: Server, connections: int) -> float:
    """KiB of a connection that has been used once and waits."""

    def connect(count: int) -> list[socket.socket]:
        socks = [
            socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)
        ]
        for sock in socks:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            while not data.endswith(BODY):
                data += sock.recv(4096)
        return socks

    first = connect(200)
    before = server.memory()
    socks = connect(connections)
    used = (server.memory() - before) / connections / 1024
    for sock in first + socks:
        sock.close()
    return used


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wsgi")
    parser.add_argument("--case", choices=CASES, default="hello")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument(
        "--seconds", type=int, default=2, help="of each load, whole ones"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="names of servers, or beginnings of them")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        SERVERS[options.serve][1](options.case, options.port)
        return
    only = tuple((options.only or "").split(","))
    servers = {
        name: Server(name, options.case)
        for name, (module, _) in SERVERS.items()
        if name.startswith(only) and importlib.util.find_spec(module) is not None
    }
    results: dict[str, list[float]] = {name: [] for name in servers}
    try:
        # A second round of connections would get the memory of the first.
        for _ in range(1 if options.case == "idle" else options.rounds):
            for name, server in servers.items():
                if options.case == "idle":
                    value = per_connection(server, options.connections)
                else:
                    value = per_request(
                        server, options.case, options.connections, options.seconds
                    )
                results[name].append(value)
    finally:
        for server in servers.values():
            server.end()
    if options.json:
        print(json.dumps(results))
        return
    unit = "KiB" if options.case == "idle" else "µs of CPU"
    base = statistics.median(next(iter(results.values())))
    print(f"{options.case}, {options.connections} connections, {unit}: median (spread)")
    for name, values in results.items():
        median = statistics.median(values)
        print(
            f"{name:26}{median:8.1f}  ({min(values):.1f}-{max(values):.1f})"
            f"  {median / base:5.2f}x"
        )


if __name__ == "__main__":
    main()
