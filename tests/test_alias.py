"""install_as_eventlet: `import eventlet` that means greenio."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from _fresh import environment, run

# Each starts interpreters.
pytestmark = pytest.mark.slow


def test_modules_are_the_very_same():
    out = run("""
        import greenio
        greenio.install_as_eventlet()

        import eventlet
        import eventlet.queue
        import eventlet.green.urllib.request
        import eventlet.hubs as hubs
        from eventlet import greenpool, event
        from eventlet.green import socket, time
        from eventlet.green.http import client
        from eventlet.timeout import Timeout
        import importlib, sys
        import greenio.green.urllib.request, greenio.green.http.client
        import greenio.queue, greenio.greenpool, greenio.event

        assert eventlet.queue is greenio.queue is sys.modules["eventlet.queue"]
        assert greenpool is greenio.greenpool and event is greenio.event
        assert hubs is greenio.hubs
        assert socket is greenio.green.socket and time is greenio.green.time
        assert client is greenio.green.http.client
        request = eventlet.green.urllib.request
        assert request is greenio.green.urllib.request
        assert Timeout is greenio.Timeout is eventlet.Timeout
        assert importlib.import_module("eventlet.semaphore") is greenio.semaphore
        # They still know who they are.
        assert greenio.queue.__spec__.name == greenio.queue.__name__ == "greenio.queue"
        assert greenio.green.__spec__.name == "greenio.green"
        assert greenio.queue.__spec__.loader.__class__.__name__ == "SourceFileLoader"
        importlib.reload(greenio.event)
        print("same")
    """)
    assert out == "same\n"


def test_the_top_level_names_are_greenios():
    out = run("""
        import greenio
        greenio.install_as_eventlet()
        import eventlet
        from eventlet import GreenPool, spawn, listen
        from eventlet import *
        for name in ("spawn", "sleep", "GreenPool", "Queue", "Timeout", "monkey_patch",
                     "wrap_ssl", "StopServe", "spawn_after", "greenthread", "patcher"):
            assert getattr(eventlet, name) is getattr(greenio, name), name
        assert spawn_after is greenio.spawn_after
        assert "GreenPile" in dir(eventlet)
        assert eventlet.__name__ == "eventlet" and eventlet.__spec__.name == "eventlet"
        try:
            eventlet.no_such_name
        except AttributeError as error:
            print(error)
        print(eventlet.spawn(lambda: 3).wait())
    """)
    assert out == "module 'eventlet' has no attribute 'no_such_name'\n3\n"


def test_versions():
    out = run("""
        import greenio, importlib.metadata as metadata
        own = greenio.__version__
        greenio.install_as_eventlet()
        import eventlet
        assert greenio.__version__ == own
        print(eventlet.__version__, eventlet.version_info, metadata.version("eventlet"))
        print(metadata.metadata("eventlet")["Name"])
        assert metadata.version("pytest")
        assert own != eventlet.__version__
        try:
            metadata.version("surely-not-installed")
        except metadata.PackageNotFoundError:
            print("not found")
    """)
    assert out == "0.41.3 (0, 41, 3) 0.41.3\neventlet\nnot found\n"


def test_it_is_not_imported_before_somebody_does():
    """kombu and others ask sys.modules whether the program uses eventlet."""
    out = run("""
        import sys, greenio
        greenio.install_as_eventlet()
        print("eventlet" in sys.modules)
        import eventlet
        print("eventlet" in sys.modules)
    """)
    assert out == "False\nTrue\n"


def test_twice_is_harmless():
    out = run("""
        import sys, greenio
        greenio.install_as_eventlet()
        import eventlet
        finders = list(sys.meta_path)
        greenio.install_as_eventlet()
        assert sys.meta_path == finders
        import eventlet as again
        print(again is eventlet)
    """)
    assert out == "True\n"


def test_what_greenio_does_not_have():
    out = run("""
        import greenio
        greenio.install_as_eventlet()
        for name in ("eventlet.nowhere", "eventlet.green.nowhere", "eventlet.queue.x"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                assert error.name == name, (name, error.name)
                print(error)
        try:
            from eventlet import nothing
        except ImportError as error:
            print("ImportError")
        import importlib.util
        print(importlib.util.find_spec("eventlet.queue").name)
    """)
    lines = out.splitlines()
    assert lines[0] == (
        "No module named 'eventlet.nowhere': greenio, which stands in for eventlet "
        "here, has no such module"
    )
    assert lines[1].startswith("No module named 'eventlet.green.nowhere'")
    assert lines[2].startswith("No module named 'eventlet.queue.x'")
    assert lines[3:] == ["ImportError", "greenio.queue"]


def test_a_replaced_name_is_replaced_for_eventlets_users():
    """As mock.patch("eventlet.sleep") does."""
    out = run("""
        import greenio
        greenio.install_as_eventlet()
        from unittest import mock
        import eventlet
        with mock.patch("eventlet.sleep") as sleep, mock.patch("eventlet.Queue", 1):
            eventlet.sleep(7)
            assert eventlet.Queue == 1
        sleep.assert_called_once_with(7)
        assert eventlet.sleep is greenio.sleep and eventlet.Queue is greenio.Queue
        print("ok")
    """)
    assert out == "ok\n"


def test_the_real_one_came_first(tmp_path):
    (tmp_path / "eventlet.py").write_text("__version__ = 'real'\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import eventlet, greenio\n"
                "try:\n"
                "    greenio.install_as_eventlet()\n"
                "except RuntimeError as error:\n"
                "    print(error)\n"
                "print(eventlet.__version__)"
            ),
        ],
        env=environment(PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}"),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    message, version = done.stdout.splitlines()
    assert message.startswith("the real eventlet has been imported already, from")
    assert "greenio.install_as_eventlet() before anything imports eventlet" in message
    assert version == "real"


def test_a_real_one_on_disk_is_not_shadowed_unasked(tmp_path):
    (tmp_path / "eventlet.py").write_text("real = True\n")
    program = (
        "import greenio, greenio.patcher, greenio.green.socket, eventlet\n"
        "print(eventlet.real)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}"),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "True\n"


@pytest.mark.skipif(
    importlib.util.find_spec("eventlet") is None, reason="eventlet is not installed"
)
def test_the_alias_wins_over_an_installed_eventlet():
    out = run("""
        import greenio
        greenio.install_as_eventlet()
        import eventlet, eventlet.green.socket
        print(eventlet.spawn is greenio.spawn, eventlet.green.socket.__name__)
    """)
    assert out == "True greenio.green.socket\n"


def test_find_spec_tells_what_can_be_imported():
    out = run("""
        import importlib.util, pkgutil, sys
        import greenio
        greenio.install_as_eventlet()
        find = importlib.util.find_spec
        spec = find("eventlet")
        assert "eventlet" not in sys.modules
        assert spec.name == "eventlet" and spec.origin == greenio.__file__
        assert find("eventlet.green.socket").origin.endswith("green/socket.py")
        assert find("eventlet.hubs.epolls") and find("eventlet._version")
        # Found, and it says why when it is imported.
        assert find("eventlet.zipkin")
        for name in ("eventlet.nowhere", "eventlet.green.nowhere"):
            assert find(name) is None
        try:
            find("eventlet.nowhere.at_all")
        except ModuleNotFoundError:
            pass
        import eventlet
        assert find("eventlet") is eventlet.__spec__
        assert eventlet.__file__ == greenio.__file__
        names = [info.name for info in pkgutil.iter_modules(eventlet.__path__, "eventlet.")]
        assert "eventlet.greenpool" in names
        print("found")
    """)
    assert out == "found\n"


def test_what_is_reachable():
    out = run("""
        import greenio
        greenio.install_as_eventlet()
        import eventlet
        # eventlet has imported these, and by names below them others.
        for path in (
            "convenience", "event", "green.os", "green.select", "green.socket",
            "green.ssl", "green.time", "greenio.base", "greenio.py3", "greenpool",
            "greenthread", "hubs.epolls", "hubs.hub", "hubs.kqueue", "hubs.poll",
            "hubs.selects", "hubs.timer", "patcher", "queue", "semaphore", "support",
            "support.greendns", "support.greenlets", "timeout", "_version", "wsgi",
            "tpool", "green.threading", "green.Queue",
        ):
            thing = eventlet
            for part in path.split("."):
                thing = getattr(thing, part)
        from eventlet import EventletDeprecationWarning
        assert issubclass(EventletDeprecationWarning, Warning)
        for name in ("nowhere", "MySQLdb"):
            assert not hasattr(eventlet.green, name)
        assert "socket" in dir(eventlet.green)
        print("reached")
    """)
    assert out == "reached\n"


def test_the_version_of_the_interface():
    out = run("""
        import importlib.metadata as metadata
        import greenio
        greenio.install_as_eventlet()
        from eventlet import _version
        import eventlet
        assert eventlet._version is _version
        print(_version.version, _version.version_tuple)
        assert greenio._version.__version__ == greenio.__version__
        assert metadata.version("Eventlet") == metadata.version("eventlet") == "0.41.3"
        assert metadata.distribution("eventlet").requires is None
        names = {found.metadata["Name"] for found in metadata.distributions()}
        assert {"eventlet", "pytest"} <= names
    """)
    assert out == "0.41.3 (0, 41, 3)\n"


def test_original_modules_without_a_patch():
    out = run("""
        import greenio
        greenio.install_as_eventlet()
        import __original_module_threading as original
        import __original_module_subprocess
        import threading, sys
        from eventlet import patcher
        assert original is patcher.original("threading")
        assert original is sys.modules["__original_module_threading"]
        assert original is not threading and original.Lock is threading.Lock
        try:
            import __original_module_nowhere
        except ModuleNotFoundError as error:
            print(error.name)
    """)
    assert out == "__original_module_nowhere\n"


@pytest.mark.parametrize(
    ("value", "installed"), [("1", True), ("0", False), ("", False)]
)
def test_by_the_environment(value, installed):
    """One line in a settings module: `import greenio`."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import greenio, importlib.util\n"
                "spec = importlib.util.find_spec('eventlet')\n"
                "print(bool(spec) and spec.origin == greenio.__file__)"
            ),
        ],
        env=environment(GREENIO_AS_EVENTLET=value),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == f"{installed}\n"


def test_by_the_environment_after_the_real_one(tmp_path):
    (tmp_path / "eventlet.py").write_text("__version__ = 'real'\n")
    done = subprocess.run(
        [sys.executable, "-c", "import eventlet, greenio"],
        env=environment(
            PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}",
            GREENIO_AS_EVENTLET="1",
        ),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "the real eventlet has been imported already" in done.stderr


def test_who_looks_for_modules_in_sys_modules_finds_them():
    """oslo.log asks there whether threads are patched."""
    out = run("""
        import greenio
        greenio.install_as_eventlet()
        import eventlet, sys
        import greenio.patcher
        assert sys.modules["eventlet.patcher"] is greenio.patcher is eventlet.patcher
        # Those that are loaded when they are asked for are there from then on.
        from eventlet import greenpool
        assert sys.modules["eventlet.greenpool"] is greenpool
        assert greenpool.__name__ == greenpool.__spec__.name == "greenio.greenpool"
        import eventlet.greenpool
        assert eventlet.greenpool is greenpool
        print("there")
    """)
    assert out == "there\n"
