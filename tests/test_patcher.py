"""import_patched, inject and their relatives: modules over green modules."""

from __future__ import annotations

import importlib
import importlib.util
import socket
import sys
import textwrap
import time
import types
import urllib.error
import urllib.request

import pytest

import greenio
from greenio import patcher
from greenio.green import socket as green_socket
from greenio.green import time as green_time


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Returns a function that writes modules where they can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(**files):
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.parent != tmp_path:
                path.parent.joinpath("__init__.py").touch()
            path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


def overlaps(func):
    """Whether another green thread gets its turn while `func` runs."""
    turns = []

    def other():
        while True:
            turns.append(1)
            greenio.sleep(0)

    thread = greenio.spawn(other)
    greenio.sleep(0)
    turns.clear()
    func()
    thread.kill()
    return bool(turns)


def test_a_patched_module_is_green_and_the_plain_one_is_not(package, hub_name):
    package(napper="import time\n\ndef nap():\n    time.sleep(0.05)\n")
    napper = patcher.import_patched("napper")
    assert overlaps(napper.nap)
    assert "napper" not in sys.modules
    import napper as plain

    assert plain is not napper
    assert plain.time is time
    assert not overlaps(plain.nap)


def test_it_is_the_same_module_the_next_time(package):
    package(twice="import socket\n")
    first = patcher.import_patched("twice")
    assert patcher.import_patched("twice") is first
    assert first.socket is green_socket


def test_sys_modules_is_as_it_was(package):
    package(
        mine__outer="import socket, ssl, select, threading, urllib.request\n"
        "from . import inner\n",
        mine__inner="import time\n",
    )
    before = dict(sys.modules)
    patcher.import_patched("mine.outer")
    changed = {
        name
        for name in sys.modules
        if sys.modules[name] is not before.get(name) and not name.startswith("greenio")
    }
    # What it needed from elsewhere may be new, but nothing has changed its meaning.
    assert not {name for name in changed if name in before}
    assert not {name for name in changed if name.startswith("mine")}


def test_sys_modules_is_as_it_was_after_an_error(package):
    package(broken="import socket\nraise ValueError('broken module')\n")
    before = dict(sys.modules)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken module"):
            patcher.import_patched("broken")
    assert "broken" not in sys.modules
    assert sys.modules["socket"] is before["socket"]


def test_the_whole_package_comes_along(package, hub_name):
    package(
        whole__api="from .deep.down import nap\nfrom whole import sibling\n",
        whole__sibling="import time\n",
        whole__deep__down="import time\n\ndef nap():\n    time.sleep(0.05)\n",
    )
    (api := patcher.import_patched("whole.api"))
    assert overlaps(api.nap)
    assert api.sibling.time is green_time
    assert api.__name__ == "whole.api"
    assert not [name for name in sys.modules if name.startswith("whole")]


def test_submodules_are_attributes_of_the_patched_package(package):
    package(family__child="import time\n")
    family = patcher.import_patched("family")
    assert not hasattr(family, "child")
    child = patcher.import_patched("family.child")
    assert child.time is green_time
    assert family.child is child


def test_what_two_patched_modules_share_exists_once(package):
    package(
        common__one="from common import errors\n",
        common__two="from common import errors\n",
        common__errors="class CommonError(Exception): pass\n",
    )
    one = patcher.import_patched("common.one")
    two = patcher.import_patched("common.two")
    assert one.errors is two.errors


def test_imports_inside_functions_are_green(package, hub_name):
    package(
        lazy="def nap():\n    from time import sleep\n    sleep(0.05)\n",
    )
    lazy = patcher.import_patched("lazy")
    assert overlaps(lazy.nap)


def test_plain_python_that_is_new_is_imported_green(package):
    package(
        first="import helper\n",
        helper="import time\n",
    )
    first = patcher.import_patched("first")
    assert first.helper.time is green_time
    assert "helper" not in sys.modules


def test_what_is_imported_already_is_shared(package):
    package(second="import known\n", known="import time\n")
    import known

    assert patcher.import_patched("second").known is known


def test_additional_modules(package):
    package(extra="import time, socket\nimport json\n")
    fake_json, fake_time = types.ModuleType("json"), types.ModuleType("time")
    extra = patcher.import_patched("extra", ("json", fake_json), time=fake_time)
    assert extra.json is fake_json
    assert extra.time is fake_time
    assert extra.socket is green_socket
    # Made for these arguments, and not what others get.
    assert patcher.import_patched("extra") is not extra


def test_a_module_that_looks_itself_up(package):
    package(
        introspective="""
            from __future__ import annotations
            import dataclasses, enum, sys, typing

            this = sys.modules[__name__]

            @dataclasses.dataclass
            class Point:
                x: int
                y: typing.ClassVar[int] = 0

            enum.IntEnum._convert_("Kind", __name__, lambda name: name == "KIND_A")
            KIND_A = 1
        """
    )
    module = patcher.import_patched("introspective")
    assert module.this is module
    assert module.Point(3).x == 3
    assert list(module.Point.__dataclass_fields__) == ["x", "y"]


