"""The load client without a C compiler; the same as echo_client.c.

``python -m benchmarks.echo_client PORT CONNECTIONS WARMUP REQUESTS SIZE``: see there.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time


class Load:
    """Connections that each send a message, wait for all of it, and send the next."""

    def __init__(self, port: int, connections: int, size: int) -> None:
        self._message = bytes(97 + index % 26 for index in range(size))
        self._selector = selectors.DefaultSelector()
        self._pending: dict[socket.socket, int] = {}
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection, selectors.EVENT_READ)
            self._pending[connection] = 0

    def run(self, requests: int) -> float:
        """Make so many requests; return the seconds from the first to the last."""
        message, size, pending = self._message, len(self._message), self._pending
        started = time.perf_counter()
        sent = done = 0
        for connection in list(pending)[:requests]:
            connection.sendall(message)
            pending[connection] = size
            sent += 1
        while done < requests:
            for key, _ in self._selector.select():
                connection = key.fileobj  # type: ignore[assignment]
                left = pending[connection]
                data = connection.recv(left)
                if data != message[size - left : size - left + len(data)] or not data:
                    raise SystemExit("the server did not echo what was sent")
                left -= len(data)
                if not left:
                    done += 1
                    if sent < requests:
                        connection.sendall(message)
                        left = size
                        sent += 1
                pending[connection] = left
        return time.perf_counter() - started


def main(port: int, connections: int, warmup: int, requests: int, size: int) -> None:
    load = Load(port, connections, size)
    load.run(warmup)
    print("ready", flush=True)
    sys.stdin.readline()
    print(f"{load.run(requests):.9f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
