"""Patching on the program's behalf, until it says itself what it wants.

`python -m greenio` patches everything before the program begins. If the program then calls
``monkey_patch(thread=False)``, it wants less, and what it leaves out is put back. That is
done by the first call only; later ones add, as ever.

Locks and the like that have become green stay so: they work between real threads as well.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import monkey as _monkey
from .module_proxies import note_live_modules
from .modules import share_no_more
from .threads import running_count

_IN_USE = (
    "the program runs under `python -m greenio`, which has patched everything, and has "
    "started threads since; so monkey_patch() cannot leave out `thread` any more. Call it "
    "first thing in the program, or run that with `python -m greenio --no-patch`"
)


def patch_provisionally() -> None:
    """Patch everything until the program calls `monkey_patch`."""
    _monkey.monkey_patch()
    _monkey.put_back = _put_back


def _put_back(keywords: Iterable[str]) -> None:
    """Undo the patching of some keywords.

    Raises:
        RuntimeError: Threads have been started.
    """
    keywords = [each for each in keywords if each in _monkey.already_patched]
    if "thread" in keywords and running_count():
        raise RuntimeError(_IN_USE)
    changed: set[str] = set()
    for keyword in keywords:
        del _monkey.already_patched[keyword]
        changed.update(plan.module for plan in _monkey.plans_of(keyword))
        _monkey.replaced.restore(keyword)
    for name in changed & _monkey.SAME_AS_LIVE:
        share_no_more(name)
    if "subprocess" in _monkey.already_patched:
        _monkey.patch_subprocess_imports()
    note_live_modules()
