"""Which hub the caller is on: one per running loop, at most one owned per OS thread.

* A loop is running in this thread: its hub, made at first use (*attached*), or the
  owned hub that runs it.
* None is running, and this is the main thread, or the thread asked for a hub before
  (`spawn`, `get_hub`, `use_hub`): the thread's *owned* hub, whose loop starts when
  the thread's main greenlet first parks.
* None is running, in a thread that never asked (an executor's worker, a C library's
  thread): no hub. Waiting there blocks that thread and nobody else.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio import _get_running_loop
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

from greenlet import getcurrent, greenlet

from .._loop.loops import HubSpec, LoopFactory, loop_factory
from .._loop.mutex import in_section
from .._std.errors import BlockingInLoopError, HubError
from .._std.interpreter_exit import NO_GREENLET, call_at_exit_last
from .._std.originals import current_task, in_main_thread, thread_local
from .hidden_loop import hidden_hub, running_loop, twin_of
from .hub import Hub


class _ThreadState(thread_local):
    """What an OS thread remembers."""

    owned: Hub | None = None
    factory: LoopFactory | None = None
    guard: _ThreadEnd | None = None
    # Whether a coroutine holds up the loop: see `held_up`.
    held_up = False


class _ThreadEnd:
    """Closes a thread's owned hub when the thread, and with it its locals, ends."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def __del__(self) -> None:
        hub = self._hub
        if not hub.closed and hub.main is getcurrent():
            hub.close()


_state = _ThreadState()

# Whether green threads see no running loop, where nobody says otherwise.
HIDE_VARIABLE = "GREENIO_HIDE_LOOP"
hiding = os.environ.get(HIDE_VARIABLE, "0") not in ("", "0")

# The loop that green code made for itself, in the contexts of what runs on it; see
# `_bridge`.
nested_loop: ContextVar[Any] = ContextVar("greenio.nested_loop", default=None)

# Hubs attached to loops, until the loop is closed.
attached_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


# Whom a signal handler acts for, by the greenlet on top of which it runs; see
# `signal_handlers`.
acting: dict[greenlet, greenlet] = {}


def get_hub() -> Hub:
    """Return the hub of the running loop, or of this thread, made if need be.

    Raises:
        HubError: The hub that the environment asks for cannot be made.
    """
    # In a coroutine, to raise and catch an AttributeError would be most of the cost.
    hub: Hub | None = getattr(getcurrent(), "_hub", None)
    if hub is not None:
        return hub
    loop = running_loop()
    return _as_chosen(get_own_hub() if loop is None else supervised_hub_of(loop))


# The functions that OS threads are in which do one job after the other. Such a thread
# does not end when its job does, and its hub would stand still for ever.
_WORKERS = {
    ("concurrent.futures.thread", "_worker"),
    ("anyio._backends._asyncio", "run"),
    ("greenio._tpool.pool", "_work"),
}


def hub_to_spawn_on(what: str) -> Hub:
    """Return the current hub, where somebody will run what is put on it.

    Raises:
        HubError: The caller is a job in an OS thread of an executor, and has no hub.
    """
    if (
        not in_main_thread()
        and own_hub() is None
        and _state.factory is None
        and not hasattr(getcurrent(), "_hub")
        and running_loop() is None
        and _is_job()
    ):
        raise HubError(
            f"{what}() in an executor's thread, which has no hub: nobody would run the "
            "green thread when this job is done. Use greenio.run(func, ...) for a "
            "program of green threads in here, or greenio.from_thread(func, ...) for one "
            "on the loop of the program; after greenio.hubs.get_hub() green threads run "
            "while the job waits for them"
        )
    return get_hub()


def _is_job() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) in _WORKERS:
            return True
        frame = frame.f_back
    return False


def acting_greenlet() -> greenlet:
    """Return the greenlet that the caller takes for its thread.

    It is the current one; in coroutines that a green thread runs by `asyncio.run`, that
    green thread; in a signal handler, the main thread's.
    """
    current = getcurrent()
    if acting:
        actor = acting.get(current)
        if actor is not None:
            return actor
    if not hasattr(current, "_hub"):
        nested = nested_loop.get()
        while nested is not None:
            if nested.runner is not None:
                return nested.runner  # type: ignore[no-any-return]
            nested = nested.host
    return current


def existing_hub() -> Hub | None:
    """Return the current hub if there is one already."""
    hub = getattr(getcurrent(), "_hub", None)
    if hub is not None:
        return hub  # type: ignore[no-any-return]
    loop = running_loop()
    return own_hub() if loop is None else attached_hubs.get(loop)


def _as_chosen(hub: Hub) -> Hub:
    """Return the half of a hub for who is no green thread, to spawn on."""
    return twin_of(hub) if hiding and not hub.hides else hub


def hide_by_default(hidden: bool) -> None:
    """Choose whether green threads see no loop that others than these start."""
    global hiding  # noqa: PLW0603 - one choice per program
    hiding = hidden


