import greenio

greenio.monkey_patch()

import sys
import threading
import time
from urllib.request import urlopen  # the ordinary one

site = sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8000"
sizes = {}


def fetch(page):
    with urlopen(f"{site}/{page}") as response:
        sizes[page] = len(response.read())


started = time.monotonic()
threads = [threading.Thread(target=fetch, args=(page,)) for page in range(1, 7)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(sizes.values()), "bytes in all")
print(f"{time.monotonic() - started:.1f} s")
