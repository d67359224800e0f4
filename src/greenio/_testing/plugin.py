"""The pytest plugin: test functions that run in a green thread, on a fresh hub each.

It does nothing to a test that does not ask for it, by the marker ``greenio`` or by the
setting ``greenio_mode = auto``. The hub is there from the first fixture of the test to the
last, so fixtures may make green calls; they run in the main greenlet, the test function in
a green thread. Coroutine functions are left to the plugins for them.
"""

from __future__ import annotations

import importlib.util
import inspect
import unittest
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from .._debug.monitor import Blocking, monitor
from .._kernel.hub import Hub
from .clock import VirtualClockLoop
from .sequencer import Sequencer
from .session import TestHub

LOOPS = ("asyncio", "uvloop")
_OF_OTHERS = ("asyncio", "anyio", "trio")
_key = pytest.StashKey[TestHub]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the settings."""
    group = parser.getgroup("greenio")
    choices = (*LOOPS, "all")
    group.addoption(
        "--greenio-loop",
        choices=choices,
        help="the kind of loop for tests in green threads, or all: each test on each",
    )
    parser.addini(
        "greenio_mode",
        "strict: tests marked with greenio run in green threads; auto: all plain ones do",
        default="strict",
    )
    parser.addini("greenio_loop", f"one of {', '.join(choices)}", default="asyncio")
    parser.addini(
        "greenio_no_leaks",
        "whether green threads, tasks, descriptors or timers that are left fail their test",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker is, and look at the settings."""
    config.addinivalue_line(
        "markers",
        "greenio(loop=None): run the test in a green thread on a fresh hub; loop is "
        "'asyncio', 'uvloop' or 'all'",
    )
    mode = config.getini("greenio_mode")
    if mode not in ("strict", "auto"):
        raise pytest.UsageError(f"greenio_mode is strict or auto, not {mode!r}")
    _check_loop(config.getini("greenio_loop"), "greenio_loop")


def _check_loop(loop: Any, where: str) -> str:
    if loop not in (*LOOPS, "all"):
        raise pytest.UsageError(f"{where} is asyncio, uvloop or all, not {loop!r}")
    return str(loop)


def _is_green(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    if isinstance(getattr(item, "cls", None), type) and issubclass(
        item.cls, unittest.TestCase
    ):
        return False
    is_async = inspect.iscoroutinefunction(item.obj) or inspect.isasyncgenfunction(
        item.obj
    )
    if item.get_closest_marker("greenio") is not None:
        if is_async:
            raise pytest.UsageError(
                f"{item.nodeid} is a coroutine function: the marker greenio is for plain "
                "functions; use pytest.mark.asyncio or pytest.mark.anyio"
            )
        return True
    if item.config.getini("greenio_mode") != "auto" or is_async:
        return False
    return not any(item.get_closest_marker(name) for name in _OF_OTHERS)


def _loops_of(item: pytest.Item) -> tuple[str, ...]:
    marker = item.get_closest_marker("greenio")
    chosen = marker.kwargs.get("loop") if marker is not None else None
    if chosen is not None:
        _check_loop(chosen, "the loop of the marker greenio")
    else:
        config = item.config
        chosen = config.getoption("greenio_loop") or config.getini("greenio_loop")
    return LOOPS if chosen == "all" else (str(chosen),)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test once on each kind of loop, where that is asked for."""
    item = metafunc.definition
    if "virtual_clock" in metafunc.fixturenames or not _is_green(item):
        return
    loops = _loops_of(item)
    if len(loops) > 1:
        metafunc.fixturenames.append("greenio_loop")
        metafunc.parametrize("greenio_loop", loops, indirect=True)


def _loop_for(item: pytest.Function) -> Any:
    if "virtual_clock" in item.fixturenames:
        return VirtualClockLoop
    callspec = getattr(item, "callspec", None)
    loop = callspec.params.get("greenio_loop") if callspec is not None else None
    return loop or _loops_of(item)[0]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Make the hub, before any fixture."""
    if not _is_green(item):
        return
    assert isinstance(item, pytest.Function)
    loop = _loop_for(item)
    if loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    hub = item.stash[_key] = TestHub(loop)
    if item.config.getini("greenio_no_leaks") or "no_leaks" in item.fixturenames:
        hub.expect_no_leaks()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Call the test function in a green thread."""
    __tracebackhide__ = True
    hub = pyfuncitem.stash.get(_key, None)
    if hub is None:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    hub.run(pyfuncitem.obj, **{name: pyfuncitem.funcargs[name] for name in names})
    _fail_for_unseen(hub.take_unseen())
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """End the hub, after the last fixture."""
    try:
        return (yield)
    finally:
        hub = item.stash.get(_key, None)
        if hub is not None:
            del item.stash[_key]
            _finish(hub)


def _fail_for_unseen(failed: str) -> None:
    # Not hidden: of a failure with no frame to show, pytest says so below it.
    if failed:
        pytest.fail(f"failed while nobody waited for it:\n{failed}", pytrace=False)


def _finish(hub: TestHub) -> None:
    __tracebackhide__ = True
    try:
        failed = hub.take_unseen()
        leaks = hub.leaks()
    finally:
        hub.close()
    _fail_for_unseen(failed)
    if leaks:
        pytest.fail(f"left behind by the test:\n{leaks}", pytrace=False)


def _hub_of(request: pytest.FixtureRequest, fixture: str) -> TestHub:
    hub: TestHub | None = request.node.stash.get(_key, None)
    if hub is None:
        raise pytest.UsageError(
            f"the fixture {fixture} is for tests in green threads: mark "
            f"{request.node.name} with pytest.mark.greenio"
        )
    return hub


@pytest.fixture
def greenio_loop(request: pytest.FixtureRequest) -> str:
    """The kind of loop that the test runs on: ``"asyncio"`` or ``"uvloop"``."""
    given = getattr(request, "param", None)
    return str(given) if given is not None else _loops_of(request.node)[0]


@pytest.fixture
def hub(request: pytest.FixtureRequest) -> Hub:
    """The hub of the test."""
    return _hub_of(request, "hub").hub


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> VirtualClockLoop:
    """The loop of the test, whose clock jumps when everybody waits."""
    loop = _hub_of(request, "virtual_clock").hub.loop
    assert isinstance(loop, VirtualClockLoop)
    return loop


@pytest.fixture
def sequencer() -> Sequencer:
    """Numbered turns; see `Sequencer`."""
    return Sequencer()


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> None:
    """Have what the test and its fixtures leave behind fail the test."""
    _hub_of(request, "no_leaks")


@pytest.fixture
def unseen_failures(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What failed while nobody waited; a test that expects it clears the list."""
    return _hub_of(request, "unseen_failures").unseen


@pytest.fixture
def no_blocking(request: pytest.FixtureRequest) -> Iterator[list[Blocking]]:
    """Have it fail the test if somebody keeps the loop from going on.

    The limit is a tenth of a second; ``@pytest.mark.parametrize("no_blocking", [0.5],
    indirect=True)`` sets another.
    """
    _hub_of(request, "no_blocking")
    seen: list[Blocking] = []
    with monitor(getattr(request, "param", 0.1), report=seen.append):
        yield seen
    if seen:
        text = "\n".join(str(blocking) for blocking in seen)
        pytest.fail(f"the loop was blocked:\n{text}", pytrace=False)
