"""Making the standard library green: for everybody, or for one module."""

from __future__ import annotations

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
from ._patch.report import report as report
from ._std.public_names import claim

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
