"""The end of the interpreter, when there are no greenlets any more.

Finalizers still run then, and use locks, queues, `threading.local`, the logging module.
`getcurrent` raises; so at exit, greenio's modules get one that returns `NO_GREENLET` instead,
who has no hub and whose waits are errors.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
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


def call_at_exit_last(function: Callable[[], object]) -> None:
    """Call a function at exit, after all hooks that are registered with `atexit`.

    Hooks run in the opposite order, so those registered before greenio was imported would
    come after it, and find no green thread alive. From Python 3.14 on they still do:
    there, the hooks that are to run are settled before the first one does.
    """
    if sys.version_info >= (3, 14):
        atexit.register(function)
        return

    def run_the_others_first() -> None:
        hooks: Any = _AfterOurs(run_the_others_first)
        atexit.unregister(hooks)
        atexit._run_exitfuncs()
        function()

    atexit.register(run_the_others_first)


class _AfterOurs:
    """Equal to a hook, and to all that were registered after it: they have run.

    `atexit.unregister` compares it with each hook, from the first on.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, hook: object) -> None:
        self._hook = hook
        self._seen = False

    def __eq__(self, other: object) -> bool:
        self._seen = self._seen or other is self._hook
        return self._seen


def _prepare() -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "greenio":
            namespace = vars(module)
            if namespace.get("getcurrent") is _getcurrent:
                namespace["getcurrent"] = _getcurrent_or_none_left


atexit.register(_prepare)
