"""Filling green modules: what each file below `greenio.green` begins with.

A green module brings the names that differ. The rest comes from the standard module,
in one of two ways: `complete` shares the names and gives the plain functions the green
globals; `execute` runs the standard module's code once more.
"""

from __future__ import annotations

import importlib
import sys
from types import FunctionType, ModuleType
from typing import Any

from .._std.public_names import claim
from .._std.with_globals import with_globals
from .imports import ImportContext, code_of
from .plans import ALSO_TO_PUT_BACK, GREEN, PLANS

# Names that say which module a module is.
_OWN = frozenset(
    {
        "__builtins__",
        "__cached__",
        "__doc__",
        "__file__",
        "__loader__",
        "__name__",
        "__package__",
        "__path__",
        "__spec__",
    }
)

# Views of the standard modules as they were before they were patched; see `original_modules`.
views: dict[str, ModuleType] = {}


def standard(name: str) -> ModuleType:
    """Return a standard module as it is without any patch."""
    return views.get(name) or importlib.import_module(name)


def _note_plan(namespace: dict[str, Any], name: str) -> None:
    named = [
        patched
        for plans in PLANS.values()
        for plan in plans
        if plan.module == name
        for patched in plan.names
    ]
    named += ALSO_TO_PUT_BACK.get(name, ())
    # What others put back has to be there.
    plain = vars(standard(name))
    namespace["__patched__"] = [
        patched
        for patched in dict.fromkeys(named)
        if patched in namespace and patched in plain
    ]


def complete(namespace: dict[str, Any], name: str, *, without: str = "") -> None:
    """Give a green module the rest of the standard module's names.

    Functions written in Python get the green module's globals: they find the green
    names there, so `socket.create_server` makes a green socket.

    Args:
        namespace: The green module's globals; what is there already stays.
        name: The standard module.
        without: Names to leave out, separated by spaces.
    """
    claim(namespace)
    source = vars(standard(name))
    left_out = _OWN.union(without.split())
    copies: dict[int, FunctionType] = {}
    for attribute, value in source.items():
        if attribute in left_out or attribute in namespace:
            continue
        if isinstance(value, FunctionType) and value.__globals__ is source:
            # One copy for all the names of a function.
            if id(value) not in copies:
                copies[id(value)] = with_globals(value, namespace)
            namespace[attribute] = copies[id(value)]
        else:
            namespace[attribute] = value
    _note_plan(namespace, name)


# The standard modules that `monkey_patch` has made as green as their counterparts.
_shared_with_live: set[str] = set()


# Green modules that have all the names of another one, by that.
_named_also: dict[str, set[str]] = {}


def name_also(namespace: dict[str, Any], home: str) -> None:
    """Give a green module all the names of another one, whose old name it is.

    Args:
        namespace: The green module's globals.
        home: The name of the other one.
    """
    _named_also.setdefault(home, set()).add(namespace["__name__"])
    names = vars(sys.modules[home])
    namespace.update(item for item in names.items() if item[0] not in _OWN)


def _follow(home: ModuleType) -> None:
    """Give those with another name of a module the names that it has now."""
    for name in _named_also.get(home.__name__, ()):
        name_also(vars(sys.modules[name]), home.__name__)


def share_with_live(name: str) -> None:
    """Let a green module and the standard one be the same from now on.

    Both have the same classes and, above all, the same state: the threads that one
    `threading` has started are also the other's. Only for modules whose green form is
    the standard code over green imports.

    Args:
        name: A standard module that has been patched.
    """
    _shared_with_live.add(name)
    green = sys.modules.get(f"greenio.green.{GREEN[name]}")
    if green is not None:
        _take_live_names(vars(green), name)
        _follow(green)


def share_no_more(name: str) -> None:
    """Let a green module be one of its own again; see `share_with_live`."""
    _shared_with_live.discard(name)
    green = sys.modules.get(f"greenio.green.{GREEN[name]}")
    if green is not None:
        importlib.reload(green)
        _follow(green)


def _take_live_names(namespace: dict[str, Any], name: str) -> None:
    live = vars(importlib.import_module(name))
    namespace.update(item for item in live.items() if item[0] not in _OWN)
    _note_plan(namespace, name)


def execute(namespace: dict[str, Any], name: str, **modules: ModuleType) -> bool:
    """Run a standard module's code in a green module, over green imports.

    If the standard module has been patched so that it is green itself, its names are
    taken instead.

    Exception classes stay the standard module's own, so that an ``except`` clause
    written against either module catches what the other raises.

    Args:
        namespace: The green module's globals.
        name: The standard module.
        **modules: What particular imports mean, where it is not the green module.

    Returns:
        False if the names are the standard module's own: nothing is to be changed.
    """
    if name in _shared_with_live:
        _take_live_names(namespace, name)
        return False
    own = {key: namespace[key] for key in _OWN if key in namespace}
    ImportContext(modules, GREEN).execute(code_of(name), namespace)
    builtins = namespace["__builtins__"]
    namespace.update(own)
    namespace["__builtins__"] = builtins
    share_exceptions(namespace, standard(name))
    _note_plan(namespace, name)
    return True


def share_exceptions(namespace: dict[str, Any], source: ModuleType) -> None:
    """Give executed code the exception classes of the standard module."""
    shared = {}
    for name, value in namespace.items():
        if (
            isinstance(value, type)
            and issubclass(value, BaseException)
            and value.__module__ == namespace["__name__"]
        ):
            original = getattr(source, value.__name__, None)
            if isinstance(original, type) and issubclass(original, BaseException):
                shared[name] = original
    namespace.update(shared)


def share_main_thread(namespace: dict[str, Any]) -> None:
    """Undo what executing `threading` has done: there is one main thread."""
    live = standard("threading")
    main = live.main_thread()
    namespace["_main_thread"] = main
    namespace["_active"].clear()
    namespace["_active"][main.ident] = main
    # Where there is one (until Python 3.12), the new main thread's is never released.
    namespace.get("_shutdown_locks", set()).clear()


def package_of(namespace: dict[str, Any], name: str) -> None:
    """Make a green package stand for a standard one.

    Its own submodules are the green ones; any other is the standard package's.
    """
    # The package has those of its submodules that somebody has imported as attributes.
    prefix = f"{name}."
    submodules = [
        attribute
        for attribute, value in vars(standard(name)).items()
        if isinstance(value, ModuleType) and value.__name__.startswith(prefix)
    ]
    complete(namespace, name, without=" ".join(submodules))

    def __getattr__(attribute: str) -> Any:  # noqa: N807 - a module's own hook
        standard_name = f"{name}.{attribute}"
        module = sys.modules.get(standard_name)
        if module is not None and standard_name in GREEN:
            # Somebody has imported the standard one, so the package would have it.
            return importlib.import_module(f"greenio.green.{GREEN[standard_name]}")
        if module is None:
            raise AttributeError(
                f"module {namespace['__name__']!r} has no attribute {attribute!r}"
            )
        return module

    namespace["__getattr__"] = __getattr__


def share(namespace: dict[str, Any], name: str) -> None:
    """Give a green module all names of a standard module that never waits."""
    namespace.update(
        (attribute, value)
        for attribute, value in vars(standard(name)).items()
        if attribute not in _OWN
    )
    namespace["__patched__"] = []
