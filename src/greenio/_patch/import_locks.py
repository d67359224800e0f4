"""Import locks that know green threads apart.

The interpreter has a lock per module: who imports a module that somebody else is
importing waits until it is whole, and who meets a module that he is importing himself, in
a circle, gets it as far as it is. It tells importers by the number of their OS thread, so
among green threads everybody would get modules in pieces.

Here an importer is a green thread or a portal; else it is the OS thread. That leaves the
circles as they are. A coroutine cannot wait for a green thread of its own loop. It gets
the module as far as it is, as the interpreter has it where waiting would never end; for a
real thread it waits.

What `import_patched` executes has locks of the same kind (`execution_lock_of`), in programs
that are not patched too. There, and where an import began before the patch, a circle may go
through locks of the interpreter's. That one tells nobody who begins to wait; so who waits
for a lock of ours looks again now and then. In every circle that has a lock of ours somebody
waits for it.
"""

from __future__ import annotations

import os
import sys
from typing import Any
from weakref import WeakValueDictionary

from .._kernel.current import acting_greenlet
from .._kernel.waiters import mutex, notice_fork
from .._std.errors import BlockingInLoopError
from .._std.interpreter_exit import is_exiting
from .._std.originals import get_ident
from .locks import ThreadLock

_bootstrap: Any = sys.modules["_frozen_importlib"]
# A circle: who meets it gets the module as far as it is.
Deadlock: type[Exception] = _bootstrap._DeadlockError

# All of this is guarded by the mutex of the primitives: see there for what a finalizer may
# do in between, which may import, or wait.

# For what each importer waits, and in which OS thread.
_waiting: dict[object, tuple[ModuleLock, int]] = {}

# The locks of what is being executed once more.
_execution_locks: WeakValueDictionary[str, ModuleLock] = WeakValueDictionary()

# How often who waits looks whether he is in a circle with locks of the interpreter's, in
# seconds.
_LOOK_AGAIN = 0.05


def _importer() -> object:
    if is_exiting():
        return get_ident()
    current = acting_greenlet()
    if current.parent is None or not (
        hasattr(current, "_hub") or hasattr(current, "parking_hub")
    ):
        return get_ident()
    return current


class ModuleLock:
    """The lock of one module; it may be taken several times by its owner.

    Args:
        name: The module's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner: object = None
        self.count = 0
        # The OS thread of the owner.
        self._place = 0
        self._gates: list[ThreadLock] = []

    def __repr__(self) -> str:
        return f"<greenio ModuleLock of {self.name!r}, owner={self.owner!r}>"

    def acquire(self) -> bool:
        """Take the lock.

        Raises:
            _DeadlockError: The owner waits for the caller, who gets the module as far
                as it is.
        """
        me, here = _importer(), get_ident()
        while not self._take(me, here):
            gate = ThreadLock()
            gate.acquire()
            with mutex:
                if self._is_circle(me, here):
                    raise Deadlock(f"deadlock detected by {self!r}")
                if self.owner is None:
                    # Given back in between.
                    continue
                gate._place = self._place
                self._gates.append(gate)
            before = _waiting.get(me)
            try:
                _waiting[me] = (self, here)
                gate.acquire(timeout=_LOOK_AGAIN)
            except BlockingInLoopError:
                message = f"a coroutine cannot wait for {self!r}"
                raise Deadlock(message) from None
            finally:
                with mutex:
                    if before is None:
                        _waiting.pop(me, None)
                    else:
                        _waiting[me] = before
                    if gate in self._gates:
                        self._gates.remove(gate)
        return True

    def _take(self, me: object, here: int) -> bool:
        with mutex:
            owner = self.owner
            mine = owner is not None and owner == me
            if mine or self.owner is None:
                self.owner = me
                self.count += 1
                self._place = here
                return True
            return False

    def _is_circle(self, me: object, here: int) -> bool:
        """Whether the owner waits, maybe by way of others, for the caller."""
        seen: list[object] = []
        locks: list[Any] = [self]
        while locks:
            lock = locks.pop()
            if lock in seen:
                continue
            seen.append(lock)
            owner = lock.owner
            if isinstance(lock, ModuleLock):
                if owner == me:
                    return True
                waits = _waiting.get(owner)
                locks += waits[:1] if waits is not None else ()
                place = lock._place
            else:
                # The interpreter's, which knows of OS threads only.
                if owner == here:
                    return True
                place = owner
                locks += [each for each, where in _waiting.values() if where == place]
            if place != here:
                locks += _blocked_on(place)
        return False

    def release(self) -> None:
        """Give the lock back.

        Raises:
            RuntimeError: It is not the caller's.
        """
        with mutex:
            if self.owner is None or self.owner != _importer():
                raise RuntimeError("cannot release un-acquired lock")
            self.count -= 1
            if self.count:
                return
            self.owner = None
            gates, self._gates = self._gates, []
        for gate in gates:
            gate.release()


def _blocked_on(thread_id: object) -> tuple[object, ...]:
    """The locks of the interpreter's that an OS thread waits for."""
    blocked = _bootstrap._blocking_on.get(thread_id)
    if blocked is None:
        return ()
    # One until Python 3.11, and a list of them since.
    return tuple(blocked) if isinstance(blocked, list) else (blocked,)


def execution_lock_of(name: str) -> ModuleLock:
    """Return the lock of a module that is to be executed once more; keep it meanwhile."""
    with mutex:
        lock = _execution_locks.get(name)
        if lock is None:
            lock = _execution_locks[name] = ModuleLock(name)
        return lock


def make_import_locks_green() -> None:
    """Use these locks for all imports that begin from now on."""
    _bootstrap._ModuleLock = ModuleLock


def _after_fork_in_child() -> None:
    notice_fork()
    _waiting.clear()
    # Of all importers only the one that forked goes on.
    me = _importer()
    locks = [reference() for reference in list(_bootstrap._module_locks.values())]
    for lock in (*locks, *_execution_locks.values()):
        if isinstance(lock, ModuleLock) and lock.owner not in (None, me):
            lock.owner, lock.count, lock._gates = None, 0, []


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
