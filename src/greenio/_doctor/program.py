"""What a child process finds with the program in it, which it imports or runs."""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import json
import runpy
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._alias import install_as_eventlet
from .._greenthread.holding_up import places_held_up
from .._patch import monkey
from .._patch.existing import is_left_alone
from .._patch.provisional import patch_provisionally
from .._patch.report import all_leftovers, loaded_libraries

# Modules whose own loops and threads are no business of the program's.
_NOT_THE_PROGRAMS = {"_distutils_hack", "sitecustomize", "usercustomize"}


class Inspection:
    """A program that is being imported or run, and what is seen of it.

    Args:
        name: The script or the module.
        is_module: Whether it is a module.
        runs: Whether it is run, and not just imported.
        patched: Whether it begins patched, as under ``python -m greenio``.
    """

    def __init__(self, name: str, is_module: bool, runs: bool, patched: bool) -> None:
        self._name = name
        self._is_module = is_module
        self._runs = runs
        self._patched = patched
        self._before = set(sys.modules)
        # What the program had imported when it patched.
        self.early: list[str] = []
        self.error: str | None = None

    def go(self) -> None:
        """Import it or run it."""
        install_as_eventlet()
        if self._patched:
            patch_provisionally()
        else:
            monkey.before_first = self._note_early
        self._before = set(sys.modules)
        try:
            self._start()
        except SystemExit as exc:
            if not self._runs:
                self.error = f"SystemExit: {exc.code}"
            else:
                raise
        except BaseException as exc:  # noqa: BLE001 - it is the program's
            traceback.print_exc()
            self.error = f"{type(exc).__name__}: {exc}"

    def _start(self) -> None:
        if self._is_module:
            if self._runs:
                runpy.run_module(self._name, run_name="__main__", alter_sys=True)
            else:
                importlib.import_module(self._name)
        elif self._runs:
            runpy.run_path(self._name, run_name="__main__")
        else:
            _import_file(self._name)

    def _note_early(self) -> None:
        new = [name for name in sys.modules if name not in self._before]
        self.early = sorted({name.partition(".")[0] for name in filter(_counts, new)})

    def result(self) -> dict[str, Any]:
        """Return everything that was seen, for JSON."""
        callback = True
        psycopg2: Any = sys.modules.get("psycopg2.extensions")
        if psycopg2 is not None:
            with suppress(AttributeError):
                callback = psycopg2.get_wait_callback() is not None
        patched = list(monkey.already_patched)
        leftovers = list(all_leftovers()) if patched else []
        return {
            "error": self.error,
            "patched": patched,
            "early": self.early,
            "leftovers": [(each.where, each.why) for each in leftovers],
            "libraries": [name for name, _ in loaded_libraries()],
            "psycopg2_waits": not callback,
            "held_up": places_held_up(),
        }


def _counts(name: str) -> bool:
    """Whether it matters that a module was imported before the patch."""
    top = name.partition(".")[0]
    return not (
        top in sys.stdlib_module_names
        or top in _NOT_THE_PROGRAMS
        or top in ("greenlet", "__main__", "__mp_main__")
        or is_left_alone(name)
        # It is the one that patches, or it has imported that.
        or getattr(getattr(sys.modules[name], "__spec__", None), "_initializing", False)
    )


def _import_file(path: str) -> None:
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # As the import system says it.
    spec._initializing = True  # type: ignore[attr-defined]
    spec.loader.exec_module(module)


def inspect(
    path: str, name: str, arguments: list[str], options: dict[str, bool]
) -> None:
    """Be the child process.

    Args:
        path: The file to write what was found to.
        name: The script or the module.
        arguments: The program's own.
        options: As `Inspection` takes them.
    """
    sys.argv[:] = [name, *arguments]
    directory = Path.cwd() if options["is_module"] else Path(name).resolve().parent
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = str(directory)
    inspection = Inspection(name, **options)

    def write() -> None:
        Path(path).write_text(json.dumps(inspection.result()), encoding="utf-8")

    # Not before: what the program registers runs first.
    atexit.register(write)
    inspection.go()
