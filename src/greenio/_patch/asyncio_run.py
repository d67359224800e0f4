"""`asyncio.run` and its relatives in green code: no loop is in their way.

Functions are replaced where asyncio looks them up, so that ``from asyncio import run``
before the patch makes no difference. A coroutine, a real thread and the main program
before any hub runs get what they always got. How loops run in green code is in
`nested_loops`.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
from asyncio import events, runners, tasks
from collections.abc import Callable
from types import ModuleType
from typing import Any

from greenlet import getcurrent

from .._bridge.await_ import InlineThread
from .._bridge.loop_visibility import show_or_hide
from .._bridge.portal import in_green_code
from .._greenthread.local import local
from .._greenthread.thread import GreenThread
from .._kernel.hidden_loop import show_to_parent
from .._loop.interrupts import as_pythons, instead_of_pythons
from .._std.originals import current_task
from .import_hooks import when_imported

_get_running_loop = events._get_running_loop
_get_event_loop = events.get_event_loop
_set_event_loop = events.set_event_loop
_new_event_loop = events.new_event_loop
_get_event_loop_policy: Callable[[], Any] = getattr(
    events, "_get_event_loop_policy", events.get_event_loop_policy
)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop; in green code, one that can wait in a green way."""
    if in_green_code() and _makes_uvloops():
        return asyncio.SelectorEventLoop()
    return _new_event_loop()


def _makes_uvloops() -> bool:
    policy = type(_get_event_loop_policy())
    return policy.__module__.partition(".")[0] == "uvloop"


class _Slot(local):
    """Where a policy has the event loop of an OS thread: each green thread has its own."""

    _loop: asyncio.AbstractEventLoop | None = None
    _set_called = False
    # And, as `before`, what was set before a runner, or several inside of each other.


def _slot() -> _Slot | None:
    """Return the slot of the current policy; None if it is the program's own."""
    policy = _get_event_loop_policy()
    slot = vars(policy).get("_local")
    if slot is None or isinstance(slot, _Slot):
        return slot
    green = policy._local = _Slot()
    green._loop = slot._loop
    green._set_called = getattr(slot, "_set_called", green._loop is not None)
    return green


def set_event_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Set the event loop of the caller: a green thread has one of its own.

    Who does that does not see the loop that runs below any more. So what takes either
    the running loop or the one that was set takes the one that was set.
    """
    slot = _slot()
    _set_event_loop(loop)
    if slot is not None:
        slot._set_called = True
    current: Any = getcurrent()
    if (
        hasattr(current, "_hub")
        and not current._hub.hides
        and not isinstance(current, InlineThread)
    ):
        if isinstance(current, GreenThread):
            current.link(_show_to_parent)
        show_or_hide(current, current._hub, hides=True)


def _show_to_parent(thread: Any) -> None:
    show_to_parent(thread._hub.loop)


def get_event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop that green code set, or the running one."""
    slot = _slot()
    if slot is not None and in_green_code():
        if slot._loop is None and not slot._set_called and _get_running_loop() is None:
            # A green thread that is to see no running loop.
            slot._loop = asyncio.SelectorEventLoop()
        if slot._loop is not None:
            return slot._loop
    return _get_event_loop()


def _set_loop_of_runner(loop: asyncio.AbstractEventLoop | None) -> None:
    """Set a runner's loop, for a while: in green code it leaves all as it was."""
    slot = _slot()
    if slot is None or not in_green_code():
        _set_event_loop(loop)
        return
    # Not by way of the policy, nor by one attribute after the other: that would cost a
    # tenth of a short run.
    values = vars(slot)
    stack: list[Any] = values.setdefault("before", [])
    if loop is not None:
        stack.append((values.get("_loop"), values.get("_set_called", False)))
        values.update(_loop=loop, _set_called=True)
    elif stack:
        values["_loop"], values["_set_called"] = stack.pop()


def _visible_loop() -> asyncio.AbstractEventLoop | None:
    """What stands in the way of running another loop."""
    return None if in_green_code() else _get_running_loop()


# Whether a runner gathers what is left of its tasks.
_runner_gathers = False


