"""`threading.local` with a namespace for each green thread.

A green thread has its own, and so has a portal: what runs in it may wait in the middle
of using a connection that is kept there, and others must not find it meanwhile.
Coroutines that a green thread runs by `asyncio.run` share that green thread's.
Everything else that runs in an OS thread (its main greenlet, the loop's callbacks,
other coroutines) shares that thread's, as without greenio.

Namespaces are found by the green thread's id. A weak reference to it takes its
namespace away again, before another could have the same id; and all of them go with the
`local`.
"""

from __future__ import annotations

import weakref
from typing import Any

from greenlet import getcurrent, greenlet

from .._kernel.current import acting_greenlet
from .._std.originals import thread_local

Namespace = dict[str, Any]


class _State:
    """What a `local` knows: its arguments, and everybody's namespaces."""

    __slots__ = ("args", "descriptors", "green", "kwargs", "native", "threads")

    def __init__(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.args = args
        self.kwargs = kwargs
        self.native = thread_local()
        self.green: dict[int, Namespace] = {}
        self.threads: dict[int, weakref.ref[greenlet]] = {}
        # Names that mean something else than an entry in the namespace: properties,
        # slots, `__class__`.
        names = {name for base in cls.__mro__ for name in base.__dict__}
        self.descriptors = frozenset(
            name for name in names if _is_data_descriptor(cls, name)
        ) | {"__dict__"}


class local:  # noqa: N801 - the name that `threading` gives it
    """Attributes that each green thread, portal and OS thread has for itself.

    A subclass may have an `__init__`; it is called with the same arguments in everyone
    who uses the object, when they first do. What is in its ``__slots__``, and what its
    properties and class attributes keep, is shared.
    """

    # Programs see it also before they import that.
    __module__ = "greenio.corolocal"
    __slots__ = ("__weakref__", "_local__state")

    def __new__(cls, /, *args: Any, **kwargs: Any) -> local:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        object.__setattr__(self, "_local__state", _State(cls, args, kwargs))
        # For the caller, `__init__` runs right after this.
        _namespace(self, initialize=False)
        return self

    def __getattribute__(self, name: str) -> Any:
        state = _state_of(self)
        namespace = state.green.get(id(getcurrent()))
        if namespace is None:
            namespace = _namespace(self)
        if name not in state.descriptors:
            try:
                return namespace[name]
            except KeyError:
                pass
        elif name == "__dict__":
            return namespace
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        state = _state_of(self)
        namespace = state.green.get(id(getcurrent()))
        if namespace is None:
            namespace = _namespace(self)
        if name not in state.descriptors:
            namespace[name] = value
        elif name == "__dict__":
            raise _read_only(self)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        namespace = _namespace(self)
        if name == "__dict__":
            raise _read_only(self)
        if name in _state_of(self).descriptors:
            object.__delattr__(self, name)
            return
        try:
            del namespace[name]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            ) from None


# The slot itself: the quickest way past `__getattribute__`.
_state_of = local.__dict__["_local__state"].__get__


def _namespace(self: local, *, initialize: bool = True) -> Namespace:
    """The caller's attributes of a `local`, made at need."""
    state: _State = _state_of(self)
    current = acting_greenlet()
    if getattr(current, "has_own_locals", False):
        key = id(current)
        green, threads = state.green, state.threads
        if key in green:
            return green[key]

        def forget(_: object = None) -> None:
            green.pop(key, None)
            threads.pop(key, None)

        namespace: Namespace = {}
        threads[key] = weakref.ref(current, forget)
        green[key] = namespace
    else:
        native = state.native
        try:
            return native.namespace  # type: ignore[no-any-return]
        except AttributeError:
            namespace = native.namespace = {}

        def forget(_: object = None) -> None:
            del native.namespace

    if initialize and type(self).__init__ is not object.__init__:
        try:
            type(self).__init__(self, *state.args, **state.kwargs)
        except BaseException:
            # The next access tries again.
            forget()
            raise
    return namespace


def _is_data_descriptor(cls: type, name: str) -> bool:
    for base in cls.__mro__:
        if name in base.__dict__:
            return hasattr(type(base.__dict__[name]), "__set__")
    return False


def _read_only(self: local) -> AttributeError:
    return AttributeError(
        f"{type(self).__name__!r} object attribute '__dict__' is read-only"
    )


def get_ident() -> int:
    """Return a number that tells the running green threads of this process apart."""
    return id(getcurrent())
