"""The public names of what greenio defines in private modules.

Tracebacks, `repr`, pickles and documentation show `__module__`. It is to be the module
that users import a thing from; so each public module claims what it exports.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

_PACKAGE = __name__.partition(".")[0]


def is_private(module: str) -> bool:
    """Whether it is the name of a module of greenio's that users do not import from."""
    package, _, rest = module.partition(".")
    return package == _PACKAGE and any(part.startswith("_") for part in rest.split("."))


def claim(namespace: dict[str, Any]) -> None:
    """Have what a module exports, and another has not claimed, bear its name.

    Args:
        namespace: The globals of a public module; its ``__all__`` says what it exports.
            Without one it is all that does not begin with an underscore.
    """
    module = namespace["__name__"]
    for name in namespace.get("__all__") or list(namespace):
        thing = namespace.get(name)
        if name[0] == "_":
            continue
        # An alias is known by its own name.
        if getattr(thing, "__name__", None) == name:
            _rename(thing, module)
        elif not isinstance(thing, type):
            # The one object of a class that has no public name, such as a marker.
            _rename_class(type(thing), module)


def claim_as(module: str, name: str, thing: Any) -> None:
    """Have one thing bear a name that it is exported by and does not have itself.

    Args:
        module: The name of the public module.
        name: Its name there.
        thing: The class or function.
    """
    thing.__name__ = thing.__qualname__ = name
    _rename(thing, module)


def _rename(thing: Any, module: str) -> None:
    if isinstance(thing, (classmethod, staticmethod)):
        thing = thing.__func__
    elif isinstance(thing, property):
        for accessor in (thing.fget, thing.fset, thing.fdel):
            _rename(accessor, module)
        return
    if not isinstance(thing, (type, FunctionType)):
        return
    if isinstance(thing, type):
        _rename_class(thing, module)
    elif is_private(thing.__module__):
        thing.__module__ = module


def _rename_class(cls: type, module: str) -> None:
    if is_private(cls.__module__):
        cls.__module__ = module
    if cls.__module__ == module:
        for inner in list(vars(cls).values()):
            # Not a class from elsewhere that is kept here.
            if not isinstance(inner, type):
                _rename(inner, module)
