"""Making the standard library green: for everybody, or for one module."""

from __future__ import annotations

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from types import ModuleType as _ModuleType
from typing import TypeAlias as _TypeAlias

from ._greenthread.holding_up import blocking_in_loop as blocking_in_loop
from ._patch.imports import SysModulesSaver as SysModulesSaver
from ._patch.imports import import_patched as import_patched
from ._patch.imports import inject as inject
from ._patch.imports import patch_function as patch_function
from ._patch.imports import slurp_properties as slurp_properties
from ._patch.monkey import already_patched as already_patched
from ._patch.monkey import is_monkey_patched as is_monkey_patched
from ._patch.monkey import monkey_patch as monkey_patch
from ._patch.original_modules import original as original
from ._patch.plans import GREEN as _GREEN
from ._patch.report import report as report
from ._std.public_names import claim

_Pairs: _TypeAlias = list[tuple[str, _ModuleType]]

__all__ = [
    "SysModulesSaver",
    "already_patched",
    "blocking_in_loop",
    "import_patched",
    "inject",
    "is_monkey_patched",
    "monkey_patch",
    "original",
    "patch_function",
    "report",
    "slurp_properties",
]

claim(globals())


# What is replaced where, as eventlet tells it: (standard module, green module), whose
# `__patched__` are the names. Programs put `original(name)`'s back by it.


def _green_os_modules() -> _Pairs:
    return _pairs("os", "signal")


def _green_select_modules() -> _Pairs:
    return _pairs("select", "selectors")


def _green_socket_modules() -> _Pairs:
    return _pairs("socket", "ssl")


def _green_subprocess_modules() -> _Pairs:
    return _pairs("subprocess")


def _green_thread_modules() -> _Pairs:
    return _pairs("queue", "_thread", "threading")


def _green_time_modules() -> _Pairs:
    return _pairs("time")


def _green_MySQLdb() -> _Pairs:  # noqa: N802 - eventlet's name
    if _find_spec("MySQLdb") is None:
        return []
    return [("MySQLdb", _import_module("greenio.green.MySQLdb"))]


def _green_builtins() -> _Pairs:
    return [("builtins", _import_module("greenio.green.builtin"))]


def _pairs(*names: str) -> _Pairs:
    return [(name, _import_module(f"greenio.green.{_GREEN[name]}")) for name in names]
