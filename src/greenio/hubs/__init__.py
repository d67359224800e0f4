"""The hub of the running loop, and waiting for descriptors by number."""

from __future__ import annotations

import importlib
from types import ModuleType

from .._greenthread.deadlocks import detect_deadlocks as detect_deadlocks
from .._greenthread.descriptor_waits import notify_close as notify_close
from .._greenthread.descriptor_waits import notify_opened as notify_opened
from .._greenthread.descriptor_waits import trampoline as trampoline
from .._kernel.current import get_hub as get_hub
from .._kernel.current import use_hub as use_hub
from .._kernel.hub import Hub as Hub
from .._kernel.hub_statistics import HubStatistics as HubStatistics
from .._kernel.shutdown import set_shutdown_timeout as set_shutdown_timeout
from .._std.absences import attribute_error as _attribute_error
from .._std.errors import DeadlockError as DeadlockError
from .._std.errors import HubClosedError as HubClosedError
from .._std.errors import HubError as HubError
from .._std.errors import HubNotFoundError as HubNotFoundError
from .._std.errors import IOClosed as IOClosed
from .._std.public_names import claim

__all__ = [
    "DeadlockError",
    "Hub",
    "HubClosedError",
    "HubError",
    "HubNotFoundError",
    "HubStatistics",
    "IOClosed",
    "builtin_hub_modules",
    "builtin_hub_names",
    "detect_deadlocks",
    "get_default_hub",
    "get_hub",
    "notify_close",
    "notify_opened",
    "set_shutdown_timeout",
    "trampoline",
    "use_hub",
]

claim(globals())

# What `use_hub` knows by name, and has a module of that name here.
builtin_hub_names: tuple[str, ...] = (
    "asyncio",
    "uvloop",
    "epolls",
    "kqueue",
    "poll",
    "selects",
)


def get_default_hub() -> ModuleType:
    """Return the module of the hub that is used when nobody asks for one."""
    return importlib.import_module(f"{__name__}.asyncio")


def __getattr__(name: str) -> object:
    if name == "builtin_hub_modules":
        return tuple(
            importlib.import_module(f"{__name__}.{hub}") for hub in builtin_hub_names
        )
    if name in (*builtin_hub_names, "hub", "timer"):
        return importlib.import_module(f"{__name__}.{name}")
    raise _attribute_error(__name__, name)
