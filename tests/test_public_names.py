"""What greenio offers bears the name that users import it by."""

from __future__ import annotations

import builtins
import importlib
import inspect
import pickle
import pkgutil
import sys
import typing
from types import FunctionType

import pytest

import greenio
from _fresh import run
from greenio._std.public_names import is_private

# They say why when they are imported; or they need a driver.
NOT_IMPORTABLE = {
    "greenio.hubs.pyevent",
    "greenio.support.psycopg2_patcher",
    "greenio.zipkin",
}
# They patch whoever imports them, so not this process. consumers/test_celery_names looks.
PATCHING = {"greenio.workers.celery"}


def _public_modules():
    names = ["greenio"]
    for info in pkgutil.walk_packages(greenio.__path__, "greenio."):
        parts = info.name.split(".")[1:]
        if (
            parts[0] != "green"
            and info.name not in NOT_IMPORTABLE
            and (info.name not in PATCHING or info.name in sys.modules)
            and not any(part.startswith("_") for part in parts)
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
        assert not is_private(thing.__module__), (
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


# Who writes a hub, a server or a primitive of his own has to do with the engine.
OF_THE_ENGINE = (
    "greenio.hubs.",
    "greenio.wsgi.Server.",
    "greenio.greenthread.GreenThread.watch",
    "greenio.greenthread.GreenThread.unwatch",
    # Named arguments.
    "greenio.patcher.monkey_patch",
)


def _classes_in(annotation):
    if isinstance(annotation, list):
        parts = annotation
    else:
        parts = typing.get_args(annotation)
        if isinstance(typing.get_origin(annotation) or annotation, type):
            yield typing.get_origin(annotation) or annotation
    for part in parts:
        yield from _classes_in(part)


@every_export
def test_signatures_name_what_users_can_import(name):
    for thing in _inside(EXPORTS[name]):
        where = f"{thing.__module__}.{thing.__qualname__}"
        called = thing.__name__.strip("_")
        hidden = thing.__name__ != called and called not in ("init", "enter")
        if isinstance(thing, type) or hidden or where.startswith(OF_THE_ENGINE):
            continue
        inner = inspect.unwrap(thing)
        names = {**vars(importlib.import_module(thing.__module__)), **inner.__globals__}
        for annotation in typing.get_type_hints(inner, names).values():
            for found in _classes_in(annotation):
                assert not found.__module__.startswith("greenio._"), (
                    f"{where} names {found}; a protocol of greenio._std.protocols, or a "
                    "public class, would say what users get"
                )


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


# What stands for something in a standard module.
GREEN = [
    info.name
    for info in pkgutil.walk_packages(greenio.green.__path__, "greenio.green.")
    if not any(part.startswith("_") for part in info.name.split(".")[1:])
]


# asynchat and asyncore announce their own end.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("module", GREEN)
def test_green_names_are_none_of_private_modules(module):
    try:
        names = vars(importlib.import_module(module))
    except ImportError:
        pytest.skip("it needs a package that not everybody has, or is no more")
    private = {
        name: thing
        for name, thing in names.items()
        if name[0] != "_"
        and isinstance(thing, (type, FunctionType))
        and is_private(thing.__module__)
    }
    assert not private


# In fresh interpreters: each has been told its name by nobody else yet.
@pytest.mark.parametrize(
    "thing",
    [
        "socket.socket",
        "ssl.create_default_context()",
        "threading.Lock()",
        "threading.RLock()",
        "threading.local()",
        "select.poll()",
        "selectors.DefaultSelector()",
        "threading.current_thread",
        "threading.get_ident",
        "time.sleep",
        "os.read",
        "os.fdopen",
        "signal.sigwait",
        "socket.getaddrinfo",
        "open",
    ],
)
def test_a_patched_program_sees_public_names(thing):
    out = run(
        f"""
        import greenio
        greenio.monkey_patch()
        import os, select, selectors, signal, socket, ssl, threading, time
        thing = {thing}
        print(repr(thing), thing.__module__)
        """
    )
    assert "greenio._" not in out
