"""An echo server: each connection has a green thread and is read like a file.

    python examples/echo_server.py [host [port]]

Talk to it with `nc 127.0.0.1 6000`, line by line: a text file that is read and written,
as ``makefile("rw")`` makes it, forgets what it has read ahead when it is written to.
Ctrl-C ends the server. Port 0 takes any free one.
"""

import sys

import greenio


def handle(connection, address):
    print(f"{address[0]}:{address[1]} is here", flush=True)
    with connection, connection.makefile("rw") as stream:
        for line in stream:
            stream.write(line)
            stream.flush()
    print(f"{address[0]}:{address[1]} has left", flush=True)


def main(host="127.0.0.1", port="6000"):
    server = greenio.listen((host, int(port)))
    host, port = server.getsockname()[:2]
    print(f"listening on {host}:{port}", flush=True)
    with server:
        while True:
            connection, address = server.accept()
            greenio.spawn_n(handle, connection, address)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except KeyboardInterrupt:
        print("bye")
        raise SystemExit(130) from None
