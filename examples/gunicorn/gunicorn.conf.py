"""gunicorn's settings for the service beside this.

Every name here is gunicorn's own; see its documentation.
"""

from __future__ import annotations

import os

# A Unix socket for nginx, or whatever BIND says.
bind = os.environ.get("BIND", "unix:/run/service/service.sock")
# One process for each core: a process uses one.
workers = int(os.environ.get("WEB_CONCURRENCY", os.cpu_count() or 1))
worker_class = "greenio.workers.gunicorn.UvloopGreenWorker"
# Connections of each worker; a waiting one costs a few kilobytes.
worker_connections = 2000
# Longer than nginx keeps idle connections to this, so that nginx is who ends them.
keepalive = 75
# A worker whose loop was blocked for so long is replaced.
timeout = 30
# So long may requests take when a worker stops.
graceful_timeout = 30
# Against what grows slowly; the jitter keeps the workers from restarting together.
max_requests = 100_000
max_requests_jitter = 10_000
# nginx sets X-Forwarded-Proto. A peer on a Unix socket is trusted anyway.
forwarded_allow_ips = "127.0.0.1,::1"
errorlog = "-"
# nginx has a log of requests.
accesslog = None


def post_worker_init(worker):
    """Report who blocks the loop, with the stack, while it still does."""
    import service

    from greenio import debug

    def report(blocking):
        service.longest_block = max(service.longest_block, blocking.seconds)
        if not blocking.over:
            worker.log.warning("%s blocks the loop:\n%s", blocking.who, blocking.stack)

    worker.monitor = debug.monitor(max_blocking=0.5, report=report)


def worker_exit(server, worker):
    """Called in the worker when it ends."""
    if hasattr(worker, "monitor"):
        worker.monitor.close()
