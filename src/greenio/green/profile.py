"""The standard `profile` module, whose `Profile` can follow green threads.

The standard one keeps one stack of calls, and takes it amiss when a function returns
that is not the last one called, as happens at every switch. This one keeps a stack per
greenlet. What a green thread does while another waits is no time of the other's calls.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from greenlet import getcurrent, greenlet

from .._patch.modules import complete as _complete
from .._patch.modules import standard as _standard
from .._std.absences import Absent as _Absent
from .._std.absences import attribute_error as _attribute_error

with warnings.catch_warnings():
    # Deprecated since Python 3.15: for whoever imports it by its own name.
    warnings.simplefilter("ignore", DeprecationWarning)
    _plain: Any = _standard("profile").Profile

if TYPE_CHECKING:
    from profile import *
    from profile import Profile as _Plain
else:
    _Plain = _plain


class Profile(_Plain):
    """A profiler that keeps the calls of different greenlets apart.

    Args:
        timer: Returns the time in seconds; by default, the processor time.
        bias: What the profiler itself takes for an event, in the timer's unit.
    """

    # The innermost call that has not returned, with the calls around it.
    cur: Any
    timings: dict[Any, Any]
    dispatcher: Any
    dispatch: dict[str, Callable[[Any, Any, float], int]]

    # eventlet's name for the standard class.
    base = _plain

    SwitchTasklet: Any = _Absent("green.profile.Profile.SwitchTasklet")
    TallyTimings: Any = _Absent("green.profile.Profile.TallyTimings")
    Unwind: Any = _Absent("green.profile.Profile.Unwind")
    trace_dispatch_c_return_extend_back: Any = _Absent(
        "green.profile.Profile.trace_dispatch_c_return_extend_back"
    )
    trace_dispatch_return_extend_back: Any = _Absent(
        "green.profile.Profile.trace_dispatch_return_extend_back"
    )

    def __init__(
        self, timer: Callable[[], float] | None = None, bias: int | None = None
    ) -> None:
        # The greenlet that `cur` belongs to, and what belongs to others.
        self._greenlet = getcurrent()
        self._stacks: WeakKeyDictionary[greenlet, Any] = WeakKeyDictionary()
        super().__init__(timer, bias)

    def start(self, name: str = "start") -> None:
        """Profile what this OS thread does from now on, whichever greenlet it is in."""
        self.set_cmd(name)
        sys.setprofile(self.dispatcher)

    def stop(self) -> None:
        """End what `start` has begun; then ask for the statistics."""
        sys.setprofile(None)

    def runcall(  # type: ignore[override]
        self, func: Callable[..., Any], *args: Any, **kw: Any
    ) -> Any:
        """Call a function and profile it; see `profile.Profile.runcall`."""
        return super().runcall(func, *args, **kw)

    def _follow(self, frame: Any) -> None:  # while tracing
        """Go on with the stack of the greenlet that runs now."""
        current = getcurrent()
        if current is self._greenlet:
            return
        before, self._greenlet = self._greenlet, current
        if isinstance(frame, _plain.fake_frame):
            # The name of what is to be profiled: the stack begins here.
            return
        self._occur(-1)
        if not before.dead:
            self._stacks[before] = self.cur
        self.cur = self._stacks.pop(current, None)
        if self.cur is None:
            # The calls that it is in the middle of have not been seen.
            _plain.simulate_call(self, "greenlet")
        else:
            self._occur(1)

    def _occur(self, step: int) -> None:  # while tracing
        """Count the functions of the stack in or out, where recursion is told from."""
        rest = self.cur
        while rest:
            function, rest = rest[3], rest[5]
            calls, depth, *times = self.timings[function]
            self.timings[function] = (calls, depth + step, *times)

    def simulate_cmd_complete(self) -> None:
        """End the calls that have not returned, those of waiting greenlets too."""
        self._greenlet = getcurrent()
        super().simulate_cmd_complete()
        base = self.cur
        while self._stacks:
            _, self.cur = self._stacks.popitem()
            self._occur(1)
            while self.cur[-1]:
                _plain.trace_dispatch_return(self, self.cur[-2], 0)
        self.cur = base


def _followed(event: str, handle: Callable[[Any, Any, float], int]) -> Any:
    returning = event in ("return", "c_return", "c_exception")

    def dispatch(self: Any, frame: Any, t: float) -> int:  # while tracing
        self._follow(frame)
        top = self.cur and self.cur[-2]
        if top is None or isinstance(top, _plain.fake_frame):
            if returning and top is not frame:
                # From a call that has not been seen.
                parent, own, *rest = self.cur
                self.cur = (parent, own + t, *rest)
                return 1
        elif event == "call" and frame.f_back not in (top, top.f_back):
            return _call_in_between(self, frame, t)
        return handle(self, frame, t)

    return dispatch


def _call_in_between(self: Any, frame: Any, t: float) -> int:  # while tracing
    """Begin a call whose caller is yet to be told of.

    The interpreter makes a frame object to tell of a call. Should the garbage collector
    run at that moment, what it calls comes first.
    """
    around = self.cur
    self.cur = (*around[:4], frame.f_back, around[5])
    result: int = _plain.trace_dispatch_call(self, frame, t)
    self.cur = (*self.cur[:5], around)
    return result


_handlers: dict[str, Any] = _plain.dispatch
globals()["Profile"].dispatch = {
    event: _followed(event, _handlers[event]) for event in _handlers
}

_complete(globals(), "profile")


def __getattr__(name: str) -> Any:
    raise _attribute_error(__name__, name)
