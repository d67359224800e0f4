"""The mutex that guards the state of all primitives, and what may happen under it.

It is native, held for a few bytecodes, and there is only one, so that a forked child has
one thing to put right. Under the interpreter lock it is hardly ever contended.

It does not keep out what interrupts its holder: a finalizer or a signal handler, which
the interpreter runs in the middle of anything, on top of the stack that it finds, and
which may use a primitive itself. To make it wait for the section that it interrupts is
impossible, since that one goes on only when it has returned; to put off what it does is
impossible too, since it wants the outcome (a lock, an item). So the mutex is re-entrant,
and sections are written for that:

* The interpreter interrupts nobody between two bytecodes of a straight line, but where a
  Python function begins, when a call has returned, and where a loop jumps back. (So it
  is in CPython 3.10 to 3.15. Before 3.12 the collector, too, runs where something is
  made that it keeps track of.) What has to be one step stands in such a line: to find
  something and take it; to find nothing and join the waiters; to find nobody waiting
  and put something down.
* Whatever was found out before a call may be wrong after it. In particular a waiter is
  made first and joins after another look, and a waker looks whether its waiter is done
  in the line in which it makes him done.
* **Nobody parks with the mutex.** Who has to wait inside somebody else's section gives
  the section up and enters it again before he goes on (`park_outside`). Meanwhile others
  may enter sections of the same primitive, as the rules above allow for; what they
  cannot do is wait for a section that never ends. That holds for `sleep(0)` and `kill`
  too: who kept his section, while others give up theirs, would lose it to them.

An exception that a signal handler raises, KeyboardInterrupt above all, comes at the same
places. So the rules hold for it as well, and one more: a thing that is taken out of a
queue is not only in the hands of a line that may be its last. It is looked at where it
stands, given to whom it is for, and taken out afterwards.

At its end the interpreter stops all OS threads but the main one wherever they are, in a
section too. Nobody is in its way any more who finds the mutex taken then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .._std.interpreter_exit import replace_at_exit
from .._std.originals import RLock

# Whether nobody is interrupted where an `if` jumps to what comes when it is false. Where
# he is, what was taken out is not to be looked at; so it is before.
JUMPS_ARE_SAFE = sys.version_info >= (3, 11)

mutex: Any = RLock()
# `with mutex` written out, for the hottest paths: that costs half as much. `hold` stands
# inside the `try`, since a KeyboardInterrupt may come as soon as it has returned.
hold = mutex.acquire
drop = mutex.release
# Whether this OS thread is in a section.
in_section = mutex._is_owned


class _MutexAtExit:
    """What has the place of the mutex when the interpreter ends."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def acquire(self) -> bool:
        native = self._native
        if not native.acquire(blocking=not sys.is_finalizing()):
            # An OS thread has it that will not run again.
            native._at_fork_reinit()
            native.acquire()
        return True

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_exc_info: object) -> None:
        self._native.release()


_mutex_at_exit = _MutexAtExit(mutex)
replace_at_exit(mutex, _mutex_at_exit)
replace_at_exit(hold, _mutex_at_exit.acquire)


def park_outside(park: Callable[[], Any]) -> Any:
    """Give up the section that this OS thread is in for as long as the caller parks.

    Args:
        park: How the caller parks.
    """
    saved = mutex._release_save()
    try:
        return park()
    finally:
        if in_section():
            # Another greenlet of this OS thread is in it, by a switch that nobody here
            # made: to wait for it would be to wait for ever.
            for _ in range(saved[0]):
                mutex.acquire()
        else:
            mutex._acquire_restore(saved)
