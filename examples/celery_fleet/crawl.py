"""Crawl a site with a fleet of workers: python crawl.py [--pages 600] [--async].

The site is served from here, in a process of its own; each of its pages takes half a second
to two seconds. The last line says how long it took, and how long the pages take one after
the other.
"""

import argparse
import subprocess
import sys
import time
from collections import Counter

from tasks import fetch, fetch_async

SITE = """
import greenio
def serve_page(connection, _address):
    with connection, connection.makefile("rb") as requests:
        path = requests.readline().split()[1]
        while requests.readline().strip():
            pass
        page = int(path.rpartition(b"/")[2])
        greenio.sleep(0.5 + page * 37 % 151 / 100)
        connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + b"page %d\\n" % page * 50)
listener = greenio.listen(("127.0.0.1", 0), backlog=1000)
print(listener.getsockname()[1], flush=True)
greenio.serve(listener, serve_page, concurrency=5000)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--pages", type=int, default=600)
    parser.add_argument("--async", dest="coroutines", action="store_true")
    options = parser.parse_args()
    task = fetch_async if options.coroutines else fetch
    site = subprocess.Popen(
        [sys.executable, "-c", SITE], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(site.stdout.readline())
        started = time.monotonic()
        results = [
            task.delay(f"http://127.0.0.1:{port}/{page}")
            for page in range(options.pages)
        ]
        pages = [result.get(timeout=120) for result in results]
        took = time.monotonic() - started
    finally:
        site.kill()
        site.communicate()
    total = sum(seconds for _url, _size, seconds in pages)
    print(f"{len(pages)} pages, {Counter(size > 0 for _, size, _ in pages)[True]} full")
    print(f"{took:.1f} s together, {total:.0f} s one after the other")


if __name__ == "__main__":
    main()
