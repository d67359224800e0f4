"""A pool of OS threads for calls that cannot wait by letting the loop run.

`execute` makes one call in a thread, and `Proxy` wraps an object so that all of its
methods are called like that: database drivers in C, compression, anything that blocks
inside a system call or computes for long with the interpreter lock released. Only the
calling green thread waits.

The pool has 20 threads, or as many as the environment variable GREENIO_THREADPOOL_SIZE
says, else EVENTLET_THREADPOOL_SIZE; with 0, calls are made in place. They start when
they are needed.

A program may assign to `QUIET` (whether what is raised in a thread is only raised in
the caller, and not printed too) and `KILL_TIMEOUT` (how many seconds `killall` waits for
calls that are being made).
"""

from __future__ import annotations

from types import ModuleType

from ._std.public_names import claim
from ._std.settable import make_settable as _make_settable
from ._std.settable import setting as _setting
from ._tpool import settings as _settings
from ._tpool.pool import execute as execute
from ._tpool.pool import killall as killall
from ._tpool.pool import set_num_threads as set_num_threads
from ._tpool.pool import setup as setup
from ._tpool.proxy import Proxy as Proxy
from ._tpool.proxy import proxy_call as proxy_call
from ._tpool.settings import DEFAULT_SIZE as DEFAULT_SIZE

__all__ = ["Proxy", "execute", "killall", "proxy_call", "set_num_threads", "setup"]

claim(globals())

QUIET: bool
KILL_TIMEOUT: float
# eventlet's: how many threads the next pool has.
_nthreads: int


def _set_nthreads(_: ModuleType, count: int) -> None:
    _settings.nthreads = count


_make_settable(
    __name__,
    QUIET=_setting(_settings, "QUIET"),
    KILL_TIMEOUT=_setting(_settings, "KILL_TIMEOUT"),
    _nthreads=property(lambda _: _settings.num_threads(), _set_nthreads),
)
