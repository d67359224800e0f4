"""The hub of the running loop, and waiting for descriptors by number."""

from __future__ import annotations

from .._greenthread.deadlocks import detect_deadlocks as detect_deadlocks
from .._greenthread.descriptor_waits import notify_close as notify_close
from .._greenthread.descriptor_waits import notify_opened as notify_opened
from .._greenthread.descriptor_waits import trampoline as trampoline
from .._kernel.current import get_hub as get_hub
from .._kernel.current import use_hub as use_hub
from .._kernel.hub import Hub as Hub
from .._kernel.shutdown import set_shutdown_timeout as set_shutdown_timeout
from .._std.errors import DeadlockError as DeadlockError
from .._std.errors import HubClosedError as HubClosedError
from .._std.errors import HubError as HubError
from .._std.errors import IOClosed as IOClosed
from .._std.public_names import claim

__all__ = [
    "DeadlockError",
    "Hub",
    "HubClosedError",
    "HubError",
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

builtin_hub_names = ("asyncio", "uvloop")


def get_default_hub() -> str:
    """Return the name of the hub that is used when nobody asks for one."""
    return "asyncio"


def __getattr__(name: str) -> object:
    if name == "builtin_hub_modules":
        import asyncio

        try:
            import uvloop
        except ImportError:
            return (asyncio,)
        return (asyncio, uvloop)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