def hub_to_park_in(what: str) -> Hub | None:
    """Return the hub whose loop may run while the current greenlet waits.

    Args:
        what: The call that wants to wait, for the error message.

    Returns:
        None in an OS thread without a hub: it may block.

    Raises:
        BlockingInLoopError: The current greenlet is the loop's own, or was switched to
            from inside a Task's step, so nothing could run meanwhile.
    """
    current = getcurrent()
    own: Hub | None = getattr(current, "_hub", None)
    if own is not None:
        return own
    if current is NO_GREENLET:
        raise RuntimeError(
            f"{what} would have to wait, but the interpreter is ending, and nobody else "
            "will run any more"
        )
    parking_hub = getattr(current, "parking_hub", None)
    if parking_hub is not None:
        return parking_hub  # type: ignore[no-any-return]
    loop = _get_running_loop()
    if loop is None:
        hidden = hidden_hub()
        if hidden is not None:
            return hidden
        owned = _state.owned
        if (owned is None or owned.closed) and not in_main_thread():
            return None
        return get_own_hub().mains_hub
    hub = hub_of(loop)
    # A greenlet that is not ours may park if the loop greenlet waits for it in one of
    # our callbacks. Inside a Task's step it waits somewhere else, and resuming it there
    # would corrupt both.
    if (
        current is hub.loop_greenlet
        or not hub.loop_greenlet
        or current_task(loop) is not None
    ):
        # Before anything else: the caller has the mutex of the primitives, and may then
        # block until a real thread releases a lock. `supervise` calls the loop, and thus
        # what a program has put into it, and that may want the same lock.
        raise BlockingInLoopError(what)
    return _supervised(hub)


@contextmanager
def held_up() -> Iterator[None]:
    """Let a coroutine wait for descriptors, which stops the loop meanwhile.

    It is for waits that other processes end, and soon. Locks and queues are refused as
    ever: a green thread may have to see to them. Where the caller can wait, nothing
    changes.
    """
    if _state.held_up or not cannot_wait():
        yield
        return
    _state.held_up = True
    try:
        yield
    finally:
        _state.held_up = False


def is_held_up() -> bool:
    """Whether the caller is in a `held_up` block, where it cannot park."""
    return _state.held_up


def cannot_wait() -> bool:
    """Whether the caller is where nothing can wait: a coroutine or a loop's callback."""
    try:
        hub_to_park_in("")
    except BlockingInLoopError:
        return True
    return False


def supervised_hub_of(loop: asyncio.AbstractEventLoop) -> Hub:
    """Return the hub of a running loop, made if need be, and told of the loop's end."""
    return _supervised(hub_of(loop))


def _supervised(hub: Hub) -> Hub:
    if hub._supervisor is None and not hub.owned:
        hub.supervise()
    return hub


def hub_of(loop: asyncio.AbstractEventLoop) -> Hub:
    """Return the hub of a running loop, made if need be, and not yet supervised.

    For whoever may come when the loop has cancelled its tasks already: nobody would end
    a supervision that begins then.
    """
    owned = _state.owned
    if owned is not None and owned.loop is loop:
        return owned
    hub = attached_hubs.get(loop)
    if hub is None:
        _forget_closed_loops()
        hub = attached_hubs[loop] = Hub(loop, owned=False)
        # The first drain finds out which greenlet runs the loop.
        hub.schedule_drain()
    return hub


def _forget_closed_loops() -> None:
    for loop in [known for known in attached_hubs if known.is_closed()]:
        hub = attached_hubs[loop]
        hub.closed = True
        # Not in the middle of a primitive: `finally` blocks of the user's run now.
        if not in_section():
            attached_hubs.pop(loop, None)
            hub.end_after_close()


def own_hub() -> Hub | None:
    """Return this thread's own hub if there is one already."""
    hub = _state.owned
    return None if hub is None or hub.closed else hub


def get_own_hub() -> Hub:
    """Return this thread's own hub, made if need be."""
    hub = _state.owned
    if hub is None or hub.closed or hub.loop.is_closed():
        _forget_closed_loops()
        factory = _state.factory or loop_factory()
        loop = factory()
        if not isinstance(loop, asyncio.AbstractEventLoop):
            raise HubError(
                f"the loop factory returned {loop!r}, which is not an event loop; "
                "use_hub() takes a function such as asyncio.new_event_loop"
            )
        hub = _state.owned = Hub(loop, owned=True)
        hub.mains_hub = _as_chosen(hub)
        _state.guard = _ThreadEnd(hub)
    return hub


def use_hub(spec: HubSpec = None) -> None:
    """Choose the event loop for this thread's own hub.

    It matters where greenio makes the loop. Where a loop runs already (asyncio.run,
    uvicorn, ...) green threads live on that loop, whatever was chosen here.

    Args:
        spec: ``"asyncio"``, ``"uvloop"``, a function that returns a new event loop, or
            None for the environment variable GREENIO_HUB (default ``"asyncio"``).
            eventlet's hub names mean the default.

    Raises:
        HubError: The name is unknown, uvloop is not installed, or this thread's hub is
            in use already with another kind of loop.
    """
    factory = loop_factory(spec)
    hub = _state.owned
    if hub is not None and not hub.closed:
        if factory is (_state.factory or loop_factory()):
            return
        if hub.loop_greenlet or hub.ready or getcurrent() is not hub.main:
            raise HubError(
                "this thread's hub is running already; call use_hub() first thing in "
                "the program, before spawn(), sleep() or any green socket, or set "
                "GREENIO_HUB in the environment"
            )
        hub.close()
        _state.owned = _state.guard = None
    _state.factory = factory


def close_thread_hub() -> None:
    """End this thread's own hub, if it has one: its green threads and its loop."""
    hub = _state.owned
    if hub is not None and not hub.closed and hub.main is getcurrent():
        hub.close()
    _state.owned = _state.guard = None


def forget_hubs() -> None:
    """In a forked child: know none of the parent's hubs any more."""
    attached_hubs.clear()
    _state.owned = _state.guard = None
    _state.held_up = False


# At exit the main thread's own hub ends like a loop under asyncio.run: its green threads
# see GreenletExit and their `finally` blocks run.
# Hooks come first: they may wait for those green threads.
call_at_exit_last(close_thread_hub)
