"""Which event loop an owned hub runs: the standard one, uvloop, or the user's."""

from __future__ import annotations

import asyncio
import asyncio.log
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import ModuleType
from typing import Any, TypeAlias

from .._std.errors import HubError, HubNotFoundError
from .._std.originals import in_main_thread
from .interrupted import comes_from_handler
from .wakeup_relay import WakeupRelay, is_usable

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]
HubSpec: TypeAlias = str | LoopFactory | ModuleType | None

ENVIRONMENT_VARIABLE = "GREENIO_HUB"
# Asked if that is not set: a program that ran on eventlet may be given it.
EVENTLETS_VARIABLE = "EVENTLET_HUB"

# eventlet's names for its own hubs. A program that asks for one of them asks for
# "the best poller here", which is what the standard loop picks by itself.
_EVENTLET_HUBS = frozenset({"epolls", "poll", "selects", "kqueue", "pyevent"})


# What uvloop says of an exception in a callback in which signal handlers run.
_READ_SIGNALS = ("Exception in callback Loop._read_from_self", "WakeupRelay._pass_on")


def is_uvloop(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop is one of uvloop's, or of a class derived from it."""
    for base in type(loop).__mro__:
        if base.__module__.partition(".")[0] == "uvloop":
            return True
    return False


def lets_out_itself(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether what a signal handler raises in a callback leaves `run_forever` anyway."""
    return hasattr(type(loop), "raised_by_signal_handler")


def _selector_loop() -> asyncio.AbstractEventLoop:
    """Make the standard loop, which does not write into the log of a program's own.

    At the level DEBUG it says which selector it has. That is not for a program which has
    never heard of asyncio.
    """
    logger = asyncio.log.logger
    logger.addFilter(_is_not_of_selector)
    try:
        return asyncio.SelectorEventLoop()
    finally:
        logger.removeFilter(_is_not_of_selector)


def _is_not_of_selector(record: Any) -> bool:
    return bool(record.msg != "Using selector: %s")


def _uvloop_factory() -> LoopFactory:
    try:
        import uvloop
    except ImportError:
        raise HubNotFoundError(
            "the uvloop hub was asked for, but uvloop is not installed; "
            "install it with: pip install 'greenio-asyncio[uvloop]'"
        ) from None
    factory: LoopFactory = _loop_class(uvloop.Loop)
    return factory


@contextmanager
def _wakeup_fd_lifted() -> Iterator[int]:
    """Put the wake-up descriptor of signals aside, and back if it is still open.

    uvloop would do that and fail where the loop that it is for has been closed meanwhile.
    """
    if not in_main_thread():
        yield -1
        return
    descriptor = signal.set_wakeup_fd(-1)
    try:
        yield descriptor
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
        callback of its own, or the interpreter runs them in anybody's, and uvloop reports
        their exceptions as that callback's.
        """

        # Some libraries look at this to know whose it is.
        __module__ = base.__module__

        raised_by_signal_handler: BaseException | None = None
        # Those of the hub, if it holds some while the loop begins and ends to run.
        held_handlers: Any = None

        def call_exception_handler(self, context: dict[str, Any]) -> None:
            message = str(context.get("message"))
            error = context.get("exception")
            if any(words in message for words in _READ_SIGNALS) or (
                error is not None and "handle" in context and comes_from_handler(error)
            ):
                self.raised_by_signal_handler = error
                self.stop()
            else:
                super().call_exception_handler(context)

        def stop(self) -> None:
            if self.held_handlers is not None:
                self.held_handlers.hold_again()
            super().stop()

        def run_forever(self) -> None:
            with _wakeup_fd_lifted() as descriptor:
                if is_usable(descriptor):
                    with closing(WakeupRelay(self, descriptor)):
                        super().run_forever()
                else:
                    super().run_forever()
            held, self.held_handlers = self.held_handlers, None
            if held is not None:
                held.let_go()
            raised = self.raised_by_signal_handler
            if raised is not None:
                self.raised_by_signal_handler = None
                raise raised

    return Loop


def loop_factory(spec: HubSpec = None) -> LoopFactory:
    """Turn what the user wrote into a function that makes an event loop.

    Args:
        spec: ``"asyncio"``, ``"uvloop"``, a callable that returns a new event loop, the
            name of one as in ``"package.module:function"``, one of eventlet's hubs (they
            mean the default), or None for the environment variables GREENIO_HUB and
            EVENTLET_HUB and, without them, ``"asyncio"``.

    Raises:
        HubError: The name is unknown, or uvloop is not installed.
    """
    if spec is None:
        spec = _chosen_by_environment()
    if isinstance(spec, ModuleType):
        spec = spec.__name__.rpartition(".")[2]
    # A hub class: which loop it is on stands in it.
    name = getattr(spec, "hub_name", spec)
    if isinstance(name, str):
        return _factory_called(name)
    if callable(spec):
        return spec
    raise HubError(
        f"use_hub() takes 'asyncio', 'uvloop' or a function that returns a new event "
        f"loop, not {spec!r}"
    )


def _chosen_by_environment() -> str:
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    return chosen or os.environ.get(EVENTLETS_VARIABLE) or "asyncio"


def _hub_name(spec: str) -> str:
    """The name of a hub in ``"epolls"``, ``"eventlet.hubs.epolls:Hub"`` and the like."""
    module = spec.partition(":")[0].lower().removesuffix(".hub")
    return module.rpartition(".")[2]


def is_eventlets(spec: HubSpec) -> bool:
    """Whether it is a hub of eventlet's own that is asked for, which means the best."""
    if isinstance(spec, ModuleType):
        spec = spec.__name__
    spec = getattr(spec, "hub_name", spec)
    return isinstance(spec, str) and _hub_name(spec) in _EVENTLET_HUBS


def _factory_called(spec: str) -> LoopFactory:
    """Find a function that makes an event loop by what the user calls it."""
    module, _, attribute = spec.partition(":")
    known = _hub_name(module)
    if attribute in ("", "Hub"):
        chosen = _chosen_by_environment()
        if known in _EVENTLET_HUBS and _hub_name(chosen) not in _EVENTLET_HUBS:
            # It asks for the best there is, and somebody has said what that is.
            return _factory_called(chosen)
        if known == "asyncio" or known in _EVENTLET_HUBS:
            return _selector_loop
        if known == "uvloop":
            return _uvloop_factory()
    if attribute:
        try:
            factory: LoopFactory = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as exc:
            raise HubNotFoundError(f"there is no hub {spec!r}: {exc}") from exc
        if callable(factory):
            return factory
    raise HubNotFoundError(
        f"there is no hub called {spec!r}; use 'asyncio', 'uvloop' or a function "
        "that returns a new event loop"
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
