"""Public modules whose settings a program changes by assigning to their names.

A public module is a facade, and what reads the setting lives elsewhere. An assignment
such as ``greenio.tpool.QUIET = False`` has to arrive there.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def setting(source: ModuleType, name: str) -> property:
    """Return what stands for a global of another module."""

    def get(_: ModuleType) -> Any:
        return getattr(source, name)

    def put(_: ModuleType, value: Any) -> None:
        setattr(source, name, value)

    return property(get, put)


def make_settable(facade: str, **settings: property) -> None:
    """Have some names of a public module be settings that are read elsewhere.

    Args:
        facade: The public module's name.
        **settings: What stands for each of the names.
    """

    def __dir__(self: ModuleType) -> list[str]:  # noqa: N807 - a method of the module
        return sorted({*vars(self), *settings})

    kind = type("module", (ModuleType,), {**settings, "__dir__": __dir__})
    sys.modules[facade].__class__ = kind
