"""Green threads: spawn them, sleep, wait for them, end them."""

from __future__ import annotations

from greenlet import getcurrent as getcurrent

from ._greenthread.join import iwait as iwait
from ._greenthread.join import iwait_async as iwait_async
from ._greenthread.join import joinall as joinall
from ._greenthread.join import joinall_async as joinall_async
from ._greenthread.join import wait as wait
from ._greenthread.join import wait_async as wait_async
from ._greenthread.sleeping import sleep as sleep
from ._greenthread.spawning import call_after_global as call_after_global
from ._greenthread.spawning import call_after_local as call_after_local
from ._greenthread.spawning import exc_after as exc_after
from ._greenthread.spawning import spawn as spawn
from ._greenthread.spawning import spawn_after as spawn_after
from ._greenthread.spawning import spawn_after_local as spawn_after_local
from ._greenthread.spawning import spawn_n as spawn_n
from ._greenthread.thread import GreenThread as GreenThread
from ._greenthread.thread import cancel as cancel
from ._greenthread.thread import kill as kill
from ._std.public_names import claim

call_after = call_after_local

__all__ = [
    "GreenThread",
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
]

claim(globals())
