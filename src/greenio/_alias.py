"""`import eventlet` that means greenio.

One meta-path finder answers for `eventlet` and everything below. Its loader puts the
greenio module itself into `sys.modules`, so `eventlet.queue is greenio.queue`, its
classes are the same classes, and its ``__spec__`` stays greenio's.

The top-level module is the exception: `eventlet.__version__` must be a version of
eventlet, because programs compare it, and `greenio.__version__` is greenio's own. So
`eventlet` is a module of its own that has greenio's names.

No directory called ``eventlet`` is installed: a real eventlet stays importable until
a program asks for the alias.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

# The version of eventlet whose interface greenio offers.
API_LEVEL = "0.41.3"

_ALIAS = "eventlet"
_PACKAGE = __name__.partition(".")[0]


def install_as_eventlet() -> None:
    """Have ``import eventlet`` import greenio, from now on and in this process.

    `eventlet.__version__` and ``importlib.metadata.version("eventlet")`` are those of
    the eventlet whose interface this is. Calling it twice changes nothing.

    Raises:
        RuntimeError: The real eventlet has been imported already.
    """
    known = sys.modules.get(_ALIAS)
    if known is not None and not isinstance(known, _Eventlet):
        raise RuntimeError(
            "the real eventlet has been imported already, from "
            f"{getattr(known, '__file__', None) or 'somewhere'}; "
            "call greenio.install_as_eventlet() before anything imports eventlet, or "
            "run the program with `python -m greenio`"
        )
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


install_as_eventlet.__module__ = _PACKAGE


class _Eventlet(ModuleType):
    """The module `eventlet`: greenio's names under eventlet's version."""

    def __getattr__(self, name: str) -> Any:
        # What greenio loads when it is first asked for.
        try:
            value = getattr(importlib.import_module(_PACKAGE), name)
        except AttributeError:
            raise AttributeError(
                f"module {_ALIAS!r} has no attribute {name!r}"
            ) from None
        self.__dict__[name] = value
        return value

    def __dir__(self) -> Iterable[str]:
        return sorted({*self.__dict__, *dir(importlib.import_module(_PACKAGE))})


class _TopLoader(importlib.abc.Loader):
    """Makes the module `eventlet`."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Eventlet(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        package = importlib.import_module(_PACKAGE)
        namespace = vars(module)
        for name, value in vars(package).items():
            if not name.startswith("__"):
                namespace[name] = value
        namespace["__all__"] = [
            name for name in package.__all__ if not name.startswith("__")
        ]
        namespace["__doc__"] = package.__doc__
        namespace["__version__"] = API_LEVEL
        namespace["version_info"] = tuple(map(int, API_LEVEL.split(".")))


class _SameModuleLoader(importlib.abc.Loader):
    """Puts a module that exists under another name into `sys.modules`."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        # Were it the greenio module, the import system would give it this spec.
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        sys.modules[name] = importlib.import_module(_greenio_name(name))


def _greenio_name(name: str) -> str:
    return _PACKAGE + name[len(_ALIAS) :]


class _Finder(importlib.abc.MetaPathFinder):
    """Answers for `eventlet` and its submodules, and for its metadata."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == _ALIAS:
            return importlib.machinery.ModuleSpec(
                fullname, _TopLoader(), is_package=True
            )
        if not fullname.startswith(f"{_ALIAS}."):
            return None
        try:
            spec = importlib.util.find_spec(_greenio_name(fullname))
        except ModuleNotFoundError:
            spec = None
        if spec is None:
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: greenio, which stands in for eventlet "
                "here, has no such module",
                name=fullname,
            )
        return importlib.machinery.ModuleSpec(
            fullname,
            _SameModuleLoader(),
            origin=spec.origin,
            is_package=spec.submodule_search_locations is not None,
        )

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterator[importlib.metadata.Distribution]:
        """What `importlib.metadata` asks every finder."""
        if context is not None and context.name == _ALIAS:
            yield _Distribution()


class _Distribution(importlib.metadata.Distribution):
    """The metadata of a distribution called eventlet."""

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return (
            "Metadata-Version: 2.1\n"
            f"Name: {_ALIAS}\n"
            f"Version: {API_LEVEL}\n"
            f"Summary: The interface of {_ALIAS}, provided by {_PACKAGE}\n"
        )

    def locate_file(self, path: Any) -> Path:
        return Path(__file__).parent.joinpath(path)
