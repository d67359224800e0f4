"""What exists already when the patch comes: names and locks that others hold.

Patching a module reaches whoever looks a name up in it. It does not reach a module that
did ``from time import sleep`` before, nor the lock that another one made when it was
imported. So:

* `Replaced.rebind` gives such modules the green function or class under the same name, and
  such parameters as in ``def retry(call, sleep=time.sleep)``.
* `renew` replaces locks (and `threading.local` objects, and simple queues) that nobody
  uses at the moment by green ones, if every reference to them lies where another can be
  put in its place: in a module, an object's attribute, a dictionary, a list, a closure.
  An object with one reference elsewhere is left alone, since half of its users would
  otherwise exclude each other with one lock, and half with another.
* `leftovers` names what is still as it was.

Objects are only looked at, one after the other; nothing is changed of those that have
no replacement.
"""

from __future__ import annotations

import gc
import operator
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import (
    BuiltinMethodType,
    CellType,
    FrameType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

from .._std.originals import RLock, SimpleQueue, allocate_lock, thread_local

# Modules that go on with what they have, and their submodules: event loops and their
# threads, the import system, debuggers, test runners that measure real time; those that look
# on while Python code runs, since a lock that is made of such code would call them again while
# they hold it; and those that `monkey_patch` sees to by itself.
_LEFT_ALONE = frozenset(
    {
        "__original_module_",
        "_frozen_importlib",
        "_frozen_importlib_external",
        "_pydev_bundle",
        "_pydevd_bundle",
        "_pytest",
        "asyncio",
        "concurrent",
        "coverage",
        "curio",
        "debugpy",
        "eventlet",
        "gevent",
        "greenio",
        "importlib",
        "pydevd",
        "subprocess",
        "threading",
        "trio",
        "uvloop",
    }
)

LOCK = type(allocate_lock())
KINDS = {LOCK: "a lock", RLock: "an RLock", thread_local: "a threading.local"}
KINDS[SimpleQueue] = "a SimpleQueue"

Factory = Callable[[Any], Any]


@dataclass(frozen=True)
class Leftover:
    """Something that is not green.

    Attributes:
        where: Its module and attribute, or what is known of that.
        why: What it is, and why it was left.
    """

    where: str
    why: str


def is_left_alone(module_name: str) -> bool:
    """Whether a module keeps what it has got."""
    top = module_name.partition(".")[0]
    return top in _LEFT_ALONE or module_name.startswith("__original_module_")


def modules_to_change() -> Iterator[tuple[str, ModuleType]]:
    """All modules written in Python that are not to be left alone."""
    module: Any
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or is_left_alone(name):
            continue
        file = getattr(module, "__file__", None)
        if name == "__main__" or (file is not None and file.endswith((".py", ".pyc"))):
            yield name, module


class Replaced:
    """Names of standard modules that have been replaced, for those who imported them.

    Attributes:
        pairs: For each former value, by its id: its names, the value, and the new one.
    """

    def __init__(self) -> None:
        self.pairs: dict[int, tuple[set[str], Any, Any]] = {}
        # What is being patched, and what puts each part back.
        self.keyword = ""
        self._undo: dict[str, list[Callable[[], object]]] = {}
        self._new: dict[str, dict[int, tuple[Any, Any]]] = {}

    def note(self, undo: Callable[[], object]) -> None:
        """Remember what puts something back that belongs to the present keyword."""
        self._undo.setdefault(self.keyword, []).append(undo)

    def restore(self, keyword: str) -> None:
        """Put back what was written for a keyword, also where others imported it."""
        for undo in reversed(self._undo.pop(keyword, [])):
            undo()
        news = self._new.pop(keyword, {})
        for _, old in news.values():
            self.pairs.pop(id(old), None)
        for module_name, module in modules_to_change():
            for name, value in list(vars(module).items()):
                new, old = news.get(id(value), (None, None))
                if new is not None and new is value and not _derives(module_name, new):
                    vars(module)[name] = old

        def plain(_module_name: str, _name: str, value: Any) -> Any:
            new, old = news.get(id(value), (None, None))
            return old if new is value else value

        _change_defaults(plain)

    def update(self, namespace: dict[str, Any], names: dict[str, Any]) -> None:
        """Write names into a module."""
        for name, value in names.items():
            old = namespace.get(name)
            namespace[name] = value
            if old is not None and old is not value:
                self.note(partial(namespace.__setitem__, name, old))
                self._new.setdefault(self.keyword, {})[id(value)] = (value, old)
                known, _, _ = self.pairs.setdefault(id(old), (set(), old, value))
                known.add(name)

    def rebind(self) -> None:
        """Give the modules that imported a name by itself the green one.

        Outside the standard library, only under a name that it has there: who wrote
        ``real_sleep = time.sleep`` means the original. And a class stays in modules
        that have derived from it: it is their classes' base.
        """
        for module_name, name, old, new in self.uses():
            if self._is_meant(module_name, name, old):
                vars(sys.modules[module_name])[name] = new

        def green(module_name: str, name: str, value: Any) -> Any:
            if id(value) in self.pairs and self._is_meant(module_name, name, value):
                return self.pairs[id(value)][2]
            return value

        _change_defaults(green)

    def _is_meant(self, module_name: str, name: str, old: Any) -> bool:
        names, _, _ = self.pairs[id(old)]
        top = module_name.partition(".")[0]
        is_theirs = name in names or top in sys.stdlib_module_names
        return is_theirs and not _derives(module_name, old)

    def uses(self) -> Iterator[tuple[str, str, Any, Any]]:
        """Go through the modules that have a former value.

        Yields:
            The module, the name it has there, the former value and the new one.
        """
        for module_name, module in modules_to_change():
            for name, value in list(vars(module).items()):
                _, old, new = self.pairs.get(id(value), (None, None, None))
                if old is not None and old is value:
                    yield module_name, name, old, new


def _change_defaults(instead: Callable[[str, str, Any], Any]) -> None:
    """Give parameters of functions other default values.

    Args:
        instead: Returns the new value, by the module, the parameter, and its value.
    """
    homes = {id(vars(module)): name for name, module in modules_to_change()}
    for function in gc.get_objects():
        if type(function) is not FunctionType:
            continue
        values, of_keywords = function.__defaults__, function.__kwdefaults__
        home = homes.get(id(function.__globals__)) if values or of_keywords else None
        if home is None:
            continue
        code = function.__code__
        if values:
            names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
            new = tuple(map(partial(instead, home), names, values))
            if any(map(operator.is_not, new, values)):
                function.__defaults__ = new
        if of_keywords:
            # Not in place: copies of the function, with other globals, have the same one.
            others = {
                name: instead(home, name, of_keywords[name]) for name in of_keywords
            }
            if any(others[name] is not of_keywords[name] for name in others):
                function.__kwdefaults__ = others


def subclasses(cls: type) -> Iterator[type]:
    """All classes below another that belong to modules which could have green ones."""
    derived: type
    for derived in type.__subclasses__(cls):
        if not is_left_alone(derived.__module__):
            yield derived
            yield from subclasses(derived)


def _derives(module_name: str, value: Any) -> bool:
    return isinstance(value, type) and any(
        derived.__module__ == module_name for derived in subclasses(value)
    )


# -- objects --------------------------------------------------------------------------


def renew(make: dict[type, Factory]) -> int:
    """Replace locks and the like that nobody is using by green ones.

    Args:
        make: For each type of object, what makes the green one for an object, or
            returns None if that one is in use.

    Returns:
        How many were replaced.
    """
    # No other thread is to take a lock between the look at it and the replacement.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        return _Census(tuple(make)).replace(make)
    finally:
        sys.setswitchinterval(interval)


def leftovers(kinds: tuple[type, ...]) -> list[Leftover]:
    """Name the objects of some types that are still as they were."""
    census = _Census(kinds)
    return sorted(census.describe(), key=lambda leftover: leftover.where)


def is_free(lock: Any) -> bool:
    """Whether nobody holds a lock, of whichever kind."""
    if isinstance(lock, RLock) and lock._is_owned():  # type: ignore[attr-defined]
        return False
    if lock.acquire(False):
        lock.release()
        return True
    return False


class _Own(list[Any]):
    """A list of the census' own, which does not count."""


@dataclass(slots=True)
class _Found:
    """An object, and what refers to it.

    Attributes:
        value: The object.
        places: Where it can be replaced.
        methods: Its bound methods.
        keep: It is to be left alone, as what it belongs to is.
    """

    value: Any
    places: list[_Place] = field(default_factory=list)
    methods: list[_Found] = field(default_factory=list)
    keep: bool = False

    def surplus(self) -> int:
        """How many references there are beside those that were found."""
        return sys.getrefcount(self.value) - len(self.places) - len(self.methods)


@dataclass(slots=True)
class _Place:
    """A reference that can be changed.

    Attributes:
        holder: The module, the object, the dictionary, ...
        name: The attribute, or what else says where in the holder it is.
        put: Puts something there.
    """

    holder: Any
    name: str
    put: Callable[[Any], None]


class _Census:
    """All objects of some types, with the places where each is referred to.

    The number of references to an object says whether all of them were found. Some are
    the census' own; how many, is seen on an object that has one reference elsewhere.
    """

    def __init__(self, kinds: tuple[type, ...]) -> None:
        self.kinds = kinds
        probe = allocate_lock()
        self._probes = {"lock": probe, "method": probe.acquire}
        del probe
        # Exactly of these types: a subclass has a behaviour of its own.
        self.found = {
            id(value): _Found(value)
            for value in gc.get_objects()
            if type(value) in kinds or value is self._probes["lock"]
        }
        holders = _referrers(self.found)
        self._methods = {
            id(holder): _Found(holder)
            for holder in holders
            if isinstance(holder, BuiltinMethodType)
        }
        for method in self._methods.values():
            self.found[id(method.value.__self__)].methods.append(method)
        method_holders = _referrers(self._methods)
        self._owners = _owners_of([*holders, *method_holders])
        self._note_places(holders, self.found)
        self._note_places(method_holders, self._methods)
        del holders, method_holders, method
        known = self.found.pop(id(self._probes["lock"]))
        self._own_references = known.surplus()
        self._own_to_methods = known.methods[0].surplus()

    def _note_places(self, holders: list[Any], wanted: dict[int, _Found]) -> None:
        for holder in holders:
            for place, value in self._places_in(holder):
                found = wanted.get(id(value))
                if found is not None and found.value is value:
                    found.places.append(place)
                    found.keep = found.keep or _belongs_to_those_left_alone(place)

    def _places_in(self, holder: Any) -> Iterator[tuple[_Place, Any]]:
        """Go through the references of an object that can be changed."""
        if type(holder) is dict:
            owner = self._owners.get(id(holder))
            for key, value in list(holder.items()):
                if isinstance(owner, type):
                    # Not into the dictionary: the type remembers what is there.
                    put = partial(type.__setattr__, owner, key)
                else:
                    put = partial(holder.__setitem__, key)
                yield _Place(holder if owner is None else owner, str(key), put), value
        elif type(holder) is list:
            for index, value in enumerate(holder):
                yield (
                    _Place(holder, str(index), partial(holder.__setitem__, index)),
                    value,
                )
        elif isinstance(holder, CellType):
            put = partial(setattr, holder, "cell_contents")
            yield _Place(holder, "cell_contents", put), holder.cell_contents
        elif not isinstance(holder, (*_OPAQUE, *self.kinds)):
            yield from self._attributes_of(holder)

    def _attributes_of(self, holder: Any) -> Iterator[tuple[_Place, Any]]:
        for name, value in list(getattr(holder, "__dict__", {}).items()):
            put = partial(vars(holder).__setitem__, name)
            yield _Place(holder, name, put), value
        for base in type(holder).__mro__:
            for name, member in list(vars(base).items()):
                if isinstance(member, MemberDescriptorType):
                    try:
                        value = member.__get__(holder)
                    except AttributeError:
                        continue
                    yield _Place(holder, name, partial(member.__set__, holder)), value

    def replace(self, make: dict[type, Factory]) -> int:
        """Replace what can be replaced; return how many that were."""
        replaced = 0
        for found in self.found.values():
            if found.keep or not self._has_only_known_references(found):
                continue
            new = make[type(found.value)](found.value)
            if new is None:
                continue
            for place in found.places:
                place.put(new)
            for method in found.methods:
                bound = getattr(new, method.value.__name__)
                for place in method.places:
                    place.put(bound)
            replaced += 1
        return replaced

    def _has_only_known_references(self, found: _Found) -> bool:
        return found.surplus() == self._own_references and all(
            method.surplus() == self._own_to_methods for method in found.methods
        )

    def describe(self) -> Iterator[Leftover]:
        """Say of each object where it is and why it was left."""
        for found in self.found.values():
            if found.keep:
                continue
            methods = [place for method in found.methods for place in method.places]
            where = next(filter(None, map(_name_of, [*found.places, *methods])), None)
            where = where or _name_of_container(found.value)
            if where is None:
                continue
            kind = KINDS[type(found.value)]
            if isinstance(found.value, (LOCK, RLock)) and not is_free(found.value):
                why = f"{kind} that is held"
            elif not self._has_only_known_references(found):
                why = f"{kind} with references that cannot be changed"
            else:
                why = f"{kind} that was in use, or was made later by unpatched code"
            yield Leftover(where, why)


# Nothing of theirs can be changed, or nothing of theirs is worth looking at.
_OPAQUE = (
    BuiltinMethodType,
    FrameType,
    FunctionType,
    MethodType,
    _Found,
    _Own,
    _Place,
    frozenset,
    set,
    tuple,
    type,
)


def _referrers(wanted: dict[int, _Found]) -> _Own:
    if not wanted:
        return _Own()
    return _Own(gc.get_referrers(*_Own(found.value for found in wanted.values())))


def _owners_of(holders: list[Any]) -> dict[int, Any]:
    """Return the modules, types and objects that dictionaries are the names of."""
    wanted = {id(holder): _Found(holder) for holder in holders if type(holder) is dict}
    owners: dict[int, Any] = {}
    for owner in _referrers(wanted):
        if isinstance(owner, FunctionType):
            continue  # They refer to their globals.
        namespace = getattr(owner, "__dict__", None)
        if isinstance(owner, type):
            for inner in gc.get_referents(owner):
                if id(inner) in wanted:
                    owners[id(inner)] = owner
        elif id(namespace) in wanted:
            owners[id(namespace)] = owner
    return owners


def _belongs_to_those_left_alone(place: _Place) -> bool:
    holder = place.holder
    if place.name == "_tstate_lock":
        return True  # By it, the interpreter says that a real thread has ended.
    if isinstance(holder, ModuleType):
        return is_left_alone(holder.__name__)
    cls = holder if isinstance(holder, type) else type(holder)
    # The module's own locks are not for others; its conditions and events are.
    return cls.__module__ != "threading" and is_left_alone(cls.__module__)


def _name_of(place: _Place) -> str | None:
    """Say where a reference is."""
    holder = place.holder
    if isinstance(holder, ModuleType):
        return f"{holder.__name__}.{place.name}"
    if isinstance(holder, type):
        return f"{holder.__module__}.{holder.__qualname__}.{place.name}"
    known = global_name(holder)
    if known is not None:
        return f"{known}.{place.name}"
    cls = type(holder)
    if cls in (CellType, dict, list):
        return None
    return f"{cls.__module__}.{cls.__qualname__}.{place.name} of some object"


def _name_of_container(value: Any) -> str | None:
    """Say in which module's tuple, set or function an object is."""
    names = [
        global_name(holder)
        for holder in gc.get_referrers(value)
        if isinstance(holder, (FunctionType, frozenset, set, tuple))
    ]
    name = next(filter(None, names), None)
    return name and f"{name} (in it)"


def global_name(value: Any) -> str | None:
    """Return the module and the name of an object that is global."""
    for namespace in gc.get_referrers(value):
        if type(namespace) is dict and "__name__" in namespace:
            for name, known in list(namespace.items()):
                if known is value:
                    return f"{namespace['__name__']}.{name}"
    return None
