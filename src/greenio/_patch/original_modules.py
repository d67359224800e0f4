"""The standard modules as they were, for those who must run on them.

A *view* is a second module object with the names that the standard module had before it
was patched. There are two kinds:

* A **frozen** module shares its classes and objects with the live one, so a socket made
  by asyncio still is a `socket.socket`. Its functions, and the methods of its classes,
  get the frozen globals: `socket.socket.accept` goes on making plain sockets after the
  live module's ``socket`` has become the green one, and `ssl.SSLContext.options` goes
  on finding the class that it means by ``super(SSLContext, SSLContext)``.
* An **executed** module is the module's code run once more over other views. It is for
  modules whose classes turn green as they are, with their state (`threading`).

asyncio's modules are then given proxies of the views (`module_proxies`) for the modules that
they imported.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from types import FunctionType, ModuleType
from typing import Any

from .._std.originals import allocate_lock
from .._std.with_globals import give_class_globals, with_globals
from .imports import ImportContext
from .module_proxies import proxy_for
from .modules import share_exceptions, share_main_thread, views
from .nested_loops import run_loops_green
from .uvloop import isolate_uvloop

# In the order in which they are made, since the later refer to the earlier. A frozen
# module comes with the classes whose methods must not follow the live module.
_FROZEN: dict[str, tuple[str, ...]] = {
    "time": (),
    "select": (),
    "os": (),
    "_thread": (),
    "threading": (),
    "queue": (),
    "selectors": (
        "SelectSelector",
        "PollSelector",
        "EpollSelector",
        "DevpollSelector",
        "KqueueSelector",
        "_PollLikeSelector",
        "_BaseSelectorImpl",
    ),
    "socket": ("socket", "SocketIO"),
    "ssl": ("SSLContext", "SSLSocket", "SSLObject"),
    "subprocess": (),
}
_EXECUTED = frozenset({"threading", "queue", "subprocess"})

_ORIGINAL_PREFIX = "__original_module_"


def make_views() -> None:
    """Keep the standard modules as they are now. Called before the first patch."""
    if views:
        return
    made: dict[str, ModuleType] = {}
    instead: dict[int, ModuleType] = {}
    for name, classes in _FROZEN.items():
        module = importlib.import_module(name)
        if name in _EXECUTED:
            made[name] = _execute(name, made)
        else:
            made[name] = _freeze(module, classes, instead)
        instead[id(module)] = made[name]
    share_main_thread(vars(made["threading"]))
    made["concurrent.futures.thread"] = _execute("concurrent.futures.thread", made)
    made["concurrent"] = _concurrent(made["concurrent.futures.thread"])
    views.update(made)
    for name, view in made.items():
        sys.modules[_ORIGINAL_PREFIX + name] = view


def original(modname: str) -> ModuleType:
    """Return a standard module as it was before anything was patched.

    It is a module of its own: patching the standard one later does not reach it.

    Args:
        modname: Its name.

    Raises:
        ImportError: There is no such module.
    """
    make_views()
    name = {"thread": "_thread", "Queue": "queue"}.get(modname, modname)
    view = views.get(name)
    if view is None:
        view = views[name] = _execute(name, views)
        sys.modules[_ORIGINAL_PREFIX + name] = view
    return view


def original_threads() -> dict[int, Any]:
    """The real threads that were started by original modules, by their number."""
    threading = views.get("threading")
    return {} if threading is None else threading._active


def _freeze(
    module: ModuleType, classes: tuple[str, ...], instead: dict[int, ModuleType]
) -> ModuleType:
    view = ModuleType(module.__name__, module.__doc__)
    home = vars(module)
    frozen = vars(view)
    copies: dict[int, FunctionType] = {}
    for name, value in home.items():
        if isinstance(value, FunctionType) and value.__globals__ is home:
            if id(value) not in copies:
                copies[id(value)] = with_globals(value, frozen)
            frozen[name] = copies[id(value)]
        else:
            # A frozen module refers to the others as they were.
            frozen[name] = instead.get(id(value), value)
    for name in classes:
        cls = home.get(name)
        if isinstance(cls, type):
            give_class_globals(cls, home, frozen)
    return view


def _execute(name: str, made: dict[str, ModuleType]) -> ModuleType:
    modules = dict(made)
    native = vars(made["_thread"])
    if "_set_sentinel" in native:  # pragma: no cover - until Python 3.12
        # `threading` makes an object for the main thread. The real one would take over
        # the lock by which the interpreter says that the calling thread has ended.
        plain = modules["_thread"] = ModuleType("_thread")
        vars(plain).update(native, _set_sentinel=allocate_lock)
    view = ImportContext(modules).run_module(name, required=True)
    if "_set_sentinel" in vars(view):  # pragma: no cover - until Python 3.12
        vars(view)["_set_sentinel"] = native["_set_sentinel"]
    share_exceptions(vars(view), importlib.import_module(name))
    return view


def _concurrent(thread: ModuleType) -> ModuleType:
    """The `concurrent` package of asyncio: its executor has real threads."""
    live = importlib.import_module("concurrent.futures")
    green_class: type = live.ThreadPoolExecutor

    class _TakesGreenOnes(type):
        # asyncio checks what it is given to be its default executor.
        def __instancecheck__(cls, instance: object) -> bool:
            return super().__instancecheck__(instance) or isinstance(
                instance, green_class
            )

    futures = ModuleType("concurrent.futures")
    vars(futures).update(vars(live))
    vars(futures)["thread"] = thread
    vars(futures)["ThreadPoolExecutor"] = _TakesGreenOnes(
        "ThreadPoolExecutor",
        (thread.ThreadPoolExecutor,),
        {"__module__": "concurrent.futures.thread"},
    )
    package = ModuleType("concurrent")
    vars(package)["futures"] = futures
    return package


def isolate_asyncio() -> None:
    """Give asyncio's modules the views, and uvloop's loops real threads."""
    instead = {}
    for name, view in views.items():
        # The live `time` will do: asyncio never sleeps, but often reads the clock.
        if "." not in name and name != "time":
            live = importlib.import_module(name)
            instead[id(live)] = proxy_for(live, view)
    for name, module in list(sys.modules.items()):
        if name == "asyncio" or name.startswith("asyncio."):
            namespace = vars(module)
            for attribute, value in list(namespace.items()):
                if id(value) in instead:
                    namespace[attribute] = instead[id(value)]
    # Import locks belong to real threads.
    bootstrap: Any = sys.modules["_frozen_importlib"]
    bootstrap._thread = views["_thread"]
    run_loops_green(asyncio.BaseEventLoop)
    isolate_uvloop(views["concurrent"].futures.ThreadPoolExecutor, views["threading"])


def finish_original_threads() -> None:
    """Wait for the threads of original modules, at the end of the interpreter."""
    threading = views["threading"]
    vars(threading)["_SHUTTING_DOWN"] = True
    atexits = threading._threading_atexits
    while atexits:
        atexits.pop()()
    for lock in list(getattr(threading, "_shutdown_locks", ())):
        lock.acquire()
        lock.release()
