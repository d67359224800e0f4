"""Green threads on asyncio.

Blocking-style code and async/await code run side by side in one event loop, in one
thread: `spawn`, `sleep`, pools, queues and sockets wait by letting the loop run.
"""

from __future__ import annotations

import importlib
import os as _os
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent as getcurrent

from ._bridge import fork as _fork  # noqa: F401
from ._bridge.await_ import await_ as await_
from ._bridge.await_ import run_green as run_green
from ._bridge.ensure_portal import ensure_portal as ensure_portal
from ._bridge.group import GreenGroup as GreenGroup
from ._bridge.group import GreenGroupStatistics as GreenGroupStatistics
from ._bridge.loop_visibility import hide_loop as hide_loop
from ._bridge.loop_visibility import loop_hidden as loop_hidden
from ._bridge.portal import has_portal as has_portal
from ._bridge.portal import portal as portal
from ._bridge.portal import portal_task_factory as portal_task_factory
from ._bridge.run import from_thread as from_thread
from ._bridge.run import run as run
from ._bridge.wrappers import as_async as as_async
from ._bridge.wrappers import as_sync as as_sync
from ._bridge.wrappers import async_context as async_context
from ._bridge.wrappers import async_iter as async_iter
from ._bridge.wrappers import sync_context as sync_context
from ._bridge.wrappers import sync_iter as sync_iter
from ._greenthread import deadlocks as _deadlocks  # noqa: F401
from ._patch import nested_loops as _nested_loops
from ._std.errors import BlockingInLoopError as BlockingInLoopError
from ._std.errors import BlockingInLoopWarning as BlockingInLoopWarning
from ._std.errors import EventletDeprecationWarning as EventletDeprecationWarning
from ._std.errors import SimultaneousUseError as SimultaneousUseError
from ._std.public_names import claim as _claim
from ._version import __version__ as __version__
from .greenthread import GreenThread as GreenThread
from .greenthread import call_after_global as call_after_global
from .greenthread import exc_after as exc_after
from .greenthread import kill as kill
from .greenthread import sleep as sleep
from .greenthread import spawn as spawn
from .greenthread import spawn_after as spawn_after
from .greenthread import spawn_n as spawn_n
from .timeout import Timeout as Timeout
from .timeout import is_timeout as is_timeout
from .timeout import with_timeout as with_timeout
from .timeout import wrap_is_timeout as wrap_is_timeout

_nested_loops.let_green_code_run_loops()

if TYPE_CHECKING:
    from ._alias import install_as_eventlet as install_as_eventlet
    from ._sync.event import Event as Event
    from ._sync.queue import Queue as Queue
    from ._sync.semaphore import BoundedSemaphore as BoundedSemaphore
    from ._sync.semaphore import CappedSemaphore as CappedSemaphore
    from ._sync.semaphore import Semaphore as Semaphore
    from .convenience import StopServe as StopServe
    from .convenience import connect as connect
    from .convenience import listen as listen
    from .convenience import serve as serve
    from .convenience import wrap_ssl as wrap_ssl
    from .greenpool import GreenPile as GreenPile
    from .greenpool import GreenPool as GreenPool
    from .patcher import import_patched as import_patched
    from .patcher import monkey_patch as monkey_patch

TimeoutError = Timeout  # noqa: A001 - eventlet's name for it
# Not in `__all__`: `from greenio import *` is not to replace the builtin, or a module.
_ALIASES = ("TimeoutError", "greenlet")

# Loaded when first asked for, so that `import greenio` stays quick, and so that none of
# them can be half-imported by another.
_LAZY = {
    "BoundedSemaphore": "semaphore",
    "CappedSemaphore": "semaphore",
    "Event": "event",
    "GreenPile": "greenpool",
    "GreenPool": "greenpool",
    "Queue": "queue",
    "Semaphore": "semaphore",
    "StopServe": "convenience",
    "connect": "convenience",
    "import_patched": "patcher",
    "install_as_eventlet": "_alias",
    "iwait": "greenthread",
    "joinall": "greenthread",
    "listen": "convenience",
    "monkey_patch": "patcher",
    "serve": "convenience",
    "wait": "greenthread",
    "wrap_ssl": "convenience",
}
_MODULES = frozenset(
    {
        "asgi",
        "asyncio",
        "backdoor",
        "convenience",
        "corolocal",
        "coros",
        "dagpool",
        "db_pool",
        "debug",
        "event",
        "green",
        "greenio",
        "greenpool",
        "greenthread",
        "hubs",
        "lock",
        "patcher",
        "pools",
        "queue",
        "semaphore",
        "support",
        "timeout",
        "tpool",
        "websocket",
        "wsgi",
    }
)

__all__ = [
    "BlockingInLoopError",
    "BlockingInLoopWarning",
    "BoundedSemaphore",
    "CappedSemaphore",
    "Event",
    "EventletDeprecationWarning",
    "GreenGroup",
    "GreenGroupStatistics",
    "GreenPile",
    "GreenPool",
    "GreenThread",
    "Queue",
    "Semaphore",
    "SimultaneousUseError",
    "StopServe",
    "Timeout",
    "__version__",
    "as_async",
    "as_sync",
    "async_context",
    "async_iter",
    "await_",
    "call_after_global",
    "connect",
    "ensure_portal",
    "exc_after",
    "from_thread",
    "getcurrent",
    "has_portal",
    "hide_loop",
    "import_patched",
    "install_as_eventlet",
    "is_timeout",
    "iwait",
    "joinall",
    "kill",
    "listen",
    "loop_hidden",
    "monkey_patch",
    "portal",
    "portal_task_factory",
    "run",
    "run_green",
    "serve",
    "sleep",
    "spawn",
    "spawn_after",
    "spawn_n",
    "sync_context",
    "sync_iter",
    "wait",
    "with_timeout",
    "wrap_is_timeout",
    "wrap_ssl",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is not None:
        value = getattr(importlib.import_module(f".{module}", __name__), name)
    elif name == "greenlet":
        value = importlib.import_module("greenlet")
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    dunders = [name for name in globals() if name.startswith("__")]
    return sorted({*__all__, *_ALIASES, *_MODULES, *dunders})


_claim(globals())

# In every process of a service, by its environment.
if _os.environ.get("GREENIO_AS_EVENTLET", "0") not in ("", "0"):
    __getattr__("install_as_eventlet")()
if _os.environ.get("GREENIO_RUN_INFO_SIGNAL"):
    from ._debug.on_signal import obey_environment as _obey

    _obey()
