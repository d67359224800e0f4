"""`asyncio.run` and its relatives in green code: they get a `NestedLoop`.

Functions are replaced where asyncio looks them up, so that ``from asyncio import run``
before the patch makes no difference. A coroutine, a real thread and the main program
before any hub runs get what they always got. Loops that are made in other ways, of a
class or by a `loop_factory`, run in green code as `_nested_loops` has it.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
from asyncio import events, runners, tasks
from collections.abc import Callable
from contextvars import Context
from types import ModuleType
from typing import Any

from greenlet import getcurrent

from .._bridge.nested_loop import NestedLoop, current_nested_loop, in_green_code
from .._kernel.current import nested_loop
from .._std.originals import current_task
from .import_hooks import when_imported

_get_running_loop = events._get_running_loop
_get_event_loop = events.get_event_loop
_set_event_loop = events.set_event_loop
_new_event_loop = events.new_event_loop
_all_tasks = tasks.all_tasks
_getsignal = signal.getsignal

# Where a green thread keeps the loop that it set.
_LOOP = "_event_loop"


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop; in green code, one that needs no running."""
    return NestedLoop() if in_green_code() else _new_event_loop()


def set_event_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Set the event loop of the caller: a green thread has one of its own."""
    if not in_green_code():
        _set_event_loop(loop)
    elif loop is not None:
        setattr(getcurrent(), _LOOP, loop)
    else:
        vars(getcurrent()).pop(_LOOP, None)


def get_event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop that green code set, or the running one."""
    if in_green_code():
        loop = getattr(getcurrent(), _LOOP, None)
        if loop is None and _get_running_loop() is None:
            # A green thread that is to see no running loop.
            loop = NestedLoop()
            setattr(getcurrent(), _LOOP, loop)
        if loop is not None:
            return loop  # type: ignore[no-any-return]
    return _get_event_loop()


def all_tasks(
    loop: asyncio.AbstractEventLoop | None = None,
) -> set[asyncio.Task[Any]]:
    """Return the tasks that are not done; under a nested loop, those of that one."""
    if isinstance(loop, NestedLoop):
        return loop.tasks()
    nested = current_nested_loop()
    if nested is not None and nested._outer is (loop or _get_running_loop()):
        return nested.tasks()
    return _all_tasks(loop)


def _visible_loop() -> asyncio.AbstractEventLoop | None:
    """What stands in the way of running another loop."""
    return None if in_green_code() else _get_running_loop()


def _loop_to_gather_on() -> asyncio.AbstractEventLoop | None:
    """What `asyncio.gather` takes for the loop of futures, from Python 3.14 on.

    Green code outside of tasks may have futures of a loop that it runs later. Which loop
    they are of they know themselves, and up to 3.13 were asked.
    """
    loop = _get_running_loop()
    if loop is not None and in_green_code() and current_task(loop) is None:
        return None
    return loop


def _handler(number: int) -> Any:
    """What handles a signal; no runner in green code is to take its place."""
    return None if in_green_code() else _getsignal(number)


class _View(ModuleType):
    """A module with some of its names replaced."""

    def __init__(self, module: ModuleType, **names: Any) -> None:
        super().__init__(module.__name__, module.__doc__)
        vars(self).update(names, _greenio_module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._greenio_module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Who sets something in the module means all who use it.
        setattr(self._greenio_module, name, value)


REPLACED: dict[str, Callable[..., Any]] = {
    "new_event_loop": new_event_loop,
    "set_event_loop": set_event_loop,
    "get_event_loop": get_event_loop,
    "all_tasks": all_tasks,
}


def let_runners_run_green() -> None:
    """Have `asyncio.run` and `asyncio.Runner` see no running loop in green code."""
    _let_run_green(runners)
    # The Runner that pytest-asyncio uses on Python 3.10.
    when_imported("backports.asyncio.runner.runner", _let_run_green)
    if sys.version_info >= (3, 14):
        namespace: dict[str, Any] = vars(tasks)
        if not isinstance(namespace["events"], _View):
            namespace["events"] = _View(events, _get_running_loop=_loop_to_gather_on)


def _let_run_green(module: ModuleType) -> None:
    namespace = vars(module)
    if not isinstance(namespace["events"], _View):
        namespace["events"] = _View(events, _get_running_loop=_visible_loop)
        namespace["signal"] = _View(signal, getsignal=_handler)


def make_runs_green(replaced: Any) -> None:
    """Let green code run event loops.

    Args:
        replaced: Where replacements are remembered, for modules that imported the
            functions before.
    """
    if tasks.all_tasks is all_tasks:
        return
    for module in (asyncio, events, tasks):
        present = {
            name: value for name, value in REPLACED.items() if name in vars(module)
        }
        replaced.update(vars(module), present)
    let_runners_run_green()
    for name in ("asgiref.sync", "asgiref.local"):
        when_imported(name, _patch_asgiref)
    when_imported("uvloop", lambda uvloop: _patch_uvloop(uvloop, replaced))


def _patch_uvloop(module: ModuleType, replaced: Any) -> None:
    run_on_uvloop = module.run

    @functools.wraps(run_on_uvloop)
    def run(main: Any, *, debug: bool | None = None, **options: Any) -> Any:
        if options or not in_green_code():
            return run_on_uvloop(main, debug=debug, **options)
        # Like asyncio.run, on the loop that runs already, whichever it is.
        return asyncio.run(main, debug=debug)

    replaced.update(vars(module), {"run": run})


def _get_asgiref_loop() -> asyncio.AbstractEventLoop:
    """What asgiref takes for the running loop.

    It refuses to wait where one runs, so green code has none. It remembers for each
    loop who waits for it, so coroutines below `async_to_sync` each have their own.
    """
    loop = None if in_green_code() else (current_nested_loop() or _get_running_loop())
    if loop is None:
        raise RuntimeError("no running event loop")
    return loop


def _patch_asgiref(module: ModuleType) -> None:
    if "asyncio" in vars(module):
        vars(module)["asyncio"] = _View(asyncio, get_running_loop=_get_asgiref_loop)
    restore = vars(module).get("_restore_context")
    if restore is not None:
        vars(module)["_restore_context"] = _keeping_nested_loop(restore)


def _keeping_nested_loop(
    restore: Callable[[Context], None],
) -> Callable[[Context], None]:
    """Wrap what copies one context into another: the loop is not to come along.

    By the loop a coroutine knows which thread it belongs to.
    """

    @functools.wraps(restore)
    def _restore_context(context: Context) -> None:
        own = context.copy()
        own.run(nested_loop.set, nested_loop.get())
        restore(own)

    return _restore_context
