"""A concurrent crawler as eventlet's users write it.

    python -m greenio examples/eventlet_style/crawler.py [URL ...]

Nothing in here knows of greenio. Without URLs it crawls a small site of its own.
"""

import sys
import time

import eventlet
from eventlet.green.urllib import request


def fetch(url):
    return url, len(request.urlopen(url).read())


def page(sock, addr):
    reader = sock.makefile("rb")
    path = reader.readline().split()[1]
    while reader.readline().strip():
        pass
    eventlet.sleep(0.2 + int(path[1:]) % 4 * 0.1)
    body = b"x" * (100 + int(path[1:]))
    sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    reader.close()
    sock.close()


def local_site(pages):
    server = eventlet.listen(("127.0.0.1", 0), backlog=200)
    eventlet.spawn_n(eventlet.serve, server, page)
    root = f"http://127.0.0.1:{server.getsockname()[1]}"
    return [f"{root}/{number}" for number in range(pages)]


urls = sys.argv[1:] or local_site(200)
start = time.time()
pool = eventlet.GreenPool(200)
for url, size in pool.imap(fetch, urls):
    print(f"got {size} bytes from {url}")
print(f"{len(urls)} pages in {time.time() - start:.2f} seconds")