def test_star_imports_and_dotted_names(package):
    package(
        dotted="""
            import os.path as p
            import urllib.parse
            import urllib.request as request
            import http.client
            from http import HTTPStatus
            from socket import *
            import xml.etree.ElementTree as tree
            import concurrent.futures
        """
    )
    module = patcher.import_patched("dotted")
    assert module.socket is green_socket.GreenSocket
    assert module.AF_INET is socket.AF_INET
    assert module.p is sys.modules["os.path"]
    assert module.urllib.parse.urlsplit("http://a/").netloc == "a"
    assert module.request.__name__ == "greenio.green.urllib.request"
    assert module.http.client.__name__ == "greenio.green.http.client"
    assert module.HTTPStatus.OK == 200
    assert module.tree.__name__ == "xml.etree.ElementTree"


def test_a_standard_module_gives_its_green_counterpart():
    assert patcher.import_patched("urllib.request").__name__ == (
        "greenio.green.urllib.request"
    )
    robots = patcher.import_patched("urllib.robotparser")
    assert robots.urllib.request.__name__ == "greenio.green.urllib.request"
    assert "urllib.robotparser" not in sys.modules or (
        sys.modules["urllib.robotparser"] is not robots
    )


def test_a_module_whose_loader_only_executes(package, hub_name):
    package(rewritten="import time\n\ndef nap():\n    time.sleep(0.05)\n")
    pytest.register_assert_rewrite("rewritten")
    assert not hasattr(importlib.util.find_spec("rewritten").loader, "get_code")
    assert overlaps(patcher.import_patched("rewritten").nap)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("socket.nowhere", "No module named 'socket.nowhere'"),
        ("_socket", "_socket has no Python code"),
        ("math", "math has no Python code"),
    ],
)
def test_what_cannot_be_imported(name, message):
    with pytest.raises(ImportError, match=message):
        patcher.import_patched(name)


def test_an_import_that_fails_inside(package):
    package(hopeful="import not_there_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        patcher.import_patched("hopeful")


def test_inject_into_a_namespace(package):
    package(source="import time\n\ndef which():\n    return time\n")
    namespace = {"__name__": "elsewhere"}
    module = patcher.inject("source", namespace)
    assert namespace["which"]() is green_time
    assert module.which is namespace["which"]
    assert "source" not in sys.modules


def test_inject_with_modules(package):
    package(source2="import time\n")
    fake = types.ModuleType("time")
    assert patcher.inject("source2", None, ("time", fake)).time is fake


def test_patch_function():
    def importing():
        import socket
        import time

        return socket, time

    assert patcher.patch_function(importing)() == (green_socket, green_time)
    assert importing() == (socket, time)

    def failing():
        raise KeyError("inside")

    with pytest.raises(KeyError):
        patcher.patch_function(failing)()
    assert sys.modules["socket"] is socket

    fake = types.ModuleType("time")
    assert patcher.patch_function(importing, ("time", fake))() == (socket, fake)


def test_slurp_properties():
    source = types.ModuleType("source")
    source.one, source.two, source._three = 1, 2, 3
    destination = {}
    patcher.slurp_properties(source, destination, ignore=["two"])
    assert destination["one"] == 1
    assert destination["_three"] == 3
    assert "two" not in destination
    source.__all__ = ["two"]
    destination = {}
    patcher.slurp_properties(source, destination)
    assert destination == {"two": 2}
    patcher.slurp_properties(source, destination, srckeys=["one"])
    assert destination == {"one": 1, "two": 2}


def test_sys_modules_saver():
    saver = patcher.SysModulesSaver(["socket"])
    saver.save("surely_not_imported", "time")
    sys.modules["socket"] = sys.modules["surely_not_imported"] = types.ModuleType("x")
    # What is saved once is what is restored.
    saver.save("socket")
    saver.restore()
    assert sys.modules["socket"] is socket
    assert "surely_not_imported" not in sys.modules
    sys.modules["surely_not_imported"] = types.ModuleType("x")
    saver.restore()
    del sys.modules["surely_not_imported"]


def test_exceptions_are_the_standard_ones():
    import http.client
    import queue
    import subprocess

    from greenio.green import queue as green_queue
    from greenio.green import subprocess as green_subprocess
    from greenio.green.http import client as green_client
    from greenio.green.urllib import request as green_request

    assert green_client.HTTPException is http.client.HTTPException
    assert green_client.error is http.client.HTTPException
    assert green_client.RemoteDisconnected is http.client.RemoteDisconnected
    assert green_queue.Empty is queue.Empty
    assert green_queue.Full is queue.Full
    assert green_subprocess.TimeoutExpired is subprocess.TimeoutExpired
    with pytest.raises(urllib.error.URLError):
        green_request.urlopen("http://127.0.0.1:1/", timeout=5)


def test_green_modules_do_not_change_the_standard_ones():
    assert urllib.request.socket is socket
    assert socket.socket.__module__ == "socket"
    assert issubclass(green_socket.socket, socket.socket)
    assert time.sleep.__module__ == "time"
    assert green_socket.create_server is not socket.create_server
    assert green_socket.create_server.__globals__ is vars(green_socket)
    assert not greenio.patcher.is_monkey_patched("socket")


def test_what_is_no_package_has_no_submodules(package):
    package(plainmodule="")
    with pytest.raises(ModuleNotFoundError, match="'plainmodule' is not a package"):
        patcher.import_patched("plainmodule.nowhere")
