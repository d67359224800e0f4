"""Green threads: spawn them, sleep, wait for them, end them."""

from __future__ import annotations

from greenlet import GreenletExit as GreenletExit
from greenlet import getcurrent as getcurrent

from ._greenthread.join import iwait as iwait
from ._greenthread.join import iwait_async as iwait_async
from ._greenthread.join import joinall as joinall
from ._greenthread.join import joinall_async as joinall_async
from ._greenthread.join import wait as wait
from ._greenthread.join import wait_async as wait_async
from ._greenthread.killing import cancel as cancel
from ._greenthread.killing import kill as kill
from ._greenthread.sleeping import sleep as sleep
from ._greenthread.spawning import call_after_global as call_after_global
from ._greenthread.spawning import call_after_local as call_after_local
from ._greenthread.spawning import exc_after as exc_after
from ._greenthread.spawning import spawn as spawn
from ._greenthread.spawning import spawn_after as spawn_after
from ._greenthread.spawning import spawn_after_local as spawn_after_local
from ._greenthread.spawning import spawn_n as spawn_n
from ._greenthread.thread import GreenThread as GreenThread
from ._greenthread.timeout import Timeout as _Timeout
from ._greenthread.timeout import with_timeout as with_timeout
from ._std.protocols import ClosableResults as ClosableResults
from ._std.protocols import PendingCall as PendingCall
from ._std.protocols import Results as Results
from ._std.public_names import claim

call_after = call_after_local
# Not in `__all__`: a star is not to replace the builtin.
TimeoutError = _Timeout  # noqa: A001 - eventlet's name for it

__all__ = [
    "ClosableResults",
    "GreenThread",
    "PendingCall",
    "Results",
    "call_after",
    "call_after_global",
    "call_after_local",
    "cancel",
    "exc_after",
    "getcurrent",
    "iwait",
    "iwait_async",
    "joinall",
    "joinall_async",
    "kill",
    "sleep",
    "spawn",
    "spawn_after",
    "spawn_after_local",
    "spawn_n",
    "wait",
    "wait_async",
    "with_timeout",
]

claim(globals())
