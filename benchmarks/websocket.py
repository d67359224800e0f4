"""WebSocket echo: the server's CPU time per message.

``python -m benchmarks.websocket [--rounds 3] [--only small large] [--servers …]``

64 bytes on 100 connections, and 64 KiB on 10. The servers take turns, round by round,
each in a process of its own; the load comes from this one, which sends a message on
every connection, waits until it has come back, and sends the next. Only what the server
has used of the processor between the first and the last measured message counts, so
handshakes and the client's own slowness do not.

Messages are binary and not compressed.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import importlib.util
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from .echo import cpu_clock

LIMIT = 1 << 20
CASES = {"small": (64, 100, 40_000), "large": (65536, 10, 4_000)}
KEY = base64.b64encode(bytes(16)).decode()


# -- the servers ------------------------------------------------------------------------


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    return listener


def _echo(ws: Any) -> None:
    while (message := ws.wait()) is not None:
        ws.send(message)


def _serve_greenio(hub: str, handle: Callable[[Any, dict[str, Any]], None]) -> None:
    """Accept, read the request, and leave the rest to what is measured."""
    from greenio import hubs, spawn_n
    from greenio.greenio import GreenSocket

    hubs.use_hub(hub)

    def serve(sock: Any) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "gunicorn.socket": sock}
        for line in head.decode().split("\r\n")[1:-2]:
            name, value = line.split(": ", 1)
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        handle(sock, environ)

    listener = GreenSocket(_listener())
    while True:
        spawn_n(serve, listener.accept()[0])


def _greenio(hub: str) -> Callable[[], None]:
    def serve() -> None:
        from greenio.websocket import WebSocketWSGI

        app = WebSocketWSGI(_echo, max_frame_length=LIMIT)
        _serve_greenio(hub, lambda sock, environ: list(app(environ, print)) and None)

    return serve


def _sans_io(hub: str) -> Callable[[], None]:
    """What was not chosen: the protocol of `websockets` on a green socket."""

    def handle(sock: Any, environ: dict[str, Any]) -> None:
        from websockets.frames import Opcode
        from websockets.protocol import SERVER, Protocol

        from greenio._ws.handshake import accept_key

        key = accept_key(environ["HTTP_SEC_WEBSOCKET_KEY"].encode())
        sock.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n".encode()
        )
        protocol = Protocol(SERVER, max_size=LIMIT)
        while data := sock.recv(65536):
            protocol.receive_data(data)
            for frame in protocol.events_received():
                if frame.opcode == Opcode.BINARY:
                    protocol.send_binary(frame.data)
                elif frame.opcode == Opcode.TEXT:
                    protocol.send_text(frame.data)
            for out in protocol.data_to_send():
                sock.sendall(out)

    return lambda: _serve_greenio(hub, handle)


def _eventlet() -> None:
    import warnings

    # That it is deprecated.
    warnings.simplefilter("ignore")
    import eventlet
    from eventlet import websocket, wsgi

    app = websocket.WebSocketWSGI(_echo, max_frame_length=LIMIT)
    listener = eventlet.listen(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    wsgi.server(listener, app, log_output=False)


def _websockets(uvloop: bool) -> Callable[[], None]:
    async def main() -> None:
        from websockets.asyncio.server import serve

        async def echo(ws: Any) -> None:
            async for message in ws:
                await ws.send(message)

        async with serve(
            echo, sock=_listener(), compression=None, max_size=LIMIT, ping_interval=None
        ) as server:
            await server.serve_forever()

    def run() -> None:
        if uvloop:
            import uvloop as library

            library.run(main())
        else:
            asyncio.run(main())

    return run


SERVERS: dict[str, tuple[tuple[str, ...], Callable[[], None]]] = {
    "greenio-uvloop": (("uvloop",), _greenio("uvloop")),
    "greenio-asyncio": ((), _greenio("asyncio")),
    "sans-io-uvloop": (("uvloop", "websockets"), _sans_io("uvloop")),
    "eventlet": (("eventlet",), _eventlet),
    "websockets-uvloop": (("uvloop", "websockets"), _websockets(True)),
    "websockets-asyncio": (("websockets",), _websockets(False)),
}


# -- the load ---------------------------------------------------------------------------


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.settimeout(60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\n\r\n"
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(1)
        if not data:
            raise RuntimeError(f"the server refused: {head!r}")
        head += data
    if b" 101 " not in head:
        raise RuntimeError(f"the server refused: {head!r}")
    return sock


def _frames(size: int) -> tuple[bytes, int]:
    """Return a client's frame, and how many bytes come back."""
    if size < 126:
        head, back = struct.pack("!BB", 0x82, 0x80 | size), 2 + size
    elif size < 65536:
        head, back = struct.pack("!BBH", 0x82, 0xFE, size), 4 + size
    else:
        head, back = struct.pack("!BBQ", 0x82, 0xFF, size), 10 + size
    # With a mask of zeros, what is sent is what it means.
    return head + b"\0\0\0\0" + bytes(size), back


def _load(connections: list[socket.socket], size: int, count: int) -> None:
    """Have messages go and come back, one at a time on each connection."""
    sent, back = _frames(size)
    selector = selectors.DefaultSelector()
    missing = {}
    for sock in connections:
        selector.register(sock, selectors.EVENT_READ)
        sock.sendall(sent)
        missing[sock] = back
    left = count - len(connections)
    outstanding = len(connections)
    buffer = bytearray(1 << 18)
    while outstanding:
        for key, _ in selector.select():
            sock: Any = key.fileobj
            received = sock.recv_into(buffer)
            if not received:
                raise RuntimeError("the server closed a connection")
            missing[sock] -= received
            if not missing[sock]:
                if left > 0:
                    left -= 1
                    sock.sendall(sent)
                    missing[sock] = back
                else:
                    outstanding -= 1
    selector.close()


def measure(server: str, size: int, connections: int, count: int) -> float:
    """Return CPU µs of the server per message."""
    command = [sys.executable, "-m", __spec__.name, "--serve", server]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        peers = [_connect(port) for _ in range(connections)]
        _load(peers, size, max(count // 10, connections))
        read = cpu_clock(process.pid)
        before = read()
        _load(peers, size, count)
        cpu = read() - before
        for peer in peers:
            peer.close()
        return cpu / count * 1e6
    finally:
        process.kill()
        process.wait()


def _available(server: str) -> bool:
    return all(importlib.util.find_spec(name) for name in SERVERS[server][0])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.websocket")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--count", type=int, help="messages in each run")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        SERVERS[options.serve][1]()
        return
    servers = [server for server in options.servers if _available(server)]
    print("CPU µs of the server per message; medians\n")
    for name in options.only:
        size, connections, count = CASES[name]
        count = options.count or count
        started = time.monotonic()
        figures: dict[str, list[float]] = {server: [] for server in servers}
        for number in range(options.rounds):
            # In turn, and from the other end each time.
            for server in servers if number % 2 == 0 else reversed(servers):
                figures[server].append(measure(server, size, connections, count))
        seconds = time.monotonic() - started
        print(f"{size} bytes, {connections} connections ({seconds:.0f} s)")
        first = statistics.median(figures[servers[0]])
        for server in servers:
            median = statistics.median(figures[server])
            rounds = " ".join(f"{figure:.1f}" for figure in figures[server])
            print(f"  {server:20} {median:9.1f}  {median / first:6.2f}x   [{rounds}]")
        print()


if __name__ == "__main__":
    main()
