"""What a lock, a `threading.local` or a simple queue becomes that exists already."""

from __future__ import annotations

import sys
from typing import Any

from .._std.originals import RLock, SimpleQueue, thread_local
from ..corolocal import local
from .existing import LOCK, Factory, is_free
from .locks import ThreadLock, ThreadRLock
from .simple_queue import SimpleQueue as GreenSimpleQueue


def _lock(old: Any) -> ThreadLock | None:
    return ThreadLock() if is_free(old) else None


def _rlock(old: Any) -> ThreadRLock | None:
    return ThreadRLock() if is_free(old) else None


def _local(old: Any) -> local | None:
    if len(sys._current_frames()) > 1:
        return None  # What other threads keep in it cannot be seen.
    new = local()
    for name, value in vars(old).items():
        setattr(new, name, value)
    return new


def _simple_queue(old: Any) -> GreenSimpleQueue:
    new = GreenSimpleQueue()
    while not old.empty():
        new.put(old.get_nowait())
    return new


GREEN_FORMS: dict[type, Factory] = {
    LOCK: _lock,
    RLock: _rlock,
    thread_local: _local,
    SimpleQueue: _simple_queue,
}
