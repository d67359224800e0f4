"""The crawler as tasks: any number of workers, on any number of machines.

    python -m greenio.workers.celery -A tasks worker -c 200 -n first@%h
    python -m greenio.workers.celery -A tasks worker -c 200 -n second@%h
    python crawl.py

`fetch` is blocking-style, `fetch_async` is a coroutine; a worker runs both on its one loop.
"""

import asyncio
import os
import time
from urllib.parse import urlsplit
from urllib.request import urlopen

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

app = Celery(
    "fleet",
    broker=os.environ.get("BROKER", "amqp://guest:guest@127.0.0.1:5672//"),
    backend=os.environ.get("BACKEND", "rpc://"),
)
app.conf.update(
    # A page that a worker had when it was lost is fetched by another.
    task_acks_late=True,
    # No worker takes more than it can begin with.
    worker_prefetch_multiplier=1,
    task_default_queue=os.environ.get("QUEUE", "fleet"),
    broker_connection_retry_on_startup=True,
)


@app.task(soft_time_limit=20, time_limit=30)
def fetch(url):
    started = time.monotonic()
    with urlopen(url) as response:
        size = len(response.read())
    return url, size, time.monotonic() - started


@app.task(soft_time_limit=20, time_limit=30)
async def fetch_async(url):
    started = time.monotonic()
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        writer.write(f"GET {parts.path or '/'} HTTP/1.0\r\n\r\n".encode())
        page = await reader.read()
    except SoftTimeLimitExceeded:
        return url, None, time.monotonic() - started
    finally:
        writer.close()
    body = page.partition(b"\r\n\r\n")[2]
    return url, len(body), time.monotonic() - started
