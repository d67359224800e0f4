"""`import eventlet` that means greenio.

One meta-path finder answers for `eventlet` and everything below. Its loader puts the
greenio module itself into `sys.modules`, so `eventlet.queue is greenio.queue`, its
classes are the same classes, and its ``__spec__`` stays greenio's.

Two modules are of their own. `eventlet.__version__` must be a version of eventlet,
because programs compare it, and `greenio.__version__` is greenio's own: so `eventlet`
has greenio's names, and `eventlet._version` the version of the interface.

The finder answers for ``__original_module_threading`` and the like, too, which programs
import to get at what eventlet has replaced.

No directory called ``eventlet`` is installed: a real eventlet stays importable until
a program asks for the alias. Processes that a program under ``python -m greenio`` starts
get it by `_site.sitecustomize`.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

# The version of eventlet whose interface greenio offers.
API_LEVEL = "0.41.3"
# If it is set, and not to 0, `import greenio` installs the alias.
VARIABLE = "GREENIO_AS_EVENTLET"

_ALIAS = "eventlet"
_PACKAGE = __name__.partition(".")[0]
_ORIGINAL = "__original_module_"


def install_as_eventlet() -> None:
    """Have ``import eventlet`` import greenio, from now on and in this process.

    `eventlet.__version__` and ``importlib.metadata.version("eventlet")`` are those of
    the eventlet whose interface this is. Calling it twice changes nothing.

    The environment variable GREENIO_AS_EVENTLET=1 has ``import greenio`` call it.

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


def hand_on_to_children() -> None:
    """Have the Python programs that this one starts know `eventlet` as well.

    By a directory on PYTHONPATH whose ``sitecustomize`` does it, beside whatever another
    one does that it hides.
    """
    directory = str(Path(__file__).parent / "_site")
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if directory not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [directory, *paths]))
    os.environ[VARIABLE] = "1"


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
        if isinstance(value, ModuleType):
            # As if it had been imported by this name.
            sys.modules.setdefault(f"{_ALIAS}.{name}", value)
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
        for name in ("_version", "patcher"):
            # oslo.log and others look for the patcher in `sys.modules`.
            namespace[name] = importlib.import_module(f"{_ALIAS}.{name}")


class _VersionLoader(importlib.abc.Loader):
    """Makes `eventlet._version`, of the eventlet whose interface this is."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        numbers = tuple(map(int, API_LEVEL.split(".")))
        vars(module).update(
            version=API_LEVEL,
            __version__=API_LEVEL,
            version_tuple=numbers,
            __version_tuple__=numbers,
            commit_id=None,
            __commit_id__=None,
        )


class _SameModuleLoader(importlib.abc.Loader):
    """Puts a module that exists, or can be made, into `sys.modules` by another name."""

    def __init__(self, find: Callable[[], ModuleType]) -> None:
        self._find = find

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        # Were it the greenio module, the import system would give it this spec.
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        sys.modules[name] = self._find()


def _is_imported() -> bool:
    """Whether the finder is asked by an import, and not by who just wants to know."""
    frame = sys._getframe(2).f_back
    while frame is not None and frame.f_code.co_filename.startswith(
        "<frozen importlib"
    ):
        if frame.f_code.co_name == "_find_and_load_unlocked":
            return True
        frame = frame.f_back
    return False


def _original(name: str) -> ModuleType:
    patcher: Any = importlib.import_module(f"{_PACKAGE}.patcher")
    return patcher.original(name.removeprefix(_ORIGINAL))  # type: ignore[no-any-return]


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
            return self._find_top()
        if fullname.startswith(f"{_ALIAS}."):
            return self._find_below(fullname)
        if fullname.startswith(_ORIGINAL):
            return self._find_original(fullname)
        return None

    def _find_top(self) -> importlib.machinery.ModuleSpec:
        package = importlib.import_module(_PACKAGE)
        spec = importlib.machinery.ModuleSpec(
            _ALIAS, _TopLoader(), origin=package.__file__, is_package=True
        )
        # For who goes through the modules of a package.
        spec.submodule_search_locations = list(package.__path__)
        spec.has_location = True
        return spec

    def _find_below(self, fullname: str) -> importlib.machinery.ModuleSpec | None:
        if fullname == f"{_ALIAS}._version":
            return importlib.machinery.ModuleSpec(fullname, _VersionLoader())
        name = _greenio_name(fullname)
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            spec = None
        if spec is None:
            if not _is_imported():
                return None
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: greenio, which stands in for eventlet "
                "here, has no such module",
                name=fullname,
            )
        found = importlib.machinery.ModuleSpec(
            fullname,
            _SameModuleLoader(lambda: importlib.import_module(name)),
            origin=spec.origin,
            is_package=spec.submodule_search_locations is not None,
        )
        if spec.submodule_search_locations is not None:
            found.submodule_search_locations = list(spec.submodule_search_locations)
        found.has_location = spec.has_location
        return found

    def _find_original(self, fullname: str) -> importlib.machinery.ModuleSpec | None:
        name = fullname.removeprefix(_ORIGINAL)
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            return None
        return importlib.machinery.ModuleSpec(
            fullname, _SameModuleLoader(lambda: _original(name))
        )

    def find_distributions(self, context: Any = None) -> Iterator[Any]:
        """What `importlib.metadata` asks every finder."""
        name = getattr(context, "name", None)
        if name is None or name.lower().replace("_", "-") == _ALIAS:
            yield _distribution()


def _distribution() -> Any:
    """The metadata of a distribution called eventlet."""
    # Not before somebody asks for it: it takes long to import.
    from importlib import metadata

    class Distribution(metadata.Distribution):
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

    return Distribution()
