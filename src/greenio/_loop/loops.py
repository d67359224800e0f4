"""Which event loop an owned hub runs: the standard one, uvloop, or the user's."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeAlias

from .._std.errors import HubError
from .._std.originals import in_main_thread

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
HubSpec: TypeAlias = str | LoopFactory | ModuleType | None

ENVIRONMENT_VARIABLE = "GREENIO_HUB"

# eventlet's names for its own hubs. A program that asks for one of them asks for
# "the best poller here", which is what the standard loop picks by itself.
_EVENTLET_HUBS = frozenset({"epolls", "poll", "selects", "kqueue", "pyevent"})


# How uvloop reports an exception in the callback that runs signal handlers.
_READS_SIGNALS = "Exception in callback Loop._read_from_self"


def is_uvloop(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop is one of uvloop's, or of a class derived from it."""
    for base in type(loop).__mro__:
        if base.__module__.partition(".")[0] == "uvloop":
            return True
    return False


def _uvloop_factory() -> LoopFactory:
    try:
        import uvloop
    except ImportError:
        raise HubError(
            "the uvloop hub was asked for, but uvloop is not installed; "
            "install it with: pip install 'greenio-asyncio[uvloop]'"
        ) from None
    factory: LoopFactory = _loop_class(uvloop.Loop)
    return factory


@contextmanager
def _wakeup_fd_lifted() -> Iterator[None]:
    """Put the wake-up descriptor of signals aside, and back if it is still open.

    uvloop would do that and fail where the loop that it is for has been closed meanwhile.
    """
    if not in_main_thread():
        yield
        return
    descriptor = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        try:
            signal.set_wakeup_fd(descriptor)
        except OSError:
            signal.set_wakeup_fd(-1)


@functools.cache
def _loop_class(base: Any) -> Any:
    class Loop(base):  # type: ignore[misc]
        """uvloop's, with what a Python signal handler raises let out of `run_forever`.

        There the standard loop's caller finds it. uvloop runs those handlers in a
        callback of its own, and reports their exceptions as that callback's.
        """

        # Some libraries look at this to know whose it is.
        __module__ = base.__module__

        raised_by_signal_handler: BaseException | None = None

        def call_exception_handler(self, context: dict[str, Any]) -> None:
            if str(context.get("message")) == _READS_SIGNALS:
                self.raised_by_signal_handler = context["exception"]
                self.stop()
            else:
                super().call_exception_handler(context)

        def run_forever(self) -> None:
            with _wakeup_fd_lifted():
                super().run_forever()
            raised = self.raised_by_signal_handler
            if raised is not None:
                self.raised_by_signal_handler = None
                raise raised

    return Loop


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


def finish_run(loop: Any) -> None:
    """Let a loop run again whose `run_forever` was interrupted where it begins or ends.

    asyncio's then takes itself for running for ever.
    """
    if loop.is_running() and hasattr(loop, "_thread_id"):
        loop._thread_id = None
        loop._stopping = False
        hooks = getattr(loop, "_old_agen_hooks", None)
        if hooks is not None:
            sys.set_asyncgen_hooks(*hooks)
            loop._old_agen_hooks = None
