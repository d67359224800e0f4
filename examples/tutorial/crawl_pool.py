import sys
from urllib.error import HTTPError

import greenio
from greenio.green.urllib.request import urlopen

site = sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8000"


def fetch(page):
    try:
        with greenio.Timeout(0.7), urlopen(f"{site}/{page}") as response:
            return f"page {page}: {len(response.read())} bytes"
    except greenio.Timeout:
        return f"page {page}: too slow"
    except HTTPError as error:
        with error:
            return f"page {page}: failed: {error}"


pool = greenio.GreenPool(4)
pages = [3, 9, "missing", 1, 5, 2]
for outcome in pool.imap(fetch, pages):
    print(outcome)
