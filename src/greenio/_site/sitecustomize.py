"""Run at the start of every Python that a program under ``python -m greenio`` starts.

It has `import eventlet` mean greenio there too, if GREENIO_AS_EVENTLET is set, and costs
next to nothing where nobody imports it. The ``sitecustomize`` that this one hides is run
as ever.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - quick


class _Finder:
    """Installs greenio's finder when somebody first asks for eventlet."""

    _asked = False

    def _install(self) -> bool:
        if self._asked:
            return False
        self._asked = True
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        try:
            import greenio
        except ImportError:
            # Another Python, without greenio: its eventlet is its own business.
            return False
        greenio.install_as_eventlet()
        return True

    def find_spec(self, fullname: str, path: object, target: object = None) -> object:
        """Answer for eventlet, and for what it has replaced."""
        top = fullname.partition(".")[0]
        ours = top == "eventlet" or top.startswith("__original_module_")
        if ours and self._install():
            return sys.meta_path[0].find_spec(fullname, None)
        return None

    def find_distributions(self, context: object = None) -> object:
        """Answer for eventlet's metadata."""
        if getattr(context, "name", None) == "eventlet" and self._install():
            return sys.meta_path[0].find_distributions(context)  # type: ignore[attr-defined]
        return ()

    def invalidate_caches(self) -> None:
        """Nothing is kept."""


def _run_hidden() -> None:
    """Run the ``sitecustomize`` that would be found without this one."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    others = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]  # noqa: PTH100
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


if os.environ.get("GREENIO_AS_EVENTLET", "0") not in ("", "0"):
    sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
_run_hidden()
