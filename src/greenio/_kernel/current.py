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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Protocol

from greenlet import getcurrent, greenlet

from .._loop.loops import HubSpec, LoopFactory, is_eventlets, loop_factory
from .._loop.mutex import in_section
from .._reactor import timers as _timers
from .._std.errors import BlockingInLoopError, HubError
from .._std.interpreter_exit import NO_GREENLET, call_at_exit_last
from .._std.originals import (
    current_task,
    get_ident,
    in_main_thread,
    is_running_elsewhere,
    thread_local,
)
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
        # An interrupt may have come before there was one.
        hub = getattr(self, "_hub", None)
        if hub is not None and not hub.closed and hub.main is getcurrent():
            # It ends already.
            with suppress(SystemExit):
                hub.close()


_state = _ThreadState()

# Whether green threads see no running loop, where nobody says otherwise.
HIDE_VARIABLE = "GREENIO_HIDE_LOOP"
hiding = os.environ.get(HIDE_VARIABLE, "0") not in ("", "0")


class NestedRun(Protocol):
    """A loop that green code runs; see `_patch.nested_loops`."""

    # The green thread, and its hub.
    runner: greenlet
    hub: Hub

    def abandon(self) -> None:
        """In a forked child: the loop is the parent's."""


nested_runs: dict[asyncio.AbstractEventLoop, NestedRun] = {}

# Hubs attached to loops, until the loop is closed.
attached_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


# Whom a signal handler acts for, by the greenlet on top of which it runs; see
# `signal_handlers`.
acting: dict[greenlet, greenlet] = {}

# Told of each hub that a thread has made for itself; set by `loop_that_is_set`.
prepare_own_hub: Callable[[Hub], None] | None = None
# Moves to a hub that has just been made those whose loop has stopped; set by `outliving`.
bring_along: Callable[[], None] | None = None


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

    It is the current one; in a signal handler, the main thread's.
    """
    current = getcurrent()
    if acting:
        actor = acting.get(current)
        if actor is not None:
            return actor
    return current


def runs_here(
    loop: asyncio.AbstractEventLoop, inner: asyncio.AbstractEventLoop
) -> bool:
    """Whether a loop runs in this OS thread, inside of or around the caller's."""
    run = nested_runs.get(loop)
    if run is not None:
        return run.hub.thread_id == get_ident()
    while (run := nested_runs.get(inner)) is not None:
        inner = run.hub.loop
    return inner is loop


def hub_for_threads() -> Hub:
    """Return the hub for what is to outlive the loops that green code runs."""
    loop = getattr(getcurrent(), "_hub", None)
    loop = running_loop() if loop is None else loop.loop
    run = nested_runs.get(loop)
    if run is None:
        return get_hub()
    while (outer := nested_runs.get(run.hub.loop)) is not None:
        run = outer
    return run.hub


def existing_hub() -> Hub | None:
    """Return the current hub if there is one already."""
    hub = getattr(getcurrent(), "_hub", None)
    if hub is not None:
        return hub  # type: ignore[no-any-return]
    loop = running_loop()
    owned = own_hub()
    if loop is None or (owned is not None and owned.loop is loop):
        return owned
    return attached_hubs.get(loop)


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
    if not isinstance(loop, asyncio.AbstractEventLoop):
        # A test may put anything there.
        raise BlockingInLoopError(what)
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
    if hub._supervisor is None and hub.main is None:
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
        # A signal handler may come in between, and need one.
        hub = attached_hubs.setdefault(loop, Hub(loop, owned=False))
        run = nested_runs.get(loop)
        if run is not None:
            hub.look_up_call_soon()
            hub.set_loop_greenlet(run.runner, hub.thread_id)
        # The first drain finds out which greenlet runs the loop.
        hub.schedule_drain()
    return hub


def _forget_closed_loops() -> None:
    # A copy, in one step: other OS threads attach hubs meanwhile.
    for loop, hub in tuple(attached_hubs.items()):
        if not loop.is_closed():
            continue
        hub.closed = True
        # Green threads end in their own OS thread, where the wake-up descriptor is unset, too.
        if not hub._ended and is_running_elsewhere(hub.thread_id):
            continue
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
        made = Hub(loop, owned=True)
        other = _state.owned
        if other is not hub and other is not None:
            # A signal handler came in between, and needed one.
            made.closed = True
            loop.close()
            return other
        _state.owned = hub = made
        hub.mains_hub = _as_chosen(hub)
        if prepare_own_hub is not None:
            prepare_own_hub(hub)
        _state.guard = _ThreadEnd(hub)
        if bring_along is not None:
            bring_along()
    return hub


def use_hub(mod: HubSpec = None) -> None:
    """Choose the event loop for this thread's own hub.

    It matters where greenio makes the loop. Where a loop runs already (asyncio.run,
    uvicorn, ...) green threads live on that loop, whatever was chosen here.

    Args:
        mod: ``"asyncio"``, ``"uvloop"``, a function that returns a new event loop, the
            name of one as in ``"package.module:function"``, or None for the environment
            variable GREENIO_HUB, else EVENTLET_HUB (default ``"asyncio"``). eventlet's
            hubs, by name, module or class, mean the default.

    Raises:
        HubError: The name is unknown, uvloop is not installed, or this thread's hub is
            in use already with another kind of loop.
    """
    factory = loop_factory(mod)
    hub = _state.owned
    if hub is not None and not hub.closed:
        if factory is (_state.factory or loop_factory()):
            return
        if hub.loop_greenlet or hub.ready or getcurrent() is not hub.main:
            if is_eventlets(mod):
                # The one that runs will do.
                return
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
    try:
        if hub is not None and not hub.closed and hub.main is getcurrent():
            hub.close()
    finally:
        _state.owned = _state.guard = None


def _end_with_the_program() -> None:
    # Its status is what it is by now.
    with suppress(SystemExit):
        close_thread_hub()


def forget_hubs() -> None:
    """In a forked child: know none of the parent's hubs any more."""
    attached_hubs.clear()
    for run in nested_runs.values():
        run.abandon()
    nested_runs.clear()
    _state.owned = _state.guard = None
    _state.held_up = False


# Here, since a timer stands below.
_timers.current_hub = get_hub


# At exit the main thread's own hub ends like a loop under asyncio.run: its green threads
# see GreenletExit and their `finally` blocks run.
# Hooks come first: they may wait for those green threads.
call_at_exit_last(_end_with_the_program)