def _gather_of_runner(*futures: Any, **options: Any) -> Any:
    global _runner_gathers  # noqa: PLW0603 - for the length of one call
    _runner_gathers = True
    try:
        return asyncio.gather(*futures, **options)
    finally:
        _runner_gathers = False


def _loop_to_gather_on() -> asyncio.AbstractEventLoop | None:
    """What `asyncio.gather` takes for the loop of futures, from Python 3.14 on.

    Green code outside of tasks may have futures of a loop that it runs later. Which loop
    they are of they know themselves, and up to 3.13 were asked.
    """
    loop = _get_running_loop()
    if loop is None or not in_green_code():
        return loop
    # In a portal, a coroutine may gather as well as what it calls.
    if _runner_gathers or current_task(loop) is None:
        return None
    return loop


def _handler(number: int) -> Any:
    """What handles a signal: a runner takes its place, but in the main program only."""
    if in_green_code() and getcurrent().parent is not None:
        return None
    return as_pythons(signal.getsignal(number))


def _set_handler(number: int, handler: Any) -> Any:
    """Set what handles a signal; after a runner, the hub's is in Python's place again."""
    if handler is signal.default_int_handler:
        handler = instead_of_pythons()
    return signal.signal(number, handler)


class View(ModuleType):
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
}


def let_runners_run_green() -> None:
    """Have `asyncio.run` and `asyncio.Runner` see no running loop in green code."""
    _let_run_green(runners)
    # The Runner that pytest-asyncio uses on Python 3.10.
    when_imported("backports.asyncio.runner.runner", _let_run_green)
    if sys.version_info < (3, 11):  # pragma: no cover - 3.10
        # It has a Runner of its own there.
        when_imported("anyio._backends._asyncio", _let_run_green)
    if sys.version_info >= (3, 14):
        namespace: dict[str, Any] = vars(tasks)
        if not isinstance(namespace["events"], View):
            namespace["events"] = View(events, _get_running_loop=_loop_to_gather_on)


def _let_run_green(module: ModuleType) -> None:
    namespace = vars(module)
    if not isinstance(namespace["events"], View):
        namespace["events"] = View(
            events,
            _get_running_loop=_visible_loop,
            set_event_loop=_set_loop_of_runner,
        )
        namespace["signal"] = View(signal, getsignal=_handler, signal=_set_handler)
        namespace["tasks"] = View(tasks, gather=_gather_of_runner)


def make_runs_green(replaced: Any) -> None:
    """Let green code run event loops.

    Args:
        replaced: Where replacements are remembered, for modules that imported the
            functions before.
    """
    if events.new_event_loop is new_event_loop:
        return
    for module in (asyncio, events):
        present = {
            name: value for name, value in REPLACED.items() if name in vars(module)
        }
        replaced.update(vars(module), present)
    let_runners_run_green()
    _slot()
    for name in _ASKING:
        when_imported(name, _tell_who_asks)
    when_imported("uvloop", lambda uvloop: _patch_uvloop(uvloop, replaced))


def _patch_uvloop(module: ModuleType, replaced: Any) -> None:
    run_on_uvloop = module.run

    @functools.wraps(run_on_uvloop)
    def run(main: Any, *, debug: bool | None = None, **options: Any) -> Any:
        if options or not in_green_code():
            return run_on_uvloop(main, debug=debug, **options)
        # uvloop cannot wait in a green way.
        return asyncio.run(main, debug=debug)

    replaced.update(vars(module), {"run": run})


def _loop_of_coroutines() -> asyncio.AbstractEventLoop:
    """What libraries take for the running loop that refuse to wait where one runs."""
    loop = None if in_green_code() else _get_running_loop()
    if loop is None:
        raise RuntimeError("no running event loop")
    return loop


# The modules of asgiref and zeroconf that ask.
_ASKING = ("asgiref.sync", "asgiref.local", "zeroconf._utils.asyncio")


def _tell_who_asks(module: ModuleType) -> None:
    if "asyncio" in vars(module):
        vars(module)["asyncio"] = View(asyncio, get_running_loop=_loop_of_coroutines)
