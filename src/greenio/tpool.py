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
from typing import Any

from ._greenthread.timeout import Timeout as _Timeout
from ._std.public_names import claim
from ._std.settable import make_settable as _make_settable
from ._std.settable import setting as _setting
from ._tpool import settings as _settings
from ._tpool.pool import ThreadPoolStatistics as ThreadPoolStatistics
from ._tpool.pool import execute as execute
from ._tpool.pool import existing_pool as _existing_pool
from ._tpool.pool import killall as killall
from ._tpool.pool import set_num_threads as set_num_threads
from ._tpool.pool import setup as setup
from ._tpool.pool import statistics as statistics
from ._tpool.pool import tpool_trampoline as tpool_trampoline
from ._tpool.pool import tworker as tworker
from ._tpool.proxy import Proxy as Proxy
from ._tpool.proxy import proxy_call as proxy_call
from ._tpool.settings import DEFAULT_SIZE as DEFAULT_SIZE

__all__ = [
    "EXC_CLASSES",
    "SYS_EXCS",
    "Proxy",
    "ThreadPoolStatistics",
    "execute",
    "killall",
    "proxy_call",
    "set_num_threads",
    "setup",
    "statistics",
    "tpool_trampoline",
    "tworker",
]

# What eventlet hands from a thread to the caller, and what ends its threads; here
# whatever is raised goes to the caller.
EXC_CLASSES = (Exception, _Timeout)
SYS_EXCS = (GeneratorExit, KeyboardInterrupt, SystemExit)

claim(globals())

QUIET: bool
KILL_TIMEOUT: float
# eventlet's: how many threads the next pool has.
_nthreads: int
# Whether there is a pool; its queue of calls, the numbers of its threads, and the queue of
# results, which is not needed here.
_setup_already: bool
_reqq: Any
_rspq: Any
_threads: list[int]


def _set_nthreads(_: ModuleType, count: int) -> None:
    _settings.nthreads = count


def _of_pool(name: str) -> Any:
    pool = _existing_pool()
    return None if pool is None else getattr(pool, name)


_make_settable(
    __name__,
    QUIET=_setting(_settings, "QUIET"),
    KILL_TIMEOUT=_setting(_settings, "KILL_TIMEOUT"),
    _setup_already=property(lambda _: _existing_pool() is not None),
    _reqq=property(lambda _: _of_pool("jobs")),
    _rspq=property(lambda _: _of_pool("results")),
    _threads=property(lambda _: _of_pool("idents") or []),
    _nthreads=property(lambda _: _settings.num_threads(), _set_nthreads),
)
