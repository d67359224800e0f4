import sys
import time

import greenio
from greenio.green.urllib.request import urlopen

site = sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8000"


def fetch(page):
    with urlopen(f"{site}/{page}") as response:
        return len(response.read())


started = time.monotonic()
threads = [greenio.spawn(fetch, page) for page in range(1, 7)]
for page, thread in enumerate(threads, 1):
    print("page", page, "has", thread.wait(), "bytes")
print(f"{time.monotonic() - started:.1f} s")
