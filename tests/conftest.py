"""Fixtures that every test module may use.

Each test begins without a hub in the main thread and must leave nothing behind: no
green thread in the run queue, no registered descriptor, no timer and no waiter.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib.util
import os
import signal

import pytest
from hypothesis import settings

from _fresh import program as program
from _groups import block as block
from _sockets import ends as ends
from _sockets import everywhere as everywhere
from _sockets import pair as pair
from _sockets import tcp as tcp
from _support import (
    Cast,
    Sequencer,
    Ticker,
    VirtualLoop,
    end_hub,
    factory_of,
    run_on_loop,
)
from _tls import certificates as certificates
from _tls import tls_pair as tls_pair
from greenio import hubs
from greenio._kernel.current import existing_hub

LOOPS = ("asyncio", "uvloop")

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=600)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE")
    or ("ci" if os.environ.get("CI") else "default")
)


def pytest_addoption(parser):
    parser.addoption(
        "--loop",
        choices=LOOPS,
        help="run what is tested on each kind of loop on this one only",
    )


def pytest_collection_modifyitems(config, items):
    chosen = config.getoption("--loop")
    # Whoever wants the long ones asks for them: `-m stress`.
    stress = "stress" in config.getoption("-m")
    kept, others = [], []
    for item in items:
        loop = item.callspec.params.get("loop") if hasattr(item, "callspec") else None
        wanted = chosen is None or loop in (None, chosen)
        if not stress and item.get_closest_marker("stress"):
            wanted = False
        (kept if wanted else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
    items[:] = kept


def pytest_configure():
    """Have the programs that tests start and interrupt notice it.

    A shell starts what runs in its background with SIGINT ignored, which is inherited.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _Watchdog.file = os.dup(2)


class _Watchdog:
    """End the run, and say where it was, if a test hangs where no signal is looked at.

    The time limit of pytest-timeout, which is shorter, lets the run go on, but it is a
    Python signal handler: what waits in C for a lock never gets to it.
    """

    file = 2
    seconds = 300

    @classmethod
    def restart(cls) -> None:
        faulthandler.dump_traceback_later(cls.seconds, exit=True, file=cls.file)


def pytest_runtest_logstart():
    _Watchdog.restart()


def pytest_sessionfinish():
    """Have the end of the interpreter watched, too."""
    _Watchdog.restart()


def pytest_collection_finish():
    """Leave what is there already out of the searches for what a test leaves behind.

    Closing a hub and `nothing_left` look through all objects that the garbage collector
    knows, a few hundred thousand of which are pytest's.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left(request):
    """Close the main thread's own hub after the test, and check what is left."""
    yield
    end_hub()


@pytest.fixture(params=LOOPS)
def loop(request):
    """The kind of event loop, for a test that starts programs: it runs once on each."""
    if request.param == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    return request.param


@pytest.fixture
def hub_name(loop, nothing_left):
    """The kind of event loop: the test runs once on each, on a hub of its own."""
    # Fixtures that wait, or end threads, ask for this one, so that they come later.
    assert existing_hub() is None
    hubs.use_hub(loop)
    yield loop
    end_hub()
    hubs.use_hub()


@pytest.fixture
def loop_factory(hub_name):
    """A function that makes a loop of the kind `hub_name`."""
    return factory_of(hub_name)


@pytest.fixture
def run_async(loop_factory):
    """Run a coroutine function on a new loop of the kind `hub_name`.

    greenio attaches to that loop, which must be left without traces too.
    """
    return lambda main: run_on_loop(loop_factory, main)


@pytest.fixture
def virtual_loop(nothing_left):
    """The main thread's hub runs on a clock that jumps; returns the loop."""
    hubs.use_hub(VirtualLoop)
    yield hubs.get_hub().loop
    end_hub()
    hubs.use_hub()


@pytest.fixture
def cast(loop_factory):
    """Starts actors of any kind: green threads, coroutines, OS threads, other loops."""
    company = Cast(loop_factory)
    yield company
    company.close()


@pytest.fixture
def sequencer():
    """Green threads take numbered turns: ``with sequencer(2):`` comes after 1."""
    return Sequencer()


@pytest.fixture
def ticker(hub_name):
    """Another green thread, which must get turns while the test waits."""
    with Ticker() as running:
        yield running
    # Once when somebody yielded, and again while that one waited.
    assert running.ticks >= 2
