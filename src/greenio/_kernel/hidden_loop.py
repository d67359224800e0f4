"""Green threads that see no running loop, like plain blocking code.

Whether `asyncio.get_running_loop` finds a loop is a variable of the OS thread, so it
has to change whenever control passes between code that sees the loop and code that does
not. Green threads that do not see it belong to a `HidingHub`, the twin of their loop's
hub. It has a run queue and batches of its own, so control passes in a few places only,
and green threads that switch to each other have nothing to do:

* entering: its drain hides the loop before each entry that it runs itself;
* leaving: `HidingHub.loop_switch`, the way back to the loop greenlet, shows the loop;
* resumed from somewhere else, by a descriptor or a future: `HidingHub.park` hides it;
* the end of the green thread shows it.

Everything but the run queue is the first hub's: there is one greenlet that the loop runs
in, one count of timers, one end.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, _get_running_loop, _set_running_loop
from collections.abc import Callable
from typing import Any, cast

from greenlet import getcurrent, greenlet

from .._std.originals import thread_local
from .entries import Switchable
from .hub import Hub
from .run_queue import RunQueue


class _ThreadState(thread_local):
    """What an OS thread remembers."""

    hiding: HidingHub | None = None


_state = _ThreadState()


class _Shared:
    """An attribute of a `HidingHub` that is the first hub's."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, hub: Any, owner: type | None = None) -> Any:
        return getattr(hub.twin, self._name)

    def __set__(self, hub: Any, value: Any) -> None:
        setattr(hub.twin, self._name, value)


class HidingHub(RunQueue):
    """The run queue of the green threads that do not see their loop.

    To them it is the whole hub: what it has not itself, it has from the first one.
    """

    hides = True

    closed: Any = _Shared()
    debug_exceptions: Any = _Shared()
    extension: Any = _Shared()
    loop_greenlet: Any = _Shared()
    mains_hub: Any = _Shared()
    thread_id: Any = _Shared()
    timers: Any = _Shared()

    def __init__(self, first: Hub) -> None:
        self.twin = first
        super().__init__(first.loop, first.context)
        # Timers resume by way of the run queue, where the loop gets hidden.
        self.defers = True
        first.twin = self.as_hub
        _state.hiding = self

    @property
    def as_hub(self) -> Hub:
        """Itself, as others see it."""
        return cast("Hub", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.twin, name)

    @property
    def lone(self) -> bool:
        """True: nobody yields past the run queue, where the loop gets hidden."""
        return True

    @lone.setter
    def lone(self, value: bool) -> None:
        pass

    def loop_switch(self) -> Any:
        """Go on in the loop greenlet, where the loop is seen."""
        _set_running_loop(self.loop)
        return self.loop_greenlet.switch()

    def park(self) -> Any:
        """Stop the current greenlet until somebody resumes it; see `Hub.park`."""
        try:
            return super().park()
        finally:
            _set_running_loop(None)

    def _run_batch(self, batch: Any) -> None:
        target: Switchable | None = None
        try:
            while batch:
                try:
                    while batch:
                        target = batch[0]
                        _set_running_loop(None)
                        del batch[0]
                        target.switch()
                except BaseException as exc:
                    self._interrupted(batch, target, exc)
        finally:
            _set_running_loop(self.loop)

    def _move_to(self, current: greenlet) -> None:
        self.twin._move_to(current)

    def pass_on(self, error: BaseException) -> None:
        """Raise in the main program what came up in the loop greenlet, or here."""
        _set_running_loop(self.loop)
        self.twin.pass_on(error)


def twin_of(hub: Hub) -> Hub:
    """Return the other hub of the same loop: one hides it, the other does not."""
    return hub.twin or HidingHub(hub).as_hub


def hidden_hub() -> Hub | None:
    """Return the hub of whoever runs on a loop now and does not see it."""
    hiding = _state.hiding
    if hiding is None or hiding.closed or _get_running_loop() is not None:
        return None
    return hiding.as_hub if hiding.loop.is_running() else None


def running_loop() -> Any:
    """Return the loop that runs in this OS thread, whether the caller sees it or not."""
    loop = _get_running_loop()
    if loop is None:
        hub = hidden_hub()
        if hub is not None:
            return hub.loop
    return loop


def hide_while(run: Callable[[], None], loop: AbstractEventLoop) -> Callable[[], None]:
    """Return a green thread's body that does not see the loop."""

    def unseeing() -> None:
        _set_running_loop(None)
        try:
            run()
        finally:
            # Next runs the parent. That is the loop greenlet, or, where the interpreter
            # takes a forgotten green thread apart, whoever runs now, if need be
            # without any loop.
            hub = getattr(getcurrent().parent, "_hub", None)
            hidden = hub is not None and hub.hides
            _set_running_loop(loop if loop.is_running() and not hidden else None)

    return unseeing
