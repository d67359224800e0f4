"""Several hosts at once, as eventlet's users write it: one of them is down.

    python -m greenio examples/eventlet_style/pile.py [URL ...]

The standard library is patched, so the plain `urllib.request` does not block.
"""

import eventlet

eventlet.monkey_patch()

import socket
import sys
import time
import urllib.error
import urllib.request


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return url, f"{len(response.read())} bytes"
    except urllib.error.URLError as error:
        return url, f"failed: {error.reason}"


def host(sock, addr):
    sock.recv(4096)
    time.sleep(0.2)
    sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
    sock.close()


def local_hosts():
    urls = []
    for _ in range(3):
        server = eventlet.listen(("127.0.0.1", 0))
        eventlet.spawn(eventlet.serve, server, host)
        urls.append(f"http://127.0.0.1:{server.getsockname()[1]}/")
    down = socket.socket()
    down.bind(("127.0.0.1", 0))
    urls.insert(1, f"http://127.0.0.1:{down.getsockname()[1]}/")
    down.close()
    return urls


urls = sys.argv[1:] or local_hosts()
pile = eventlet.GreenPile()
for url in urls:
    pile.spawn(fetch, url)
for url, outcome in pile:
    print(url, outcome)
