"""Patching for a worker, before Celery's own parts are imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from typing import Any

from .._alias import install_as_eventlet
from .._patch.select import epoll, select
from ..patcher import monkey_patch

# What Celery has imported by the time at which it asks for the pool of ``-P custom`` is not
# among these.
_TOO_EARLY = ("celery.app", "celery.worker", "kombu.connection")


def prepare_worker() -> None:
    """Patch, and have Celery and kombu see a green environment.

    They choose what waits for results, and how a worker waits for messages, by whether
    `eventlet` is imported and has patched.

    Raises:
        ImportError: Celery is not installed.
    """
    if importlib.util.find_spec("celery") is None:
        raise ImportError(
            "greenio.workers.celery is a pool for Celery's workers, and Celery is not "
            "installed: pip install 'celery>=5.4'"
        )
    install_as_eventlet()
    late = [name for name in _TOO_EARLY if name in sys.modules] if _unpatched() else []
    monkey_patch()
    importlib.import_module("eventlet")
    compat = sys.modules.get("kombu.utils.compat")
    if getattr(compat, "_environment", None) == "default":
        # It has looked before the patch, and keeps what it has seen.
        compat._environment = None  # type: ignore[union-attr]
    _wait_for_messages_green()
    if late:
        warnings.warn(
            f"{', '.join(late)} had been imported before greenio.workers.celery could "
            "patch the standard library. Name the pool on the command line (`celery -A "
            "app worker -P custom`, with "
            "CELERY_CUSTOM_WORKER_POOL=greenio.workers.celery:TaskPool in the "
            "environment), not in the app's settings, or start the worker with `python "
            "-m greenio.workers.celery -A app`; greenio.patcher.report() tells what is "
            "not green now",
            RuntimeWarning,
            stacklevel=3,
        )


def _wait_for_messages_green() -> None:
    """Have kombu wait for messages in one green `epoll` per connection.

    It takes `select` in a green environment, which makes a poller of the kernel's for every
    wait, and tells it of all descriptors. And it keeps the functions by names of its own; by
    the unpatched ones the main loop would hold up all tasks.
    """
    eventio: Any = importlib.import_module("kombu.utils.eventio")
    eventio._selectf = select
    if sys.platform == "linux":
        eventio.epoll = epoll
        eventio._get_poller = lambda: eventio._epoll


def _unpatched() -> bool:
    from ..patcher import is_monkey_patched

    return not is_monkey_patched("socket")
