"""The end of the interpreter, when there are no greenlets any more.

Finalizers still run then, and use locks, queues, `threading.local`, the logging module.
`getcurrent` raises; so at exit, greenio's modules get one that returns `NO_GREENLET` instead,
who has no hub and whose waits are errors. They get another mutex, too: see `mutex`.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable
from typing import Any

import greenlet
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
    come after it, and find no green thread alive.
    """
    atexit.register(_run_after_the_others, function)


def _run_after_the_others(function: Callable[[], object]) -> None:
    """The hook: it has those that are older run first."""
    if greenlet.__version__.startswith("3.4."):
        # Among the older ones is its own, and after that there are no greenlets.
        pass
    elif sys.version_info < (3, 14):
        hooks: Any = _AfterOurs(_run_after_the_others)
        atexit.unregister(hooks)
        atexit._run_exitfuncs()
    elif _append_to_running_hooks(function):
        return
    function()


def _append_to_running_hooks(function: Callable[[], object]) -> bool:
    """Have a function called when all the hooks that are running have been.

    From Python 3.14 on the interpreter goes through a copy of the list of hooks, so that
    nothing that is registered or unregistered meanwhile counts. It looks at the length of
    that copy each time, so it sees what is appended to it.

    Returns:
        Whether the copy was found: the collector knows no object that is frozen.
    """
    for entry in gc.get_referrers(_run_after_the_others):
        if type(entry) is tuple and entry[:2] == (_run_after_the_others, (function,)):
            # The original goes on without it, the copy stays as it is.
            atexit.unregister(_run_after_the_others)
            for hooks in gc.get_referrers(entry):
                if type(hooks) is list and type(hooks[-1]) is tuple:
                    hooks.append((function, (), entry[2]))
                    return True
    return False


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


# What greenio's modules have another thing in place of at exit, and that.
_replacements: list[tuple[Any, Any]] = [(_getcurrent, _getcurrent_or_none_left)]


def replace_at_exit(thing: Any, replacement: Any) -> None:
    """Give greenio's modules another thing when the hooks of the program have run.

    Args:
        thing: What they have imported, under whatever name.
        replacement: What they find there from then on.
    """
    _replacements.append((thing, replacement))


def _prepare() -> None:
    by_id = {id(thing): replacement for thing, replacement in _replacements}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "greenio" and module is not _this_module:
            namespace = vars(module)
            for key, value in list(namespace.items()):
                if id(value) in by_id:
                    namespace[key] = by_id[id(value)]


_this_module = sys.modules[__name__]


atexit.register(_prepare)
