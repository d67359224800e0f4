"""gunicorn's workers: each request in a green thread, on asyncio or on uvloop.

::

    gunicorn -k greenio.workers.gunicorn.GreenWorker package.module:app

They are gunicorn's own kind of worker, for gunicorn 23 to 27, and keep its settings.
Requests are served by greenio's HTTP server, which needs the extra `server`.
"""

from __future__ import annotations

from typing import Any  # noqa: F401 - in the annotations of what is defined elsewhere

try:
    import gunicorn as _gunicorn  # noqa: F401
except ImportError as _error:
    raise ImportError(
        "greenio.workers.gunicorn needs gunicorn: pip install gunicorn"
    ) from _error

from .._gunicorn.worker import GreenWorker as GreenWorker
from .._gunicorn.worker import UvloopGreenWorker as UvloopGreenWorker
from .._std.public_names import claim

__all__ = ["GreenWorker", "UvloopGreenWorker"]

claim(globals())
