"""Looking at the interpreter and at what is installed."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata

import greenlet

from .._loop.loops import loop_factory
from .._std.errors import HubError
from .findings import Finding

_OLDEST_GREENLET = (3, 1)
_OLDEST_UVLOOP = (0, 20)
# This project's name among distributions, and the name that another project has.
_OURS, _ANOTHERS = "greenio-asyncio", "greenio"


def check() -> Iterator[Finding]:
    """Find what is wrong with the installation."""
    yield from _check_python()
    yield from check_greenlet(greenlet.__version__)
    yield from check_uvloop(version_of("uvloop"))
    yield from check_hub()
    yield from check_distributions()


def version_of(distribution: str) -> str | None:
    """Return the version of a distribution; None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _check_python() -> Iterator[Finding]:
    implementation = platform.python_implementation()
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)
    yield from check_python(implementation, has_gil())


def check_python(implementation: str, has_gil: bool) -> Iterator[Finding]:
    """Look at the interpreter."""
    if implementation != "CPython":
        yield Finding(
            "python",
            implementation,
            "greenio is made for CPython, and tested on nothing else",
            "use CPython 3.10 to 3.15",
        )
    if not has_gil:
        yield Finding(
            "python",
            sys.executable,
            "it runs without the interpreter lock, where greenio is an experiment",
            "use the ordinary build, or start it with PYTHON_GIL=1",
        )


def check_greenlet(
    version: str, with_contexts: bool | None = None
) -> Iterator[Finding]:
    """Look at greenlet."""
    if with_contexts is None:
        with_contexts = getattr(greenlet, "GREENLET_USE_CONTEXT_VARS", False)
    if _numbers(version) < _OLDEST_GREENLET:
        yield Finding(
            "greenlet",
            f"greenlet {version}",
            "it is older than 3.1",
            "pip install --upgrade greenlet",
        )
    elif not with_contexts:
        yield Finding(
            "greenlet",
            f"greenlet {version}",
            "it was built without context variables",
            "pip install --force-reinstall greenlet",
        )


def check_uvloop(version: str | None) -> Iterator[Finding]:
    """Look at uvloop, which need not be there."""
    if version is not None and _numbers(version) < _OLDEST_UVLOOP:
        yield Finding(
            "uvloop",
            f"uvloop {version}",
            "it is older than 0.20",
            "pip install --upgrade uvloop",
        )


def check_hub() -> Iterator[Finding]:
    """Look whether the loop that the environment asks for can be made."""
    try:
        loop_factory()
    except HubError as exc:
        name = next(name for name in _HUB_VARIABLES if os.environ.get(name))
        yield Finding(
            "hub",
            f"{name}={os.environ[name]}",
            str(exc),
            "set it to asyncio or uvloop, and install what that needs",
        )


_HUB_VARIABLES = ("GREENIO_HUB", "EVENTLET_HUB")


def check_distributions() -> Iterator[Finding]:
    """Look for another project that has put its files in the place of these."""
    other = version_of(_ANOTHERS)
    if other is not None:
        yield Finding(
            "another-greenio",
            f"greenio {other}",
            "it is another project whose package has the same name, so each of the two "
            "has written over the other's files",
            f"pip uninstall greenio; pip install --force-reinstall {_OURS}",
        )
