"""Seeing to a module when the program imports it, if it ever does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

Then = Callable[[ModuleType], object]


def when_imported(name: str, then: Then) -> None:
    """Call a function with a module: now, or as soon as it has been imported.

    Args:
        name: The module's full name.
        then: The function. It is called before the statement that imports the module
            goes on; what it raises, that statement raises.
    """
    module = sys.modules.get(name)
    if module is not None:
        then(module)
    else:
        sys.meta_path.insert(0, _Finder(name, then))


# These are no subclasses of what `importlib.abc` has: until Python 3.13 that takes as long to
# import as a fifth of greenio.


class _Finder:
    """Finds what the other finders find, and has the loader call the function."""

    def __init__(self, name: str, then: Then) -> None:
        self.name = name
        self.then = then

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        # Those behind this one: several may wait for the same module.
        behind = sys.meta_path[sys.meta_path.index(self) + 1 :]
        for finder in behind:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    loader: Any = _Loader(spec.loader, self)
                    spec.loader = loader
                return spec
        return None


class _Loader:
    """Stands in for a loader until it has loaded the module."""

    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        # What it can do beside loading: `get_code`, `get_source`, resources.
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        self._finder.then(module)
