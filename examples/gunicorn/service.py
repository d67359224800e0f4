"""A service for gunicorn: blocking-style views, one that awaits, health checks, metrics.

    gunicorn -c gunicorn.conf.py service:app

With Flask or Django it is the same: `app` is then theirs.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter

import greenio

requests: Counter[str] = Counter()
seconds = 0.0
running = 0
# Set by the worker in gunicorn.conf.py: how far behind the loop was, at most.
longest_block = 0.0
ready = True


def slow():
    """It waits as blocking code does; others go on."""
    time.sleep(0.1)
    return "slow\n"


def gathered():
    """It awaits what is written for asyncio, on the worker's own loop."""

    async def answer():
        await asyncio.gather(*[asyncio.sleep(0.05) for _ in range(10)])
        return "gathered\n"

    return greenio.await_(answer())


def health():
    """That it answers says that the loop runs."""
    return "alive\n"


def readiness():
    """Whether it should get requests: here, ask the database."""
    return "ready\n" if ready else None


def metrics():
    """For Prometheus. Each worker answers for itself: see the page on deployment."""
    label = f'{{pid="{os.getpid()}"}}'
    lines = [
        f"service_running{label} {running}",
        f"service_seconds_total{label} {seconds:.6f}",
        f"service_longest_block_seconds{label} {longest_block:.6f}",
    ]
    lines += [
        f'service_requests_total{{pid="{os.getpid()}",view="{view}"}} {count}'
        for view, count in sorted(requests.items())
    ]
    return "\n".join(lines) + "\n"


VIEWS = {
    "/": slow,
    "/gathered": gathered,
    "/health": health,
    "/ready": readiness,
    "/metrics": metrics,
}


def app(environ, start_response):
    global running, seconds
    view = VIEWS.get(environ["PATH_INFO"])
    if view is None:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"there is nothing here\n"]
    begun = time.monotonic()
    running += 1
    try:
        text = view()
    finally:
        running -= 1
        seconds += time.monotonic() - begun
        requests[view.__name__] += 1
    status = "200 OK" if text is not None else "503 Service Unavailable"
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [(text or "not yet\n").encode()]
