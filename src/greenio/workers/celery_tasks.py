"""`async def` tasks of Celery where greenio's pool is not: called eagerly, or by other pools.

Unlike `greenio.workers.celery` this module patches nothing, so any process may import it.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from .._std.public_names import claim

__all__ = ["await_tasks"]


def await_tasks(app: Any) -> None:
    """Have the `async def` tasks of an app awaited wherever they are run as tasks.

    That is, by ``task.apply()``, by ``task.delay()`` with ``task_always_eager``, and by a
    worker with another pool (prefork, threads, solo). In a worker with greenio's pool they are
    anyhow. What is called directly, ``task(1)``, remains a coroutine everywhere.

    Args:
        app: The Celery app; its tasks may be defined before or after this.

    Raises:
        ImportError: Celery is not installed.
    """
    if importlib.util.find_spec("celery") is None:
        raise ImportError("await_tasks() needs Celery: pip install 'celery>=5.4'")
    from .._celery.tasks import prepare_all_tasks

    prepare_all_tasks(app)


claim(globals())
