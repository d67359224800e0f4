"""An echo server as a user of each runtime would write it.

``python -m benchmarks.echo_server RUNTIME STYLE`` prints its port and serves until it
is killed. STYLE is `stream` (the only one of the green runtimes) or `protocol`, or `bare`,
which no user would write: see `floors`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any, cast

from .runtimes import RUNTIMES, Green, Kind, load_green, run_coroutine

ADDRESS = ("127.0.0.1", 0)
BACKLOG = 1024
CHUNK = 4096
_MEBIBYTE = 1 << 20


def _announce(port: int) -> None:
    print(port, flush=True)


def serve_green(green: Green) -> None:
    spawn_n = green.spawn_n

    def handle(connection: Any) -> None:
        with connection:
            while data := connection.recv(CHUNK):
                connection.sendall(data)

    listener = green.listen(ADDRESS, BACKLOG)
    _announce(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        spawn_n(handle, connection)


async def serve_streams() -> None:
    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, *ADDRESS, backlog=BACKLOG)
    _announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the base class.
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        self._write(data)


async def serve_protocol() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(EchoProtocol, *ADDRESS, backlog=BACKLOG)
    _announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def serve_bare() -> None:
    """A greenlet for each connection, and a reader for each that stays registered."""
    from greenlet import getcurrent, greenlet

    loop, below = asyncio.get_running_loop(), getcurrent()
    # uvloop's readers must not switch, see `greenio._kernel.run_queue`.
    direct = isinstance(loop, asyncio.SelectorEventLoop)

    def handle(connection: socket.socket) -> None:
        recv, send, rest = connection.recv, connection.send, below.switch
        switch = getcurrent().switch
        arguments = (switch,) if direct else (loop.call_soon, switch)
        loop.add_reader(connection, *arguments)
        while True:
            rest()
            data = recv(CHUNK)
            if not data:
                break
            send(data)
        loop.remove_reader(connection)
        connection.close()

    listener = socket.create_server(ADDRESS, backlog=BACKLOG)
    listener.setblocking(False)
    _announce(listener.getsockname()[1])
    while True:
        connection, _ = await loop.sock_accept(listener)
        connection.setblocking(False)
        loop.call_soon(greenlet(handle).switch, connection)


def _age_allocator() -> None:
    """Bring the allocator into the state that it has in any service that has run a bit.

    asyncio receives into fresh buffers of 256 KiB. glibc maps and unmaps each of them,
    which doubles the cost of a request, until a mapped block of such a size has been
    freed once; from then on it keeps them. A bare echo server never gets there, larger
    programs do. All runtimes begin alike, and asyncio is not made to look worse.
    """
    bytearray(_MEBIBYTE)


def main(runtime: str, style: str) -> None:
    _age_allocator()
    if RUNTIMES[runtime].kind is Kind.GREEN:
        serve_green(load_green(runtime))
    else:
        styles = {"protocol": serve_protocol, "bare": serve_bare}
        run_coroutine(runtime, styles.get(style, serve_streams)())


if __name__ == "__main__":
    main(*sys.argv[1:])
