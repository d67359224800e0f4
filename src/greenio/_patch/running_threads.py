"""Waiting for threads that ran already when the patch came: they are real ones.

`threading` joins a real thread with its whole OS thread. Whoever does that in a green thread
would stop all others, of which one may be what the real thread waits for. So the first who joins
it has another real thread wait, which wakes him and all who come later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._std import originals as _originals
from .._std.errors import BlockingInLoopError
from .._std.interpreter_exit import is_exiting
from .._sync.event import Event
from .locks import ThreadLock
from .threads import _ThreadHandle, handle_name


def adopt_running_threads(namespace: dict[str, Any]) -> Callable[[], None]:
    """Have green threads that join a real one wait without stopping the others.

    Args:
        namespace: That of `threading`.

    Returns:
        What puts that back.
    """
    main = namespace["_main_thread"]
    undo: list[tuple[Any, str, _End]] = []
    for thread in list(namespace["_active"].values()):
        name = handle_name(thread)
        state = "_tstate_lock" if name is None else name
        former = getattr(thread, state, None)
        if thread is main or isinstance(former, (ThreadLock, _ThreadHandle, _End)):
            continue
        if former is None:  # pragma: no cover - until Python 3.12
            continue  # Nobody knows when it ends.
        end = _EndByLock(former, thread) if name is None else _EndByHandle(former)
        setattr(thread, state, end)
        undo.append((thread, state, end))

    def put_back() -> None:
        for thread, state, end in undo:
            if getattr(thread, state) is end:
                setattr(thread, state, end.real)

    return put_back


class _End:
    """The end of a real thread.

    Attributes:
        real: What `threading` had for it.
    """

    def __init__(self, real: Any) -> None:
        self.real = real
        self._event: Event[None] = Event()
        self._is_watched = False

    def has_come(self) -> bool:
        """Whether the thread has ended."""
        raise NotImplementedError

    def block(self, timeout: float | None) -> None:
        """Wait for it with the whole OS thread."""
        raise NotImplementedError

    def wait(self, timeout: float | None) -> None:
        """Wait for it and let the others run meanwhile, where that is possible."""
        if self.has_come():
            return
        if is_exiting() or not self._watch():
            self.block(timeout)
            return
        try:
            self._event.wait(timeout)
        except BlockingInLoopError:
            # As it would in a program that is not patched.
            self.block(timeout)

    def _watch(self) -> bool:
        if not self._is_watched:
            try:
                _originals.start_new_thread(self._tell, ())
            except RuntimeError:
                return False
            self._is_watched = True
        return True

    def _tell(self) -> None:
        self.block(None)
        if not self._event.ready():
            self._event.send()


class _EndByHandle(_End):
    """That of Python 3.13, which has a handle for each thread."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def has_come(self) -> bool:
        return bool(self.real.is_done())

    def block(self, timeout: float | None) -> None:
        self.real.join(timeout)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread ends; see `_ThreadHandle.join`."""
        if self.real.ident == _originals.get_ident():
            self.real.join(timeout)  # It says why that cannot be.
        self.wait(None if timeout is not None and timeout < 0 else timeout)


class _EndByLock(_End):  # pragma: no cover - until Python 3.12
    """A lock that is held for as long as its thread lives; see `threads.Sentinel`."""

    def __init__(self, real: Any, thread: Any) -> None:
        super().__init__(real)
        self._thread = thread

    def has_come(self) -> bool:
        return not self.real.locked()

    def block(self, timeout: float | None) -> None:
        if self.real.acquire(True, -1 if timeout is None else timeout):
            self.real.release()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait until the thread ends, and say whether it has."""
        if blocking:
            self.wait(None if timeout == -1 else timeout)
        return self.has_come()

    def release(self) -> None:
        """Do nothing: its end is the thread's."""

    def locked(self) -> bool:
        """Say no, as `Sentinel.locked` does."""
        return False

    def _at_fork_reinit(self) -> None:
        # In a child that this thread has forked, which goes on with a real lock.
        self.real._at_fork_reinit()
        self._thread._tstate_lock = self.real
