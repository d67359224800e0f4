"""`monkey_patch`: writing green names into the live standard modules."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, TypedDict

from greenlet import GreenletExit

from .._debug.by_option import obey_environment as _watch_if_asked
from .._greenthread.holding_up import note_patched
from .._net.ssl import make_contexts_follow
from .._std import originals as _originals
from .._std.originals import RLock
from .._std.type_variables import Unpack
from .asyncio_run import make_runs_green
from .executors import (
    let_coroutines_end_executors,
    let_jobs_begin_in_submit,
    make_executors_green,
)
from .existing import Replaced, renew
from .green_forms import GREEN_FORMS
from .import_locks import make_import_locks_green
from .libraries import tell_libraries
from .module_proxies import note_live_modules
from .modules import share_with_live
from .original_modules import isolate_asyncio, make_views
from .plans import KEYWORDS, ON_REQUEST, OPTIONAL, PLANS, Plan
from .psycopg import make_psycopg_green
from .signal_handlers import wrap_all
from .transports import make_duplicates_green

_lock = RLock()

# What has been patched, by keyword.
already_patched: dict[str, bool] = {}
replaced = Replaced()
# What puts back those that the program leaves out, while all is patched on its behalf; see
# `provisional`.
put_back: Callable[[list[str]], None] | None = None
# Called before anything is patched; set by `_doctor`.
before_first: Callable[[], None] | None = None


class Keywords(TypedDict, total=False):
    """What `monkey_patch` takes; see there."""

    all: bool | None
    os: bool | None
    select: bool | None
    socket: bool | None
    subprocess: bool | None
    thread: bool | None
    time: bool | None
    psycopg: bool | None
    builtins: bool | None
    MySQLdb: bool | None


def monkey_patch(**on: Unpack[Keywords]) -> None:
    """Make the standard library green for everybody.

    Without arguments, all of it. With keywords that are true, only those parts; with
    keywords that are false, all but those. Patching twice changes nothing.

    If the environment variable GREENIO_MONITOR names a number of seconds, the main thread gets
    a `greenio.debug.monitor`, too.

    asyncio, uvloop and their executors keep the original modules.

    Args:
        **on: ``os``, ``select``, ``socket``, ``subprocess``, ``thread``, ``time``,
            ``psycopg``; ``builtins`` and ``MySQLdb`` are off unless they are named.
            ``open`` belongs to ``os`` too.
            ``all`` is the default for what is not named. Asking for a driver that is
            not installed changes nothing.

    Raises:
        TypeError: There is no such keyword.
    """
    _patch(_wanted(dict(on)))
    _watch_if_asked()


def _patch(wanted: list[str]) -> None:
    global put_back  # noqa: PLW0603 - the first call decides
    with _lock:
        if put_back is not None:
            put_back([keyword for keyword in KEYWORDS if keyword not in wanted])
            put_back = None
        new = [keyword for keyword in wanted if keyword not in already_patched]
        if not new:
            return
        if before_first is not None and not already_patched:
            before_first()
        make_views()
        isolate_asyncio()
        make_runs_green(replaced)
        make_import_locks_green()
        note_patched()
        plans = {keyword: plans_of(keyword) for keyword in new}
        _apply(plans)
        already_patched.update(dict.fromkeys(new, True))
        for keyword in new:
            replaced.keyword = keyword
            for step in _FURTHER_STEPS.get(keyword, ()):
                step()
        modules = {plan.module for each in plans.values() for plan in each}
        for name in SAME_AS_LIVE & modules:
            share_with_live(name)
        replaced.rebind()
        if "thread" in new:
            renew(GREEN_FORMS)
        note_live_modules()


def _apply(plans: dict[str, tuple[Plan, ...]]) -> None:
    """Write the green names into the standard modules."""
    # All green modules are made before the first standard one changes.
    made = [
        (keyword, plan, importlib.import_module(f"greenio.green.{plan.green}"))
        for keyword, each in plans.items()
        for plan in each
    ]
    for keyword, plan, green in made:
        replaced.keyword = keyword
        standard = importlib.import_module(plan.module)
        names = {
            name: getattr(green, name)
            for name in plan.names
            if hasattr(standard, name) and hasattr(green, name)
        }
        replaced.update(vars(standard), names)


def _wanted(on: dict[str, Any]) -> list[str]:
    default = on.pop("all", None)
    unknown = [name for name in on if name not in KEYWORDS]
    if unknown:
        raise TypeError(
            f"monkey_patch() got an unexpected keyword argument {unknown[0]!r}; it "
            f"takes all, {', '.join(sorted(KEYWORDS, key=str.lower))}"
        )
    if default is None:
        default = not any(on.values())
    return [
        name for name in KEYWORDS if on.get(name, default and name not in ON_REQUEST)
    ]


def plans_of(keyword: str) -> tuple[Plan, ...]:
    plans = OPTIONAL.get(keyword, ())
    if plans and importlib.util.find_spec(plans[0].module) is None:
        return ()
    return PLANS.get(keyword, plans)


def _patch_threads() -> None:
    from .conditions import pass_notifications_on
    from .main_thread import adopt_main_thread, make_shutdown
    from .running_threads import adopt_running_threads
    from .signals import pthread_getcpuclockid
    from .threading import green_names
    from .threads import begin_next

    threading = importlib.import_module("threading")
    namespace = vars(threading)
    replaced.update(namespace, green_names(namespace))
    replaced.note(pass_notifications_on(namespace["Condition"]))
    replaced.note(adopt_main_thread(namespace))
    replaced.note(adopt_running_threads(namespace))
    # It takes the number of a thread; the rest of its module has nothing to do with them.
    time = vars(importlib.import_module("time"))
    if "pthread_getcpuclockid" in time:
        replaced.update(time, {"pthread_getcpuclockid": pthread_getcpuclockid})
    replaced.note(partial(namespace.__setitem__, "_shutdown", namespace["_shutdown"]))
    namespace["_shutdown"] = make_shutdown(namespace)
    replaced.note(wrap_all())
    _patch_multiprocessing()
    let_coroutines_end_executors()
    let_jobs_begin_in_submit(begin_next)
    replaced.note(make_executors_green())
    # Its connections are kept in a `threading.local`.
    tell_libraries()
    # A worker that ends with its loop has not failed.
    logging.getLogger("concurrent.futures").addFilter(_is_not_a_kill)


def _patch_connections() -> None:
    from .._net import descriptor_io as green
    from .processes import green_connections

    names: dict[Any, Any] = {
        _originals.os_read: green.read,
        _originals.os_write: green.write,
    }
    names[_originals.os_close] = green.close
    green_connections(names)
    plain = {value: name for name, value in names.items()}
    replaced.note(partial(green_connections, plain))


def _patch_multiprocessing() -> None:
    from .processes import green_semaphore, let_coroutines_use_processes

    let_coroutines_use_processes()
    try:
        module: Any = importlib.import_module("_multiprocessing")
        native = module.SemLock
    except (ImportError, AttributeError):  # pragma: no cover - a system without them
        return
    replaced.update(vars(module), {"SemLock": green_semaphore(native)})


def _patch_subprocess() -> None:
    from .._net.files import green_io
    from .subprocess import make_popen_green

    namespace = vars(importlib.import_module("subprocess"))
    popen = namespace["Popen"]
    replaced.note(partial(setattr, popen, "_wait", popen._wait))
    replaced.note(partial(setattr, popen, "wait", popen.wait))
    replaced.note(partial(setattr, popen, "_execute_child", popen._execute_child))
    replaced.note(partial(namespace.update, dict(namespace)))
    patch_subprocess_imports()
    namespace["io"] = green_io()
    if "_PopenSelector" in namespace:
        kind = namespace["_PopenSelector"].__name__
        selectors = importlib.import_module("greenio.green.selectors")
        namespace["_PopenSelector"] = getattr(selectors, kind)
    make_popen_green(namespace)


def patch_subprocess_imports() -> None:
    """Give `subprocess` green modules for those that are not patched themselves."""
    namespace = vars(importlib.import_module("subprocess"))
    for name, keyword in _USED_BY_SUBPROCESS.items():
        if name in namespace and keyword not in already_patched:
            namespace[name] = importlib.import_module(f"greenio.green.{name}")


# By the keyword that makes the live module green.
_USED_BY_SUBPROCESS = {
    "os": "os",
    "selectors": "select",
    "threading": "thread",
    "time": "time",
}


def _is_not_a_kill(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, GreenletExit)


def _patch_open() -> None:
    import builtins
    import io

    # By its public module, which is the one that it names.
    open_green = importlib.import_module("greenio.green.builtin").open
    for module in (builtins, io):
        replaced.update(vars(module), {"open": open_green})


# Their green form is their own code over green modules, so a patched one equals it.
SAME_AS_LIVE = frozenset({"threading", "queue", "subprocess"})

# What a keyword stands for beside its plans.
_FURTHER_STEPS: dict[str, tuple[Callable[[], None], ...]] = {
    "os": (_patch_connections, _patch_open),
    "socket": (make_contexts_follow, make_duplicates_green),
    "subprocess": (_patch_subprocess,),
    "thread": (_patch_threads,),
    "psycopg": (make_psycopg_green,),
    "builtins": (_patch_open,),
}


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
        plan.module == name for keyword in already_patched for plan in plans_of(keyword)
    )
