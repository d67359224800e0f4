import sys
import time
from urllib.request import urlopen

site = sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8000"


def fetch(page):
    with urlopen(f"{site}/{page}") as response:
        return len(response.read())


started = time.monotonic()
for page in range(1, 7):
    print("page", page, "has", fetch(page), "bytes")
print(f"{time.monotonic() - started:.1f} s")
