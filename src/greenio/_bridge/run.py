"""Starting a program on a loop of its own, and reaching a hub from another OS thread."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import sys
import weakref
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar, overload

from .._greenthread.arguments import check_callable
from .._greenthread.killing import kill
from .._greenthread.thread import GreenThread
from .._kernel.current import existing_hub, get_hub
from .._kernel.hidden_loop import running_loop
from .._kernel.hub import Hub, known_hubs
from .._kernel.waiters import mutex, new_waiter
from .._loop.loops import HubSpec, LoopFactory, loop_factory
from .._std.errors import HubClosedError, HubError
from .._std.originals import all_tasks, current_task, get_ident
from .._std.type_variables import Arguments, Unpack
from .await_ import call_either, run_green
from .portal import in_green_code

T = TypeVar("T")

_log = logging.getLogger("greenio")


@overload
def run(
    func: Callable[[Unpack[Arguments]], Coroutine[Any, Any, T]],
    *args: Unpack[Arguments],
    hub: HubSpec = None,
    debug: bool | None = None,
) -> T: ...
@overload
def run(
    func: Callable[[Unpack[Arguments]], T],
    *args: Unpack[Arguments],
    hub: HubSpec = None,
    debug: bool | None = None,
) -> T: ...
def run(
    func: Callable[[Unpack[Arguments]], Any],
    *args: Unpack[Arguments],
    hub: HubSpec = None,
    debug: bool | None = None,
) -> Any:
    """Run a function as the whole program, on a new event loop.

    When it returns, what it left behind is ended as under `asyncio.run`: green threads
    get GreenletExit, tasks are cancelled, asynchronous generators are closed, executors
    are shut down, then the loop is closed.

    In green code, such as a plain script after its first green call, the others go on
    meanwhile, as under `asyncio.run` there.

    Args:
        func: A blocking-style function, which runs in a green thread, or a coroutine
            function.
        *args: Its arguments.
        hub: ``"asyncio"``, ``"uvloop"`` or a function that returns a new event loop; by
            default what the environment variable GREENIO_HUB says, else ``"asyncio"``.
        debug: Whether the loop is in debug mode; None for asyncio's default. In debug
            mode, green threads and tasks left behind are logged.

    Returns:
        What the function returned.

    Raises:
        RuntimeError: A loop runs in this thread already, and the caller is not green code
            that may run others: a coroutine, for example.
        BaseException: Whatever the function raised.
    """
    check_callable(func, "run")
    if running_loop() is not None and not _may_run_loops():
        raise RuntimeError(
            "greenio.run() makes a loop of its own, and one is running in this thread "
            "already; use `await greenio.run_green(func, ...)` in a coroutine, and "
            "call the function as it is in a green thread"
        )
    return _run(_main(func, args), loop_factory(hub), debug)


# What asyncio's own runners look up there: green code may be let run loops.
_events: Any = vars(asyncio.runners)


def _may_run_loops() -> bool:
    return in_green_code() and _events["events"]._get_running_loop() is None


async def _main(func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        if inspect.iscoroutinefunction(func):
            return await func(*args)
        return await run_green(func, *args)
    finally:
        if asyncio.get_running_loop().get_debug():
            hub = get_hub()
            log_left_behind(hub, "greenio.run()", {current_task(), hub._supervisor})


def log_left_behind(hub: Hub, what: str, ours: Collection[object] = ()) -> None:
    """Log what runs on a hub whose end has come.

    Args:
        hub: The hub.
        what: What has ended.
        ours: Tasks that do not count.
    """
    threads = hub.green_threads()
    tasks = [task for task in all_tasks(hub.loop) if task not in ours]
    for left in (*threads, *tasks):
        _log.warning("left behind at the end of %s: %r", what, left)


if sys.version_info >= (3, 11):

    def _run(main: Any, factory: LoopFactory, debug: bool | None) -> Any:
        with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
            return runner.run(main)

else:  # pragma: no cover - 3.10

    def _run(main: Any, factory: LoopFactory, debug: bool | None) -> Any:
        loop = factory()
        try:
            _events["events"].set_event_loop(loop)
            if debug is not None:
                loop.set_debug(debug)
            return loop.run_until_complete(main)
        finally:
            try:
                _cancel_all(loop)
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())
            finally:
                _events["events"].set_event_loop(None)
                loop.close()

    def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for task in tasks:
            if not task.cancelled() and task.exception() is not None:
                loop.call_exception_handler(
                    {
                        "message": "unhandled exception while the loop shut down",
                        "exception": task.exception(),
                        "task": task,
                    }
                )


@overload
def from_thread(
    func: Callable[[Unpack[Arguments]], Coroutine[Any, Any, T]],
    *args: Unpack[Arguments],
    hub: Hub | None = None,
) -> T: ...
@overload
def from_thread(
    func: Callable[[Unpack[Arguments]], T],
    *args: Unpack[Arguments],
    hub: Hub | None = None,
) -> T: ...
def from_thread(
    func: Callable[[Unpack[Arguments]], Any],
    *args: Unpack[Arguments],
    hub: Hub | None = None,
) -> Any:
    """Run something on a hub, called from another OS thread, and wait for it.

    Args:
        func: A blocking-style function, which runs in a green thread of that hub, or a
            coroutine function, which runs in a Task of its loop.
        *args: Its arguments.
        hub: Which hub; not needed if there is just one besides the caller's own.

    Returns:
        What the function returned.

    Raises:
        BaseException: Whatever the function raised.
        HubError: There is no hub, or more than one, to choose from.
        HubClosedError: The hub's loop is closed, or was closed before it was done.
        RuntimeError: Called in the hub's own thread.
    """
    check_callable(func, "from_thread")
    target = hub if hub is not None else _only_hub()
    if get_ident() == target.thread_id:
        raise RuntimeError(
            "from_thread() is for other OS threads than the hub's own; here, call the "
            "function in a green thread, or await it in a coroutine"
        )
    return _ThreadCall(target, func, args).run()


# The caller's waiter gets it when the loop has been closed.
_LOST: Any = object()
# As long as a loop's timer can take.
_AGES = 86400.0 * 365


class _ThreadCall:
    """One call of `from_thread`."""

    __slots__ = ("_args", "_func", "_hub", "_thread", "_waiter", "timer")

    def __init__(
        self, hub: Hub, func: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self._hub = hub
        self._func = func
        self._args = args
        self._waiter = new_waiter("from_thread()")
        self._thread: GreenThread | None = None
        # What the loop, and nobody else, holds on to while the call runs.
        self.timer: weakref.ref[asyncio.TimerHandle] | None = None

    # -- called by the OS thread -----------------------------------------------------

    def run(self) -> Any:
        hub = self._hub
        waiter = self._waiter
        try:
            if not hub.call_threadsafe(_HeldByLoop(self)):
                raise HubClosedError(repr(hub))
            if hub.loop.is_closed():
                # It may have been closed in between, and then drops nothing any more.
                self.lose()
            lost = waiter.block() is _LOST
        except BaseException:
            with mutex:
                # If it has not started yet, it does not any more.
                waiter.done = True
                thread = self._thread
            if thread is not None:
                with contextlib.suppress(HubClosedError):
                    kill(thread)
            raise
        thread = self._thread
        if lost or thread is None:
            raise HubClosedError(repr(hub))
        return thread.wait()

    # -- called by the loop ----------------------------------------------------------

    def start(self) -> None:
        hub = self._hub
        thread = GreenThread(hub, call_either, (self._func, self._args, {}), {})
        with mutex:
            given_up = self._waiter.done
            if not given_up:
                self._thread = thread
        if given_up:
            self._let_go()
            return
        thread.has_taker = True
        thread.link(self._finished)
        hub.wake(thread)

    def _finished(self, _: GreenThread) -> None:
        self._wake(None)
        self._let_go()

    def _let_go(self) -> None:
        timer = None if self.timer is None else self.timer()
        if timer is not None:
            timer.cancel()

    def lose(self) -> None:
        """The loop has been closed."""
        self._wake(_LOST)

    def _wake(self, value: Any) -> None:
        with mutex:
            if not self._waiter.done:
                self._waiter.wake(value)


class _HeldByLoop:
    """A callback that nobody but the loop refers to: it goes when the loop is closed.

    Neither asyncio nor uvloop tells anybody that it is closed, but both drop what they
    were to call. So this one is called twice: to start, and in ages.
    """

    __slots__ = ("_call",)

    def __init__(self, call: _ThreadCall) -> None:
        self._call = call

    def __call__(self) -> None:
        call = self._call
        if call.timer is None:
            call.timer = weakref.ref(call._hub.loop.call_later(_AGES, self))
            call.start()

    def __del__(self) -> None:
        # Whoever made it may have been interrupted.
        call: _ThreadCall | None = getattr(self, "_call", None)
        if call is not None:
            call.lose()


def _only_hub() -> Hub:
    mine = existing_hub()
    candidates = [
        hub
        for hub in known_hubs()
        if hub not in (mine, mine and mine.twin)
        and not hub.closed
        and hub.loop.is_running()
    ]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise HubError(
            "from_thread() found no running hub in another thread; start one there "
            "with greenio.run(), asyncio.run() or spawn()"
        )
    raise HubError(
        f"from_thread() found {len(candidates)} running hubs; say which one with "
        "hub=..., which greenio.hubs.get_hub() returns in the hub's own thread"
    )
