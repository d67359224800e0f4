"""The standard `_thread` module with green threads for threads."""

from typing import TYPE_CHECKING

from .._greenthread.local import local as _green_local
from .._patch import threads as _threads
from .._patch.locks import ThreadLock as _ThreadLock
from .._patch.locks import ThreadRLock as _ThreadRLock
from .._patch.modules import complete as _complete
from .._patch.modules import standard as _standard
from .._patch.threads import _count as _count
from .._patch.threads import get_ident as get_ident
from .._patch.threads import start_new_thread as start_new_thread

if TYPE_CHECKING:
    from _thread import *

_local = _green_local
RLock = _ThreadRLock
LockType = allocate_lock = allocate = _ThreadLock
start_new = start_new_thread

# What differs between the interpreter's versions is replaced where it is.
for _name in (
    "_ThreadHandle",
    "_make_thread_handle",
    "_set_sentinel",
    "set_name",
    "start_joinable_thread",
):
    if hasattr(_standard("_thread"), _name):
        globals()[_name] = getattr(_threads, _name)
if hasattr(_standard("_thread"), "lock"):
    lock = LockType

_complete(globals(), "_thread")
