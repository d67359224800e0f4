"""An echo server for many clients, with limits and an orderly end.

    python examples/tutorial/echo_server.py [port]

Ctrl-C or SIGTERM: no new clients, and those who are here have five seconds.
"""

import signal
import sys

import greenio

IDLE = 60  # seconds that a client may be silent
GRACE = 5  # seconds for what goes on when the server is stopped


def handle(connection, address):
    with connection:
        connection.settimeout(IDLE)
        try:
            while data := connection.recv(4096):
                connection.sendall(data)
        except (TimeoutError, ConnectionError) as error:
            print(f"{address[0]}:{address[1]}: {error}", flush=True)


def serve(listener, clients):
    while True:
        connection, address = listener.accept()
        clients.spawn_n(handle, connection, address)


def main(port="6000"):
    clients = greenio.GreenPool(1000)
    listener = greenio.listen(("127.0.0.1", int(port)))
    print(f"listening on port {listener.getsockname()[1]}", flush=True)

    stopped = greenio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.ready() or stopped.send())

    with listener:
        server = greenio.spawn(serve, listener, clients)
        stopped.wait()
        server.kill()
    print(f"stopping with {clients.running()} clients", flush=True)
    with greenio.Timeout(GRACE, False):
        clients.waitall()


if __name__ == "__main__":
    main(*sys.argv[1:])
