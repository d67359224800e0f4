"""`threading.local` with a namespace for each green thread.

A green thread has its own; everything else that runs in an OS thread (its main
greenlet, the loop's callbacks, coroutines) shares that thread's, as without greenio.
"""

from __future__ import annotations

import weakref
from typing import Any

from greenlet import getcurrent

from ._greenthread import GreenThread
from ._originals import thread_local

_MISSING = object()


class _State:
    """What a `local` knows: its arguments, and everybody's namespaces."""

    __slots__ = ("args", "green", "kwargs", "native")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.native = thread_local()
        # By the green thread's id; the entry holds a weak reference to it that takes
        # the entry away again.
        self.green: dict[int, tuple[dict[str, Any], object]] = {}


class local:  # noqa: N801 - the name that `threading` gives it
    """Attributes that each green thread, and each OS thread, has for itself."""

    __slots__ = ("__weakref__", "_local__state")

    _local__state: _State

    def __new__(cls, /, *args: Any, **kwargs: Any) -> local:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        object.__setattr__(self, "_local__state", _State(args, kwargs))
        # For the caller, `__init__` runs right after this.
        _namespace(self, initialize=False)
        return self

    def __getattribute__(self, name: str) -> Any:
        namespace = _namespace(self)
        if name == "__dict__":
            return namespace
        value = namespace.get(name, _MISSING)
        if value is _MISSING or _is_data_descriptor(type(self), name):
            return object.__getattribute__(self, name)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "__dict__":
            raise AttributeError(
                f"{type(self).__name__!r} object attribute '__dict__' is read-only"
            )
        namespace = _namespace(self)
        if _is_data_descriptor(type(self), name):
            object.__setattr__(self, name, value)
        else:
            namespace[name] = value

    def __delattr__(self, name: str) -> None:
        if name == "__dict__":
            raise AttributeError(
                f"{type(self).__name__!r} object attribute '__dict__' is read-only"
            )
        namespace = _namespace(self)
        if _is_data_descriptor(type(self), name):
            object.__delattr__(self, name)
            return
        try:
            del namespace[name]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            ) from None


def _namespace(self: local, *, initialize: bool = True) -> dict[str, Any]:
    """The caller's attributes of a `local`, made at need."""
    state: _State = object.__getattribute__(self, "_local__state")
    current = getcurrent()
    namespace: dict[str, Any]
    if isinstance(current, GreenThread):
        key = id(current)
        entry = state.green.get(key)
        if entry is not None:
            return entry[0]
        green = state.green
        namespace = {}
        green[key] = (
            namespace,
            weakref.ref(current, lambda _: green.pop(key, None)),
        )
    else:
        try:
            namespace = state.native.namespace
        except AttributeError:
            namespace = state.native.namespace = {}
        else:
            return namespace
    if initialize and type(self).__init__ is not object.__init__:
        type(self).__init__(self, *state.args, **state.kwargs)
    return namespace


def _is_data_descriptor(cls: type, name: str) -> bool:
    for base in cls.__mro__:
        if name in base.__dict__:
            return hasattr(type(base.__dict__[name]), "__set__")
    return False
