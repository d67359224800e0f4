"""A pile of work: fetch several hosts at once; one of them fails, the others don't care.

    python examples/pile.py                        hosts that it serves itself
    python examples/pile.py HOST[:PORT] [...]      fetch http://HOST:PORT/ of these

A GreenPile hands out results in the order in which the work was given to it, and raises
what the work raised when its turn comes.
"""

import sys

import greenio
from greenio.green.urllib.request import urlopen


def fetch(host):
    with urlopen(f"http://{host}/", timeout=10) as response:
        return host, response.status, len(response.read())


def main(hosts):
    pile = greenio.GreenPile()
    for host in hosts:
        pile.spawn(fetch, host)
    results = iter(pile)
    for asked in hosts:
        try:
            host, status, size = next(results)
        except OSError as error:
            print(f"{asked}: failed: {error}", flush=True)
        else:
            print(f"{host}: {status}, {size} bytes", flush=True)


# -- the hosts --------------------------------------------------------------------------


def greet(connection, _address):
    with connection, connection.makefile("rb") as requests:
        while requests.readline().strip():
            pass
        greenio.sleep(0.2)
        body = f"This is port {connection.getsockname()[1]}.\n".encode()
        head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)


def serve_host(listener):
    with listener:
        greenio.serve(listener, greet)


def start_hosts(count):
    hosts = []
    for _ in range(count):
        listener = greenio.listen(("127.0.0.1", 0))
        greenio.spawn(serve_host, listener)
        hosts.append(f"127.0.0.1:{listener.getsockname()[1]}")
    # Nobody listens at the port of a socket that is closed again.
    closed = greenio.listen(("127.0.0.1", 0))
    hosts.insert(count // 2, f"127.0.0.1:{closed.getsockname()[1]}")
    closed.close()
    return hosts


if __name__ == "__main__":
    try:
        main(sys.argv[1:] or start_hosts(4))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
