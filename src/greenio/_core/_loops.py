"""Which event loop an owned hub runs: the standard one, uvloop, or the user's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from types import ModuleType
from typing import TypeAlias

from ._errors import HubError

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
HubSpec: TypeAlias = "str | LoopFactory | ModuleType | None"

ENVIRONMENT_VARIABLE = "GREENIO_HUB"

# eventlet's names for its own hubs. A program that asks for one of them asks for
# "the best poller here", which is what the standard loop picks by itself.
_EVENTLET_HUBS = frozenset({"epolls", "poll", "selects", "kqueue", "pyevent"})


def _uvloop_factory() -> LoopFactory:
    try:
        import uvloop
    except ImportError:
        raise HubError(
            "the uvloop hub was asked for, but uvloop is not installed; "
            "install it with: pip install 'greenio-asyncio[uvloop]'"
        ) from None
    factory: LoopFactory = uvloop.new_event_loop
    return factory


def loop_factory(spec: HubSpec = None) -> LoopFactory:
    """Turn what the user wrote into a function that makes an event loop.

    Args:
        spec: ``"asyncio"``, ``"uvloop"``, a callable that returns a new event loop,
            one of eventlet's hub names (they mean the default), or None for the
            environment variable GREENIO_HUB and, without it, ``"asyncio"``.

    Raises:
        HubError: The name is unknown, or uvloop is not installed.
    """
    if spec is None:
        spec = os.environ.get(ENVIRONMENT_VARIABLE) or "asyncio"
    if isinstance(spec, ModuleType):
        spec = spec.__name__.rpartition(".")[2]
    if isinstance(spec, str):
        name = spec.rpartition(".")[2].lower()
        if name == "asyncio" or name in _EVENTLET_HUBS:
            return asyncio.SelectorEventLoop
        if name == "uvloop":
            return _uvloop_factory()
        raise HubError(
            f"there is no hub called {spec!r}; use 'asyncio', 'uvloop' or a function "
            "that returns a new event loop"
        )
    if callable(spec):
        return spec
    raise HubError(
        f"use_hub() takes 'asyncio', 'uvloop' or a function that returns a new event "
        f"loop, not {spec!r}"
    )
