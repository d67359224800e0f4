"""What greenio offers bears the name that users import it by."""

from __future__ import annotations

import builtins
import importlib
import pickle
import pkgutil
import typing
from types import FunctionType

import pytest

import greenio
from _fresh import run


def _public_modules():
    names = ["greenio"]
    for info in pkgutil.walk_packages(greenio.__path__, "greenio."):
        parts = info.name.split(".")[1:]
        # What is in `green` has the names of the standard modules.
        if parts[0] not in ("green", "zipkin") and not any(
            part.startswith("_") for part in parts
        ):
            names.append(info.name)
    return names


def _or_none(get, *args):
    try:
        return get(*args)
    except ImportError as exc:
        # It needs a package that not everybody has.
        if "pip install" not in str(exc):
            raise
        return None


def _exports():
    found = {}
    for name in _public_modules():
        module = _or_none(importlib.import_module, name)
        for export in getattr(module, "__all__", ()):
            thing = _or_none(getattr, module, export)
            # Aliases bear the name of what they stand for.
            if isinstance(thing, (type, FunctionType)) and thing.__name__ == export:
                found.setdefault(id(thing), (f"{name}.{export}", thing))
    return dict(found.values())


EXPORTS = _exports()
every_export = pytest.mark.parametrize("name", EXPORTS)


def _inside(thing):
    """A class or function, and the functions and classes in it."""
    yield thing
    if isinstance(thing, type):
        for value in vars(thing).values():
            if isinstance(value, (classmethod, staticmethod)):
                value = value.__func__
            accessors = (
                (value.fget, value.fset, value.fdel)
                if isinstance(value, property)
                else (value,)
            )
            for accessor in accessors:
                if isinstance(accessor, (type, FunctionType)):
                    yield accessor


def test_there_are_many():
    assert len(EXPORTS) > 100
    assert "greenio.queue.LightQueue" in EXPORTS


@every_export
def test_nothing_bears_the_name_of_a_private_module(name):
    for thing in _inside(EXPORTS[name]):
        assert not thing.__module__.startswith("greenio._"), (
            f"{thing} is defined in a private module; let {name.rpartition('.')[0]} "
            "end its list of exports with claim(globals())"
        )


@every_export
def test_it_is_found_by_the_name_that_it_bears(name):
    thing = EXPORTS[name]
    found = importlib.import_module(thing.__module__)
    for part in thing.__qualname__.split("."):
        found = getattr(found, part)
    assert found is thing
    assert pickle.loads(pickle.dumps(thing)) is thing


@every_export
def test_its_annotations_mean_something(name):
    typing.get_type_hints(EXPORTS[name])


@pytest.mark.parametrize("name", sorted(greenio.__all__))
def test_errors_and_classes_of_the_package_are_shown_by_a_public_name(name):
    thing = getattr(greenio, name)
    if isinstance(thing, type):
        assert "._" not in repr(thing)


def test_star_replaces_no_builtin():
    namespace = {}
    exec("from greenio import *", namespace)
    del namespace["__builtins__"]
    assert not {name for name in namespace if name in vars(builtins)} - {"__name__"}
    assert greenio.TimeoutError is greenio.Timeout


def test_dir_shows_what_is_public():
    names = {name for name in dir(greenio) if not name.startswith("__")}
    assert not {name for name in names if name.startswith("_")}
    assert names >= {name for name in greenio.__all__ if not name.startswith("__")}
    for name in names:
        _or_none(getattr, greenio, name)


def test_in_tracebacks():
    out = run(
        """
        import traceback
        import greenio
        from greenio._std.errors import HubClosedError, IOClosed, AlreadySentError
        for error in (
            greenio.BlockingInLoopError(), HubClosedError(), IOClosed(),
            AlreadySentError(), greenio.Timeout(None),
        ):
            print(traceback.format_exception_only(error)[-1].partition(":")[0].strip())
        """
    )
    assert out.split() == [
        "greenio.BlockingInLoopError",
        "greenio.hubs.HubClosedError",
        "greenio.hubs.IOClosed",
        "greenio.event.AlreadySentError",
        "greenio.timeout.Timeout",
    ]


@pytest.mark.parametrize(
    "error",
    [
        greenio.BlockingInLoopError("this"),
        greenio.hubs.HubClosedError("that"),
        greenio.event.AlreadySentError("it"),
        greenio.hubs.IOClosed(),
    ],
)
def test_errors_keep_their_message_when_pickled(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.args) == (str(error), error.args)
