"""`monkey_patch`: writing green names into the live standard modules."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from types import ModuleType
from typing import Any

from greenlet import GreenletExit

from .._core._originals import RLock
from ._plans import KEYWORDS, ON_REQUEST, PLANS, Plan
from ._views import finish_original_threads, isolate_asyncio, make_views

_lock = RLock()

# What has been patched, by keyword.
already_patched: dict[str, bool] = {}


def monkey_patch(**on: bool | None) -> None:
    """Make the standard library green for everybody.

    Without arguments, all of it. With keywords that are true, only those parts; with
    keywords that are false, all but those. Patching twice changes nothing.

    asyncio, uvloop and their executors keep the original modules.

    Args:
        **on: ``os``, ``select``, ``socket``, ``subprocess``, ``thread``, ``time``,
            ``psycopg``; ``builtins`` and ``MySQLdb`` are off unless they are named.
            ``all`` is the default for what is not named.

    Raises:
        TypeError: There is no such keyword.
        NotImplementedError: ``MySQLdb`` was asked for.
    """
    wanted = _wanted(on)
    with _lock:
        new = [keyword for keyword in wanted if keyword not in already_patched]
        if not new:
            return
        make_views()
        isolate_asyncio()
        plans = [plan for keyword in new for plan in PLANS.get(keyword, ())]
        # All of them are made before the first module changes.
        green = [
            importlib.import_module(f"greenio.green.{plan.green}") for plan in plans
        ]
        for plan, module in zip(plans, green, strict=True):
            _apply(plan, module)
        if "thread" in new:
            _patch_threads()
        if "subprocess" in new:
            _patch_subprocess({*new, *already_patched})
        if "psycopg" in new:
            _patch_psycopg()
        if "builtins" in new:
            _patch_builtins()
        already_patched.update(dict.fromkeys(new, True))


def _wanted(on: dict[str, bool | None]) -> list[str]:
    on = dict(on)
    default = on.pop("all", None)
    unknown = [name for name in on if name not in KEYWORDS]
    if unknown:
        raise TypeError(
            f"monkey_patch() got an unexpected keyword argument {unknown[0]!r}; it "
            f"takes all, {', '.join(sorted(KEYWORDS, key=str.lower))}"
        )
    if default is None:
        default = not any(on.values())
    wanted = [
        name for name in KEYWORDS if on.get(name, default and name not in ON_REQUEST)
    ]
    if "MySQLdb" in wanted:
        raise NotImplementedError(
            "monkey_patch(MySQLdb=True) is not available yet; leave it out, and call "
            "the driver in real threads or use PyMySQL, which needs no patch of its own"
        )
    return wanted


def _apply(plan: Plan, green: ModuleType) -> None:
    live = importlib.import_module(plan.module)
    for name in plan.names:
        if hasattr(live, name) and hasattr(green, name):
            setattr(live, name, getattr(green, name))


def _patch_threads() -> None:
    from ._threading import green_names

    threading = importlib.import_module("threading")
    namespace = vars(threading)
    namespace.update(green_names(namespace))
    _finish_in_order(namespace)
    # The one written in C waits in C; this one stands on the module's own names.
    queue: Any = importlib.import_module("queue")
    queue.SimpleQueue = queue._PySimpleQueue
    _renew_logging_locks(namespace["RLock"])
    # A worker that ends with its loop has not failed.
    logging.getLogger("concurrent.futures").addFilter(_is_not_a_kill)


def _patch_subprocess(patched: set[str]) -> None:
    from ._files import green_io
    from ._subprocess import green_wait

    namespace = vars(importlib.import_module("subprocess"))
    for name, keyword in _USED_BY_SUBPROCESS.items():
        if name in namespace and keyword not in patched:
            namespace[name] = importlib.import_module(f"greenio.green.{name}")
    namespace["io"] = green_io()
    if "_PopenSelector" in namespace:
        kind = namespace["_PopenSelector"].__name__
        selectors = importlib.import_module("greenio.green.selectors")
        namespace["_PopenSelector"] = getattr(selectors, kind)
    namespace["Popen"]._wait = green_wait(namespace)


# By the keyword that makes the live module green.
_USED_BY_SUBPROCESS = {
    "os": "os",
    "selectors": "select",
    "threading": "thread",
    "time": "time",
}


def _finish_in_order(namespace: dict[str, Any]) -> None:
    """Have the interpreter wait for green threads first, then for real ones."""
    from ._threads import Sentinel, wait_for_threads

    original = namespace["_shutdown"]

    def _shutdown() -> None:
        namespace["_SHUTTING_DOWN"] = True
        atexits = namespace["_threading_atexits"]
        while atexits:
            atexits.pop()()
        for lock in list(namespace.get("_shutdown_locks", ())):
            if isinstance(lock, Sentinel):
                lock.acquire()
                lock.release()
        wait_for_threads()
        finish_original_threads()
        original()

    namespace["_shutdown"] = _shutdown


def _renew_logging_locks(rlock: Any) -> None:
    """Replace the locks that the logging module has made already."""
    module: Any = logging
    if _is_free(module._lock):
        module._lock = rlock()
    for reference in list(module._handlerList):
        handler = reference()
        if handler is not None and handler.lock is not None and _is_free(handler.lock):
            handler.lock = rlock()


def _is_not_a_kill(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, GreenletExit)


def _is_free(lock: Any) -> bool:
    if lock.acquire(blocking=False):
        lock.release()
        return True
    return False


def _patch_psycopg() -> None:
    if importlib.util.find_spec("psycopg2") is None:
        return
    from ._psycopg import make_psycopg_green

    make_psycopg_green()


def _patch_builtins() -> None:
    import builtins

    from ._files import open_green

    builtins.open = open_green


def is_monkey_patched(module: ModuleType | str) -> bool:
    """Say whether a part of the standard library has been patched.

    Args:
        module: A keyword of `monkey_patch` ("thread"), a standard module's name
            ("threading"), or the module itself.
    """
    name = module if isinstance(module, str) else getattr(module, "__name__", "")
    if name in already_patched:
        return True
    return any(
        plan.module == name
        for keyword in already_patched
        for plan in PLANS.get(keyword, ())
    )
