"""The standard `_thread` module with green threads for threads."""

from collections.abc import Callable as _Callable
from typing import TYPE_CHECKING, NoReturn
from typing import TypeAlias as _TypeAlias

from .._patch import threads as _threads
from .._patch.locks import ThreadLock as _ThreadLock
from .._patch.locks import ThreadRLock as _ThreadRLock
from .._patch.modules import complete as _complete
from .._patch.modules import standard as _standard
from .._patch.threads import _count as _count
from .._patch.threads import get_ident as get_ident
from .._patch.threads import start_joinable_thread as start_joinable_thread
from .._patch.threads import start_new_thread as start_new_thread
from ..corolocal import local as _green_local

if TYPE_CHECKING:
    from _thread import *

_local = _green_local
RLock: _TypeAlias = _ThreadRLock
Lock: _TypeAlias = _ThreadLock
LockType: _TypeAlias = _ThreadLock
allocate_lock: type[_ThreadLock] = _ThreadLock
allocate: type[_ThreadLock] = _ThreadLock
start_new: _Callable[..., int] = start_new_thread

# What differs between the interpreter's versions is replaced where it is.
for _name in (
    "_ThreadHandle",
    "_make_thread_handle",
    "_set_sentinel",
    "set_name",
):
    if hasattr(_standard("_thread"), _name):
        globals()[_name] = getattr(_threads, _name)
if hasattr(_standard("_thread"), "lock"):
    lock = LockType


def stack_size(size: int | None = None) -> int:
    """Return the stack size of new threads, and set it if one is given.

    It is that of real threads: green ones take what they need.
    """
    set_size = _standard("_thread").stack_size
    return int(set_size() if size is None else set_size(size))


def exit() -> NoReturn:  # noqa: A001 - the name that is replaced
    """End the current thread: raise SystemExit in it."""
    raise SystemExit


def interrupt_main(*signum: int) -> None:
    """Have the main thread interrupted, as by Ctrl-C; see `_thread.interrupt_main`."""
    _standard("_thread").interrupt_main(*signum)


_complete(globals(), "_thread")
