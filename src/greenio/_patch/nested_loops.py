"""Event loops that green code runs by itself, while the hub's own loop goes on.

A loop that green code runs, by `asyncio.run`, a `Runner` or `run_until_complete`, is a real
one, of whatever class the program asked for, and is the running loop for all that runs on
it. It runs *inside* of the green thread that runs it, which is its loop greenlet:

* Where it has nothing to do, its runner is parked, and the hub's loop goes on. Its selector
  has a descriptor of its own (epoll, kqueue), which is all that the hub has to watch.
* While its callbacks run, its runner is no green code: it is a loop's greenlet, and
  nothing can wait there. Green threads that these start live on a hub attached to it.
* Which loop is the running one, which hooks asynchronous generators have, whether the
  loop is hidden: these are variables of the OS thread. They change in `_Run.resume`
  and `_Run.pause`, and nowhere else.
* A busy loop lets the others run every half a millisecond.

uvloop waits in C; there, a timer lets the others run every few milliseconds.

In plain Python, who gives a loop something to do from outside does so from another OS
thread, by `call_soon_threadsafe`. Green code is in the loop's own thread, and may forget
that: while the runner is parked, the calls that would not wake it do.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import _get_running_loop, _set_running_loop
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable
from functools import wraps
from selectors import EVENT_READ, EVENT_WRITE  # noqa: TID251 - two numbers
from typing import Any

from greenlet import getcurrent, greenlet

from .._bridge.await_ import await_, run_green
from .._bridge.portal import Portal, in_green_code
from .._greenthread.sleeping import sleep
from .._kernel import hidden_loop
from .._kernel.current import acting, attached_hubs, nested_runs, own_hub
from .._kernel.hub import Hub
from .._kernel.supervisor import shown_loops
from .._loop.loops import is_uvloop
from .._reactor.descriptors import READ, Listener
from .._std.originals import POLLIN, POLLOUT, monotonic
from .anyio_library import tell_anyio
from .asyncio_run import let_runners_run_green
from .hubs_loop import ending_hubs, hub_that_runs, run_below
from .import_hooks import when_imported
from .loop_that_is_set import follow_set_loops
from .outliving import loop_closes
from .select import Deadline, Nest
from .wakeup_claims import WakeupClaim, claim_wakeup

# Where those are from that wait for what is in their map.
_SELECTORS = ("selectors", "greenio.green.selectors")
# How long a loop that has something to do may go on before the others run, in seconds;
# and how long uvloop may in any case.
_TURN = 0.0005
_PAUSE = 0.002

# Where a greenlet has its run, while that is not paused.
_RUN = "_nested_run"


def run_loops_green(loop_class: Any) -> None:
    """Have the loops of a class wait in a green way when green code runs them."""
    if getattr(loop_class.run_forever, "_is_green", False):
        return
    loop_class.run_forever = _green(_showing(loop_class.run_forever))
    loop_class.run_until_complete = _green(loop_class.run_until_complete)
    loop_class.close = _closing(loop_class.close)


def _showing(run: Callable[[Any], None]) -> Callable[[Any], None]:
    """Have who ends a loop after a run find the supervisor among its tasks."""

    @wraps(run)
    def showing(self: Any) -> None:
        shown_loops.add(self)
        try:
            run(self)
        finally:
            shown_loops.discard(self)
            hub = attached_hubs.get(self)
            if hub is not None and hub._supervisor is not None:
                hub._supervisor.show()

    return showing


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
    # It refuses a loop that runs before it calls BaseEventLoop's.
    selector_loop: Any = BaseSelectorEventLoop
    selector_loop.close = ending_hubs(selector_loop.close)
    follow_set_loops()
    when_imported("uvloop", _let_uvloop_run_green)
    tell_anyio()


def _let_uvloop_run_green(module: Any) -> None:
    run_loops_green(module.Loop)
    module.Loop.close = ending_hubs(module.Loop.close)
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
        current = getcurrent()
        if hasattr(current, _RUN) or self.is_closed() or self.is_running():
            below = hub_that_runs(self)
            if below is not None:
                return run_below(below, *args)
            # run_until_complete() has called run_forever(), or it is an error.
            return run(self, *args)
        if type(current) is Portal and current.parking_hub.loop is not self:
            return await_(run_green(_run_for, current, green, self, *args))
        hub = _hub_to_serve(self, current)
        if hub is None:
            return run(self, *args)
        nested = _Run(self, hub, current)
        nested.begin()
        try:
            return run(self, *args)
        except BaseException as exc:
            if exc is nested.interruption:
                nested.cancel(run, *args)
            raise
        finally:
            nested.end()

    green._is_green = True  # type: ignore[attr-defined]
    return green


def _run_for(portal: greenlet, run: Callable[..., Any], *args: Any) -> Any:
    """Run a loop in a green thread instead of a portal, whose hub parks differently."""
    current = getcurrent()
    acting[current] = portal
    try:
        return run(*args)
    finally:
        del acting[current]


def _hub_to_serve(loop: asyncio.AbstractEventLoop, current: greenlet) -> Hub | None:
    """Return the hub that has to go on while the caller runs a loop."""
    hub: Hub | None = getattr(current, "_hub", None)
    if hub is None:
        hub = own_hub()
        if hub is None or hub.main is not current or _get_running_loop() is not None:
            return None
        if not hub.closed and hub.loop is not loop:
            # Its loop runs before the inner one, and after it: signals, for example, are
            # taken over and given back in that order.
            sleep(0)
            hub = hub.mains_hub
    return None if hub.closed or hub.loop is loop else hub


class _Run:
    """A loop that a green thread runs: either it is the running loop, or it is paused."""

    __slots__ = (
        "_claim",
        "_inner",
        "_listener",
        "_loop",
        "_marked",
        "_outer",
        "_paused_at",
        "_pausing",
        "_selector",
        "_timer",
        "hub",
        "interruption",
        "runner",
    )

    def __init__(self, loop: Any, hub: Hub, runner: Any) -> None:
        self.hub = hub
        self.runner = runner
        # What has ended a pause.
        self.interruption: BaseException | None = None
        self._loop = loop
        self._marked = False
        self._inner: tuple[Any, ...] = ()
        self._outer: tuple[Any, ...] = ()
        self._selector: Any = None
        self._listener: Listener | None = None
        self._timer: asyncio.Handle | None = None
        self._claim: WakeupClaim | None = None
        self._pausing = 0.0
        self._paused_at = monotonic()

    def begin(self) -> None:
        """Make the loop one that pauses where it would wait."""
        loop = self._loop
        nested_runs[loop] = self
        hub = attached_hubs.get(loop)
        if hub is not None:
            hub.look_up_call_soon()
        self.resume()
        selector = self._selector = getattr(loop, "_selector", None)
        if selector is None:
            if is_uvloop(loop):
                self._claim = claim_wakeup()
            self._timer = loop.call_soon(self._let_others_run)
        else:
            loop._selector = _GreenSelector(selector, self)

    def end(self) -> None:
        """The loop has ended its run."""
        loop = self._loop
        if loop is None:
            return
        if self._selector is not None:
            loop._selector = self._selector
        if self._timer is not None:
            self._timer.cancel()
        if self._claim is not None:
            self._claim.end()
        self.pause()
        nested_runs.pop(loop, None)
        listener = self._listener
        if listener is not None:
            listener.release()
            listener.table.forget(listener)
        # Whatever was raised may keep this.
        self.interruption = None

    def cancel(self, run: Callable[..., Any], *args: Any) -> None:
        """Its runner is interrupted: have the coroutine end that it was given."""
        for task in asyncio.all_tasks(self._loop):
            if args and task.get_coro() is args[0]:
                self.interruption = None
                task.cancel()
                try:
                    run(self._loop, task)
                except BaseException:
                    # Interrupted once more.
                    if self.interruption is not None:
                        raise

    def abandon(self) -> None:
        """In a forked child: the loop is the parent's, and nobody runs it here."""
        if hasattr(self.runner, _RUN):
            delattr(self.runner, _RUN)
        if self._claim is not None:
            self._claim.forget()
        self._loop = None

    # -- who is running --------------------------------------------------------------

    def resume(self) -> None:
        """Make the loop the running one: its runner is no green code any more."""
        runner = self.runner
        self._outer = (
            _get_running_loop(),
            sys.get_asyncgen_hooks(),
            hidden_loop.exchange_hiding(None),
        )
        self._marked = hasattr(runner, "_hub")
        if self._marked:
            del runner._hub
        setattr(runner, _RUN, self)
        if self._inner:
            loop, hooks, hiding = self._inner
            _set_running_loop(loop)
            sys.set_asyncgen_hooks(*hooks)
            hidden_loop.exchange_hiding(hiding)
        else:
            _set_running_loop(None)

    def pause(self) -> None:
        """Make the outer loop the running one again, and the runner green code."""
        runner = self.runner
        loop, hooks, hiding = self._outer
        self._inner = (
            _get_running_loop(),
            sys.get_asyncgen_hooks(),
            hidden_loop.exchange_hiding(hiding),
        )
        _set_running_loop(loop)
        sys.set_asyncgen_hooks(*hooks)
        if self._marked:
            runner._hub = self.hub
        delattr(runner, _RUN)

    # -- waiting ---------------------------------------------------------------------

    def has_turn(self) -> bool:
        """Whether the loop may go on before the others run."""
        return monotonic() - self._paused_at < _TURN

    def wait(self, selector: Any, timeout: float | None) -> None:
        """Let the others run, until a descriptor of a selector may be ready."""
        self.pause()
        try:
            if timeout is not None and timeout <= 0:
                sleep(0)
            else:
                self._wait(selector, timeout)
        except BaseException as exc:
            self.interruption = exc
            raise
        finally:
            self.resume()
            self._paused_at = monotonic()

    def _wait(self, selector: Any, timeout: float | None) -> None:
        loop = self._loop
        attributes = vars(loop)
        before = {name: attributes[name] for name in _WAKING if name in attributes}
        attributes.update(
            call_soon=loop.call_soon_threadsafe,
            call_at=self._waking(loop.call_at),
            stop=self._waking(loop.stop),
        )
        try:
            if hasattr(selector, "fileno"):
                self._wait_for_poller(selector.fileno(), timeout)
            else:
                _wait_for_all(selector, timeout)
        finally:
            for name in _WAKING:
                del attributes[name]
            attributes.update(before)

    def _waking(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, **kwargs)
            finally:
                self._loop._write_to_self()

        return calling

    def _wait_for_poller(self, fd: int, timeout: float | None) -> None:
        listener = self._listener
        if listener is None or listener.fd != fd or listener.closed:
            listener = self._listener = Listener(self.hub.descriptors, fd, READ)
        try:
            listener.wait(timeout, self.hub.park)
        except OSError:
            # The kernel takes five pollers inside of each other, and no more.
            sleep(_PAUSE if timeout is None else min(timeout, _PAUSE))

    def _let_others_run(self) -> None:
        if self._claim is not None:
            self._claim.note()
        self.wait(None, 0)
        self._timer = self._loop.call_later(_PAUSE, self._let_others_run)


# What does not wake a loop that waits.
_WAKING = ("call_soon", "call_at", "stop")


def _wait_for_all(selector: Any, timeout: float | None) -> None:
    """Wait for the descriptors of a selector that has none itself."""
    interest = {
        fd: (POLLIN if key.events & EVENT_READ else 0)
        | (POLLOUT if key.events & EVENT_WRITE else 0)
        for fd, key in selector.get_map().items()
    }
    with Nest(interest) as nest:
        nest.wait(Deadline(timeout), "running an event loop")


class _GreenSelector:
    """A selector of asyncio's whose `select` pauses its loop."""

    def __init__(self, selector: Any, run: _Run) -> None:
        self._selector = selector
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)

    def select(self, timeout: float | None = None) -> Any:
        """Wait for descriptors; see `selectors.BaseSelector.select`."""
        selector, run = self._selector, self._run
        if type(selector).__module__ not in _SELECTORS:
            # One of the user's own: a clock in a test, say.
            run.wait(selector, 0)
            return selector.select(timeout)
        if run.has_turn():
            events = selector.select(0)
            if events or (timeout is not None and timeout <= 0):
                return events
        run.wait(selector, timeout)
        return selector.select(0)
