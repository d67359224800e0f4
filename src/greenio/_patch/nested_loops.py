"""Event loops that green code runs by itself, while the hub's own loop goes on.

A program that starts a thread and then calls ``loop.run_until_complete(main())`` expects
the thread to run meanwhile. It is a green one, and lives on this thread's own hub, whose
loop is another. So a loop that is run by green code (above all by the main program) waits
in a green way: while it has nothing to do, its caller is parked, and the hub's loop runs.

For asyncio's loops their selector is replaced meanwhile by one whose `select` parks.
uvloop waits in C; there, a timer lets the others run every few milliseconds.

`asyncio.run` and `asyncio.new_event_loop` make no such loop in green code: see
`_asyncio_run`. A loop gets here if it was made before the hub ran, or from its class.

While the inner loop's callbacks run, their greenlet is not green code: it is that loop's
greenlet, and where nothing can wait.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import _get_running_loop, _set_running_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from selectors import EVENT_READ, EVENT_WRITE  # noqa: TID251 - two numbers
from typing import Any

from greenlet import getcurrent

from .._bridge.nested_loop import in_green_code
from .._greenthread.sleeping import sleep
from .._kernel.current import own_hub
from .._kernel.hub import Hub
from .._std.originals import POLLIN, POLLOUT
from .asyncio_run import let_runners_run_green
from .import_hooks import when_imported
from .outliving import loop_closes
from .select import Deadline, Nest

# Where those are from that wait for what is in their map.
_SELECTORS = ("selectors", "greenio.green.selectors")
# How long uvloop may go on before the others run, in seconds.
_PAUSE = 0.002


def run_loops_green(loop_class: Any) -> None:
    """Have the loops of a class wait in a green way when green code runs them."""
    if getattr(loop_class.run_forever, "_is_green", False):
        return
    for name in ("run_forever", "run_until_complete"):
        setattr(loop_class, name, _green(getattr(loop_class, name)))
    loop_class.close = _closing(loop_class.close)


def _closing(close: Callable[[Any], None]) -> Callable[[Any], None]:
    @wraps(close)
    def closing(self: Any) -> None:
        loop_closes(self)
        close(self)

    return closing


def let_green_code_run_loops() -> None:
    """Let unpatched programs run event loops after their first green call.

    The loop of a hub that greenio has made counts as running from then on, also while
    the main program goes on; so asyncio would refuse to run another one.
    """
    let_runners_run_green()
    run_loops_green(asyncio.BaseEventLoop)
    when_imported("uvloop", _let_uvloop_run_green)


def _let_uvloop_run_green(module: Any) -> None:
    run_loops_green(module.Loop)
    if sys.version_info < (3, 11):  # pragma: no cover - 3.10
        return
    run_on_uvloop = module.run

    @wraps(run_on_uvloop)
    def run(
        main: Any, *, loop_factory: Any = module.new_event_loop, **options: Any
    ) -> Any:
        if not in_green_code():
            return run_on_uvloop(main, loop_factory=loop_factory, **options)
        # It looks for a running loop itself.
        debug = options.get("debug")
        with asyncio.Runner(loop_factory=loop_factory, debug=debug) as runner:
            return runner.run(main)

    module.run = run


def _green(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def green(self: Any, *args: Any) -> Any:
        with _nested(self) as state:
            if state is None or state.loop is not None:
                # Nothing else is here, or run_until_complete() has called run_forever().
                return run(self, *args)
            state.loop = self
            try:
                with _waiting_green(self, state):
                    return run(self, *args)
            finally:
                state.loop = None

    green._is_green = True  # type: ignore[attr-defined]
    return green


@contextmanager
def _nested(loop: asyncio.AbstractEventLoop | None) -> Iterator[_Nested | None]:
    """Let a loop run where green code is; yield None where there is none."""
    state = getattr(getcurrent(), "_nested_loop", None)
    if state is not None:
        yield state
        return
    hub = _hub_to_serve(loop)
    if hub is None:
        yield None
        return
    # Its loop runs before the inner one, and after it: signals, for example, are taken
    # over and given back in that order.
    sleep(0)
    state = _Nested(hub)
    state.begin()
    try:
        yield state
    finally:
        state.end()


def _hub_to_serve(loop: asyncio.AbstractEventLoop | None) -> Hub | None:
    """Return the hub that has to go on while the caller runs a loop."""
    current = getcurrent()
    hub: Hub | None = getattr(current, "_hub", None)
    if hub is None:
        hub = own_hub()
        if hub is None or hub.main is not current or _get_running_loop() is not None:
            return None
    return None if hub.closed or hub.loop is loop else hub


class _Nested:
    """Which loop is the running one: the inner one, or that of the hub."""

    def __init__(self, hub: Hub) -> None:
        # The inner loop, while it runs.
        self.loop: asyncio.AbstractEventLoop | None = None
        self._hub = hub
        self._greenlet: Any = getcurrent()
        self._outer: tuple[Any, Any] = (None, None)
        self._inner: tuple[Any, Any] = (None, None)
        self._marked = False

    def begin(self) -> None:
        """The inner loop is about to run: the caller is no green code any more."""
        self._outer = (_get_running_loop(), sys.get_asyncgen_hooks())
        self._marked = hasattr(self._greenlet, "_hub")
        if self._marked:
            del self._greenlet._hub
        self._greenlet._nested_loop = self
        _set_running_loop(self._inner[0])
        if self._inner[1] is not None:
            sys.set_asyncgen_hooks(*self._inner[1])

    def end(self) -> None:
        """The inner loop pauses, or has ended: the caller is green code again."""
        self._inner = (_get_running_loop(), sys.get_asyncgen_hooks())
        loop, hooks = self._outer
        _set_running_loop(loop)
        sys.set_asyncgen_hooks(*hooks)
        if self._marked:
            self._greenlet._hub = self._hub
        del self._greenlet._nested_loop

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Be green code for a while."""
        self.end()
        try:
            yield
        finally:
            self.begin()


@contextmanager
def _waiting_green(loop: Any, state: _Nested) -> Iterator[None]:
    selector = getattr(loop, "_selector", None)
    if selector is not None:
        loop._selector = _GreenSelector(selector, state)
        try:
            yield
        finally:
            loop._selector = selector
        return

    timer: asyncio.Handle

    def let_others_run() -> None:
        nonlocal timer
        with state.pause():
            sleep(0)
        timer = loop.call_later(_PAUSE, let_others_run)

    timer = loop.call_soon(let_others_run)
    try:
        yield
    finally:
        timer.cancel()


class _GreenSelector:
    """A selector of asyncio's whose `select` parks the caller."""

    def __init__(self, selector: Any, state: _Nested) -> None:
        self._selector = selector
        self._state = state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)

    def select(self, timeout: float | None = None) -> Any:
        """Wait for descriptors; see `selectors.BaseSelector.select`."""
        if type(self._selector).__module__ not in _SELECTORS:
            # One of the user's own: a clock in a test, say.
            with self._state.pause():
                sleep(0)
            return self._selector.select(timeout)
        with self._state.pause():
            if timeout is not None and timeout <= 0:
                sleep(0)
            else:
                interest = {
                    fd: (POLLIN if key.events & EVENT_READ else 0)
                    | (POLLOUT if key.events & EVENT_WRITE else 0)
                    for fd, key in self._selector.get_map().items()
                }
                with Nest(interest) as nest:
                    nest.wait(Deadline(timeout), "running an event loop")
        return self._selector.select(0)
