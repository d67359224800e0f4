"""Functions with another module's globals.

A function looks up its globals in the module that it was defined in. The same code with
other globals is the same function in another world: `socket.create_server` over green
sockets, or `socket.socket.accept` over plain ones after the module was patched.
"""

from __future__ import annotations

import operator
from types import FunctionType
from typing import Any


def with_globals(func: FunctionType, namespace: dict[str, Any]) -> FunctionType:
    """Return the same function with other globals."""
    copy = FunctionType(
        func.__code__, namespace, func.__name__, func.__defaults__, func.__closure__
    )
    copy.__kwdefaults__ = func.__kwdefaults__
    copy.__dict__.update(func.__dict__)
    copy.__doc__ = func.__doc__
    copy.__annotations__ = func.__annotations__
    copy.__qualname__ = func.__qualname__
    copy.__module__ = func.__module__
    return copy


def give_class_globals(
    cls: type, home: dict[str, Any], namespace: dict[str, Any]
) -> None:
    """Give the functions of a class other globals, in place.

    Args:
        cls: The class; it stays the same object.
        home: The globals that its own functions have; others are left alone.
        namespace: The globals that they get.
    """
    for name, value in list(vars(cls).items()):
        new = _attribute_with_globals(value, home, namespace)
        if new is not value:
            setattr(cls, name, new)


def _attribute_with_globals(
    value: Any, home: dict[str, Any], namespace: dict[str, Any]
) -> Any:
    if isinstance(value, FunctionType):
        return with_globals(value, namespace) if value.__globals__ is home else value
    if isinstance(value, (staticmethod, classmethod)):
        inner = _attribute_with_globals(value.__func__, home, namespace)
        return value if inner is value.__func__ else type(value)(inner)
    if isinstance(value, property):
        accessors = (value.fget, value.fset, value.fdel)
        new = tuple(
            _attribute_with_globals(item, home, namespace) for item in accessors
        )
        if any(map(operator.is_not, new, accessors)):
            return property(new[0], new[1], new[2], value.__doc__)
    return value
