"""Modules that stand in `sys.modules` for others as long as some code runs.

Several may stand for the same one, as several OS threads execute modules, and they go in any
order: the one that came last is seen, and what was there before comes back when all have
gone. No lock is held while they stand.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from .._kernel.waiters import mutex

_MISSING = object()

# By name: what was there before, and who stands for it now.
_before: dict[str, Any] = {}
_standing: dict[str, list[StandIns]] = {}


class StandIns:
    """A context in which modules stand in `sys.modules`.

    Args:
        modules: The modules, by the names under which they stand there.
    """

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self._modules = dict(modules)

    def __enter__(self) -> None:
        try:
            with mutex:
                for name, module in self._modules.items():
                    if name not in _standing:
                        _before[name] = sys.modules.get(name, _MISSING)
                        _standing[name] = []
                    _standing[name].append(self)
                    sys.modules[name] = module
        except BaseException:
            # An interrupt.
            self.__exit__()
            raise

    def __exit__(self, *_exc_info: object) -> None:
        with mutex:
            for name in self._modules:
                if self in _standing.get(name, ()):
                    self._take_away(name)

    def _take_away(self, name: str) -> None:
        standing = _standing[name]
        is_seen = standing[-1] is self
        standing.remove(self)
        if not standing:
            del _standing[name]
            before = _before.pop(name)
            if before is _MISSING:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = before
        elif is_seen:
            sys.modules[name] = standing[-1]._modules[name]

    def outcome(self, name: str) -> ModuleType:
        """Return what stands under a name now, as a module may replace itself.

        Raises:
            KeyError: Nothing does: it has taken itself away.
        """
        if _standing[name][-1] is not self:
            # That is somebody else's.
            return self._modules[name]
        return sys.modules[name]
