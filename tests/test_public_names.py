"""What greenio offers bears the name that users import it by."""

from __future__ import annotations

import builtins
import copy
import importlib
import inspect
import pickle
import pkgutil
import sys
import typing
from types import FunctionType, ModuleType

import pytest

import greenio
from _fresh import run
from greenio import greenthread, hubs
from greenio._std.public_names import is_private
from greenio.dagpool import DAGPool

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


# Public methods that only the engine calls, and what of it they name.
OF_THE_ENGINE = {
    "greenio.greenthread.GreenThread.unwatch": {"Waiter"},
    "greenio.greenthread.GreenThread.watch": {"Waiter"},
    "greenio.hubs.timer.Timer.is_on": {"Scheduler"},
    "greenio.hubs.timer.Timer.is_overdue": {"Scheduler"},
    "greenio.hubs.timer.Timer.start": {"Scheduler"},
    "greenio.hubs.timer.Timer.start_on": {"Scheduler"},
    "greenio.wsgi.Server.channel_of": {"Channel"},
    "greenio.wsgi.Server.error_page": {"RequestError"},
    "greenio.wsgi.Server.log_exchange": {"Exchange"},
    "greenio.wsgi.Server.log_refused": {"Channel", "RequestError"},
    "greenio.wsgi.Server.make_channel": {"Channel"},
    "greenio.wsgi.Server.make_loop_channel": {"LoopChannel", "LoopServing"},
    "greenio.wsgi.Server.start_reading": {"Heads"},
    # Shapes that are in `typeshed`, or in no module that users could import at run time:
    # what has a `fileno` method, and the named arguments.
    "greenio.hubs.trampoline": {"HasFileno"},
}
if sys.version_info >= (3, 11):
    # Before there is no `Unpack` that keeps what it is given at run time.
    OF_THE_ENGINE["greenio.patcher.monkey_patch"] = {"Keywords"}


def _classes_in(annotation):
    if isinstance(annotation, list):
        parts = annotation
    else:
        parts = typing.get_args(annotation)
        if isinstance(typing.get_origin(annotation) or annotation, type):
            yield typing.get_origin(annotation) or annotation
    for part in parts:
        yield from _classes_in(part)


def _names_of_the_engine(thing):
    """The private classes in the signature of a public function or method."""
    called = thing.__name__.strip("_")
    hidden = thing.__name__ != called and called not in ("init", "enter")
    if isinstance(thing, type) or hidden:
        return set()
    inner = inspect.unwrap(thing)
    names = {**vars(importlib.import_module(thing.__module__)), **inner.__globals__}
    return {
        found.__name__
        for annotation in typing.get_type_hints(inner, names).values()
        for found in _classes_in(annotation)
        if is_private(found.__module__)
    }


@every_export
def test_signatures_name_what_users_can_import(name):
    for thing in _inside(EXPORTS[name]):
        where = f"{thing.__module__}.{thing.__qualname__}"
        assert _names_of_the_engine(thing) == OF_THE_ENGINE.get(where, set()), (
            f"{where}: a protocol of greenio._std.protocols, or a public class, would "
            "say what users get"
        )


def test_what_is_excused_exists():
    public = {
        f"{thing.__module__}.{thing.__qualname__}"
        for export in EXPORTS.values()
        for thing in _inside(export)
    }
    assert not set(OF_THE_ENGINE) - public


def _objects():
    """What public modules export that is neither a class nor a function, nor a module."""
    for name in _public_modules():
        module = _or_none(importlib.import_module, name)
        for export in getattr(module, "__all__", ()):
            thing = _or_none(getattr, module, export)
            if not isinstance(thing, (type, FunctionType, ModuleType)):
                yield f"{name}.{export}", thing


OBJECTS = dict(_objects())


def test_objects_are_of_no_private_module():
    assert OBJECTS["greenio.event.NOT_USED"] is greenio.event.NOT_USED
    assert not {
        name: type(thing)
        for name, thing in OBJECTS.items()
        if is_private(type(thing).__module__) or "greenio._" in repr(thing)
    }


@pytest.mark.parametrize(
    "name", ["greenio.event.NOT_USED", "greenio.wsgi.ALREADY_HANDLED"]
)
def test_a_copy_of_a_marker_is_the_marker(name):
    marker = OBJECTS[name]
    assert pickle.loads(pickle.dumps(marker)) is marker
    assert copy.deepcopy(marker) is marker


def _returned():
    """What public calls return whose classes are nobody's business."""
    pool = greenio.GreenPool(2)
    dag = DAGPool()
    later = greenthread.spawn_after_local(60, str)
    yield from (pool, pool.sem, pool.no_coros_running, later)
    yield from (pool.imap(str, ()), pool.imap_unordered(str, ()), pool.starmap(str, ()))
    yield from (dag.items(), dag.wait_each(), dag.wait_each_success())
    yield from (dag.wait_each_exception(), greenio.GreenPile(pool))
    yield from (greenio.spawn(str), greenthread.spawn_after(60, str))
    yield hubs.get_hub().schedule_call_global(60, str)


def test_what_is_returned_shows_no_private_module(hub_name):
    returned = list(_returned())
    shown = [repr(thing) for thing in returned]
    assert len(shown) == 15
    for thing in returned:
        if hasattr(thing, "cancel"):
            thing.cancel()
    assert not [text for text in shown if "greenio._" in text]


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
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.args) == (str(error), error.args)


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
        import os, select, selectors, signal, socket, ssl, sys, threading, time
        thing = {thing}
        assert thing.__module__ in sys.modules
        print(repr(thing), thing.__module__)
        """
    )
    assert "greenio._" not in out


@pytest.mark.parametrize("module", ["convenience", "green.socket", "green.threading"])
def test_what_a_module_offers_is_of_modules_that_are_there(module):
    # Or `inspect` takes a class for one that is built in.
    out = run(
        f"""
        import inspect, sys
        import greenio.{module} as module
        things = [thing for thing in vars(module).values() if inspect.isclass(thing)]
        assert things
        if module.__name__.endswith("convenience"):
            with module.listen(("127.0.0.1", 0)) as sock:
                things.append(type(sock))
        print([thing for thing in things if inspect.getmodule(thing) is None])
        """
    )
    assert out.strip() == "[]"
