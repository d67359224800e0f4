"""A concurrent web crawler: two hundred green threads, one OS thread.

    python examples/crawler.py                   crawl a site that it serves itself
    python examples/crawler.py URL [URL ...]     crawl these
    GREENIO_HUB=uvloop python examples/crawler.py

The code that fetches is ordinary blocking code: `urlopen`, `read`. While one page is
on its way the others are fetched, so all of them together take about as long as the
slowest few. The last line compares that with the sum of what each of them takes: the
delays of the local site's pages, or the response times of the URLs given.
"""

import argparse
import sys
import time

import greenio
from greenio.green.urllib.request import urlopen

CONCURRENCY = 200


def fetch(url):
    started = time.monotonic()
    try:
        with urlopen(url, timeout=30) as response:
            outcome = len(response.read())
    except OSError as error:
        outcome = error
    return url, outcome, time.monotonic() - started


def crawl(urls):
    """Fetch all pages, print their sizes as they come, return the sum of the times."""
    pool = greenio.GreenPool(CONCURRENCY)
    total = 0.0
    for done, (url, outcome, seconds) in enumerate(pool.imap(fetch, urls), 1):
        total += seconds
        if isinstance(outcome, OSError):
            print(f"{CLEAR}   failed  {url}: {outcome}")
        else:
            print(f"{CLEAR}{outcome:9}  {url}")
        show_progress(done, len(urls))
    return total


# On a terminal there is a bar below the pages; in a pipe there are the pages only.
CLEAR = "\r\x1b[K" if sys.stdout.isatty() else ""


def show_progress(done, total):
    if CLEAR:
        filled = 40 * done // total
        print(f"[{'#' * filled}{'.' * (40 - filled)}] {done} of {total}", end="")
    if done == total:
        print(CLEAR, end="")
    sys.stdout.flush()


# -- the site ---------------------------------------------------------------------------


def delay_of(page):
    """Each page takes its own time, between 0.2 and 0.5 seconds."""
    return 0.2 + page * 37 % 31 / 100


def serve_page(connection, _address):
    with connection, connection.makefile("rb") as requests:
        _method, path, _version = requests.readline().split()
        while requests.readline().strip():
            pass
        page = int(path.rpartition(b"/")[2])
        greenio.sleep(delay_of(page))
        body = f"<title>Page {page}</title>\n".encode() * (page % 50 + 1)
        head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)


def serve_site(listener):
    with listener:
        greenio.serve(listener, serve_page)


def start_site(pages):
    listener = greenio.listen(("127.0.0.1", 0), backlog=CONCURRENCY)
    greenio.spawn(serve_site, listener)
    port = listener.getsockname()[1]
    return [f"http://127.0.0.1:{port}/{page}" for page in range(pages)]


def main():
    parser = argparse.ArgumentParser(description="Crawl pages concurrently.")
    parser.add_argument("urls", nargs="*", help="what to fetch (default: a local site)")
    parser.add_argument("--pages", type=int, default=300, help="size of the local site")
    options = parser.parse_args()

    urls = options.urls or start_site(options.pages)
    started = time.monotonic()
    total = crawl(urls)
    wall = time.monotonic() - started
    what = "response times"
    if not options.urls:
        what, total = "delays", sum(map(delay_of, range(options.pages)))
    print(
        f"{len(urls)} pages in {wall:.2f} s; their {what} add up to {total:.2f} s, "
        f"{total / wall:.0f} times as long"
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
