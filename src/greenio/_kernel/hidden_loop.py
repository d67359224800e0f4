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

from .._reactor.scheduler import Switchable
from .._std.originals import get_ident, thread_local
from .hub import Hub, known_hubs
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

    To them it is the whole hub: what it has not itself is the first one's, which keeps
    the few up to date that every switch asks for (`loop_greenlet`, `thread_id`).
    """

    hides = True
    # Whether only the main program hides it, and not what that spawns.
    only_main = False

    closed: Any = _Shared()
    debug_exceptions: Any = _Shared()
    descriptors: Any = _Shared()
    extension: Any = _Shared()
    left_behind: Any = _Shared()
    main: Any = _Shared()
    mains_hub: Any = _Shared()
    moved: Any = _Shared()
    owned: Any = _Shared()
    timers: Any = _Shared()
    watched: Any = _Shared()
    _ended: Any = _Shared()
    _signals: Any = _Shared()
    _supervisor: Any = _Shared()

    def __init__(self, first: Hub) -> None:
        self.twin = first
        super().__init__(first.loop, first.context)
        self.loop_call_soon = first.loop_call_soon
        self.loop_greenlet = first.loop_greenlet
        self.thread_id = first.thread_id
        # Nobody yields past the run queue, where the loop gets hidden.
        self.lone = True
        # Timers resume by way of the run queue, where the loop gets hidden.
        self.defers = True
        first.twin = self.as_hub
        _state.hiding = self

    @property
    def as_hub(self) -> Hub:
        """Itself, as others see it."""
        return cast("Hub", self)

    def loop_switch(self) -> Any:
        """Go on in the loop greenlet, where the loop is seen."""
        _set_running_loop(self.loop)
        return self.twin.loop_switch()

    def park(self) -> Any:
        """Stop the current greenlet until somebody resumes it; see `Hub.park`."""
        try:
            outcome = super().park()
        except BaseException:
            # Unless the interpreter takes this one apart while another loop runs.
            if self.loop.is_running():
                _set_running_loop(None)
            raise
        _set_running_loop(None)
        return outcome

    def _run_batch(self, batch: Any) -> None:
        # As `RunQueue._run_batch`, with the loop hidden before each entry.
        target: Switchable | None = None
        successors = self.successors
        try:
            while batch:
                try:
                    _set_running_loop(None)
                    for target in successors:
                        if target:
                            target.switch()
                        else:
                            self.starting = target
                            target.switch()
                            if target:
                                self.keep_track(target)
                            self.starting = None
                        if not batch:
                            break
                        _set_running_loop(None)
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


# Not by `__getattr__`: a class that has one finds everything slowly.
for _name in set(dir(Hub)) - set(dir(HidingHub)):
    _shared = _Shared()
    _shared.__set_name__(HidingHub, _name)
    setattr(HidingHub, _name, _shared)


def twin_of(hub: Hub) -> Hub:
    """Return the other hub of the same loop: one hides it, the other does not."""
    return hub.twin or HidingHub(hub).as_hub


def hidden_hub() -> Hub | None:
    """Return the hub of whoever runs on a loop now and does not see it."""
    hiding = _state.hiding
    if hiding is None or hiding.closed or _get_running_loop() is not None:
        return None
    return hiding.as_hub if hiding.loop.is_running() else None


def exchange_hiding(hub: HidingHub | None) -> HidingHub | None:
    """Set which hub of this OS thread hides its loop; return which did before."""
    before = _state.hiding
    _state.hiding = hub
    return before


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
            show_to_parent(loop)

    return unseeing


def body_on(hub: Hub, body: Callable[[], None]) -> Callable[[], None]:
    """Return the body of a green thread that is made on a hub that hides its loop."""
    hiding = cast("HidingHub", hub)
    if not hiding.only_main or getcurrent() is not hiding.main:
        return hide_while(body, hub.loop)

    def seeing() -> None:
        current: Any = getcurrent()
        if hub.batch:
            # Who has started this one waits there to be switched to.
            hub.resume_interrupted()
        current._hub = hiding.twin
        _set_running_loop(hub.loop)
        try:
            body()
        finally:
            show_to_parent(hub.loop)

    return seeing


def show_to_parent(loop: AbstractEventLoop) -> None:
    """End a green thread that does not see the loop: next runs its parent.

    That is the loop greenlet, or, where the interpreter takes a forgotten green thread
    apart, whoever runs now, if need be without any loop.
    """
    hub = getattr(getcurrent().parent, "_hub", None)
    if hub is not None and hub.hides:
        _set_running_loop(None)
    elif loop.is_running():
        _set_running_loop(loop)
    else:
        _set_running_loop(_get_running_loop() or _loop_of_a_hub_here())


def _loop_of_a_hub_here() -> AbstractEventLoop | None:
    """Return a loop that runs in this OS thread and has a hub."""
    here = get_ident()
    for hub in known_hubs():
        if hub.thread_id == here and hub.loop.is_running():
            return hub.loop
    return None
