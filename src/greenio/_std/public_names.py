"""The public names of what greenio defines in private modules.

Tracebacks, `repr`, pickles and documentation show `__module__`. It is to be the module
that users import a thing from; so each public module claims what it exports.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

_PRIVATE = f"{__name__.partition('.')[0]}._"


def claim(namespace: dict[str, Any]) -> None:
    """Have what a module exports, and another has not claimed, bear its name.

    Args:
        namespace: The globals of a public module; its ``__all__`` says what it exports.
    """
    module = namespace["__name__"]
    for name in namespace["__all__"]:
        thing = namespace.get(name)
        # An alias is known by its own name.
        if getattr(thing, "__name__", None) == name:
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
    if thing.__module__.startswith(_PRIVATE):
        thing.__module__ = module
    if isinstance(thing, type) and thing.__module__ == module:
        for inner in list(vars(thing).values()):
            # Not a class from elsewhere that is kept here.
            if not isinstance(inner, type):
                _rename(inner, module)
