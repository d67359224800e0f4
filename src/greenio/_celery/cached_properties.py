"""kombu's cached properties, read without a lock.

Celery and kombu keep what they compute once (`app.tasks`, `app.amqp`, `backend.binding`) in
properties that take a reentrant lock for every read, a dozen times per task, although only the
first read computes anything. Once there is a value, it is read here as `functools` reads it:
from the instance, in one step.
"""

from __future__ import annotations

from typing import Any

from kombu.utils.objects import cached_property

_ABSENT = object()


def read_without_locks() -> None:
    """Have the cached properties of kombu and Celery take their locks to compute only."""
    under_lock = cached_property.__get__
    if hasattr(under_lock, "_greenio"):
        return

    def get(self: Any, instance: Any, owner: Any = None) -> Any:
        if instance is not None:
            value = instance.__dict__.get(self.attrname, _ABSENT)
            if value is not _ABSENT:
                return value
        return under_lock(self, instance, owner)

    get._greenio = True  # type: ignore[attr-defined]
    cached_property.__get__ = get
