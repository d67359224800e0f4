"""The end of the interpreter, when there are no greenlets any more.

Finalizers still run then, and use locks, queues, `threading.local`, the logging module.
`getcurrent` raises; so at exit, greenio's modules get one that returns `NO_GREENLET` instead,
who has no hub and whose waits are errors.
"""

from __future__ import annotations

import atexit
import sys
from typing import Any

from greenlet import getcurrent


class _NoGreenlet:
    """Stands for the current greenlet when there can be none."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<no greenlet: the interpreter is exiting>"


NO_GREENLET: Any = _NoGreenlet()


def _getcurrent_or_none_left() -> Any:
    try:
        return _getcurrent()
    except RuntimeError:
        return NO_GREENLET


_getcurrent = getcurrent


def is_exiting() -> bool:
    """Whether the interpreter is ending, and with it all greenlets.

    Whoever held a lock will not run again, so there is nobody to wait for.
    """
    return _getcurrent_or_none_left() is NO_GREENLET


def _prepare() -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "greenio":
            namespace = vars(module)
            if namespace.get("getcurrent") is _getcurrent:
                namespace["getcurrent"] = _getcurrent_or_none_left


atexit.register(_prepare)
