"""A pool for Celery's workers: tasks in green threads, blocking-style and `async def` alike.

::

    python -m greenio.workers.celery -A app worker -c 1000

This is ``celery -A app worker -c 1000 -P custom`` with
``CELERY_CUSTOM_WORKER_POOL=greenio.workers.celery:TaskPool`` in the environment. Importing
this module patches the standard library, so only a worker is to import it.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Celery imports this module by its name, when it has read the command line.
    from .._celery.command import main

    main()

from .._celery.early import prepare_worker as _prepare_worker

_prepare_worker()

from .._celery.pool import TaskPool as TaskPool
from .._celery.timer import Timer as Timer
from .._std.public_names import claim

__all__ = ["TaskPool", "Timer"]

claim(globals())
