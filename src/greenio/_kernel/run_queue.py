"""The run queue: who runs next on one loop.

The rules of this module:

* The *loop greenlet* is the one in which the loop's callbacks run. It never waits. A
  green thread is a greenlet whose parent is the loop greenlet.
* Waking puts a greenlet on `ready`; the first one there schedules `_drain`
  with the loop, so "ready is not empty" implies "a drain is scheduled".
* A drain swaps `ready` and `batch` and resumes what was ready when it began, nothing
  that became ready meanwhile: coroutines and descriptors get their turn in between.
* Parking switches straight to the next greenlet of the batch, or to the loop greenlet
  when the batch is used up. That is one greenlet switch per resume, not two.
* Only a greenlet that has started and not ended may be switched to like that, and
  those are exactly the true ones (`bool(greenlet)`). Whatever is false in the batch is
  the loop greenlet's to run: a first start, a `Throw`, a greenlet that died
  meanwhile (switching to that one comes straight back).
* Whoever becomes ready while a batch is drained (woken, handed an item, spawned) joins
  that batch if nobody is queued for the next turn before him, for the first `HANDOFFS`
  of them. So `spawn(f).wait()` takes one turn of the loop or none, and two green threads
  that pass items to and fro cost greenlet switches, not turns; order is kept, and the
  bound keeps the loop's turn near. A yield (`sleep(0)`) always waits for the next turn.
* A resume says "look again", not "your wait is over": a greenlet that was woken and
  thrown into in one turn is resumed once too often. Whoever parks checks its own
  condition and parks again.
* Timers and descriptors call back in the loop greenlet, so they switch into their
  green thread at once, without the run queue. Not on uvloop: there they use it
  (`defers`). libuv keeps the timers that are due, and the events that it has
  polled, in variables on its C stack while it calls back; a switch puts another
  greenlet's stack in that place, and what this one then cancels or closes is written
  into the wrong memory. Callbacks of `call_soon` run where libuv keeps nothing there.
* Green threads can be found (`known`), and are not kept alive by that. Those that have
  not started stand on the queue. One that is started here and parks is noted when the
  switch comes back: what ends without waiting, which most do, costs nothing. Whoever
  starts one elsewhere, or later, calls `keep_track`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from itertools import repeat
from typing import Any
from weakref import getweakrefs, ref

from greenlet import getcurrent, greenlet

from .._loop.interrupted_waits import look_again
from .._loop.loops import is_uvloop
from .._loop.mutex import JUMPS_ARE_SAFE, in_section, park_outside
from .._loop.reports import report
from .._reactor.calls import DeferredCall
from .._reactor.moments import Moments
from .._reactor.scheduler import Switchable
from .._reactor.timers import LocalTimer, Timer, check_callback
from .._std.errors import BlockingInLoopError, HubClosedError
from .._std.originals import get_ident
from .supervisor import Supervisor

_dead = greenlet.dead.__get__

# How many may join a batch while it is drained.
HANDOFFS = 100


class RunQueue:
    """Who is ready on a loop, and all that resumes somebody by way of it.

    A loop has one, its `Hub`, or two: see `hidden_loop`.

    Args:
        loop: The loop.
        context: The context that our callbacks run in; without one, the loop would copy
            the caller's for each of them.
    """

    # Whether its green threads see no running loop; see `hidden_loop`.
    hides = False
    # The greenlet of the thread that owns an owned hub; it parks like any other.
    main: greenlet | None = None
    # An attached hub's.
    _supervisor: Supervisor | None = None

    closed: bool
    # Where the loop's callbacks run, in which OS thread.
    loop_greenlet: greenlet
    thread_id: int
    timers: int
    # How the batch's last one goes back to the loop.
    loop_switch: Callable[[], Any]

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self.context = context
        self._set_ready(deque(), deque())
        # How many more may join the batch that is being drained.
        self.handoffs: int = 0
        # No yield past the run queue now: somebody does that already, or was handed
        # something, and past it they could not hand on in one drain; who does it, where it
        # is known: see `sleep`.
        self.lone: Any = False
        # How many there were.
        self.drains: int = 0
        # Whom a drain has just started, until it is known whether he waits.
        self.starting: Any = None
        # Those who have started, until they go away; in that order.
        self._started: dict[ref[greenlet], None] = {}
        self.defers: bool = is_uvloop(loop)
        # Who is due in which tick of the loop's clock.
        self.moments: Moments = Moments(loop, self.defers)
        self.loop_call_soon: Callable[..., Any] = loop.call_soon
        self._drain_callback = self._drain
        self._drain_handle: asyncio.Handle | None = None

    def _set_ready(self, ready: deque[Switchable], batch: deque[Switchable]) -> None:
        self.ready: deque[Switchable] = ready
        self.batch: deque[Switchable] = batch
        # Take who is next out of the batch, which must not be empty. A `for` does that
        # in one step with what follows, where a call of `popleft` would end in a look for
        # signals, with whom it has taken out in nobody's hands; see `mutex`.
        self.successors: Iterator[Any] = map(deque.popleft, repeat(batch))
        self._successors_of_ready: Iterator[Any] = map(deque.popleft, repeat(ready))

    def wake(self, target: Switchable) -> None:
        """Resume a greenlet when its turn comes. Only from the hub's own OS thread."""
        ready = self.ready
        if not ready:
            if self.handoffs:
                self.handoffs -= 1
                self.batch.append(target)
                return
            self.schedule(target)
            return
        ready.append(target)

    def schedule(self, target: Switchable) -> None:
        """Resume a greenlet in the next turn; nobody is ready yet.

        Raises:
            HubClosedError: The loop is closed.
        """
        while True:
            drains = self.drains
            self.schedule_drain()
            # Who has interrupted us and parked may have used that drain up.
            if self.drains == drains:
                self.ready.append(target)
                return

    def wake_all(self, targets: list[Switchable]) -> None:
        """Resume some, at least one, in the next turn; called in the loop greenlet."""
        if self.ready:
            self.ready.extend(targets)
        else:
            self.schedule(targets[0])
            self.ready.extend(targets[1:])

    def wake_threadsafe(self, target: Switchable) -> bool:
        """Resume a greenlet, from any OS thread.

        Returns:
            False if the loop is closed, so that nobody will ever be resumed.
        """
        if get_ident() == self.thread_id:
            self.wake(target)
            return True
        return self.call_threadsafe(self.wake, target)

    def call_threadsafe(self, func: Callable[..., Any], *args: Any) -> bool:
        """Call a function in the loop greenlet, from any OS thread.

        Returns:
            False if the loop is closed, so that the call will never happen.
        """
        if self.closed:
            return False
        try:
            self.loop.call_soon_threadsafe(func, *args, context=self.context)
        except RuntimeError:
            if self.loop.is_closed():
                return False
            raise
        return True

    def schedule_drain(self) -> None:
        """Have the loop drain the run queue in its next turn.

        Raises:
            HubClosedError: The loop is closed.
        """
        try:
            if self.closed:
                raise HubClosedError(repr(self))
            left_over = self._drain_handle
            if left_over is not None:
                # Two drains in one turn would leave the others behind, for ever.
                left_over.cancel()
            # Called in one expression, 3.11 would search for it as for a method, slowly.
            call_soon = self.loop_call_soon
            self._drain_handle = call_soon(self._drain_callback, context=self.context)
        except RuntimeError:
            if self.loop.is_closed():
                raise HubClosedError(repr(self)) from None
            raise

    def _drain(self) -> None:
        left_over = True
        try:
            current = getcurrent()
            if current is not self.loop_greenlet:
                self._move_to(current)
            # From here on one step, see `mutex`.
            batch = self.batch
            left_over = bool(batch)
            if not left_over:
                # What an interrupted drain has left over would come first.
                self.batch = self.ready
                self.ready = batch
                successors = self._successors_of_ready
                self._successors_of_ready = self.successors
                self.successors = successors
            self._drain_handle = None
            self.drains += 1
            self.handoffs = HANDOFFS
            self._run_batch(self.batch)
        finally:
            self.handoffs = 0
            if left_over or self.batch:
                self.schedule_drain()

    def _run_batch(self, batch: deque[Switchable]) -> None:
        target: Switchable | None = None
        successors = self.successors
        while batch:
            try:
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
            except BaseException as exc:
                self._interrupted(batch, target, exc)

    def _interrupted(
        self,
        batch: deque[Switchable],
        target: Switchable | None,
        error: BaseException,
    ) -> None:
        """Lose nobody to an exception, and pass it on to whom it concerns.

        It is KeyboardInterrupt or SystemExit from a green thread, or what a signal
        handler has raised here, maybe in the moment in which the target was to go on.
        """
        starting, self.starting = self.starting, None
        if isinstance(target, greenlet):
            if target is starting and target:
                self.keep_track(target)
            if target or not _dead(target):
                # Resumed once too often, at worst.
                batch.appendleft(target)
            else:
                # Or its function has not even begun.
                kill_unstarted = getattr(target, "_kill_unstarted", None)
                if kill_unstarted is not None:
                    kill_unstarted((error,))
        elif getattr(target, "pending", False):
            assert target is not None
            batch.appendleft(target)
        self.pass_on(error)

    def forget_turn(self, target: Any) -> bool:
        """Have somebody not resumed who stands on the queue; return whether he did."""
        for entries in (self.ready, self.batch):
            for index, entry in enumerate(entries):
                # Not whom he is equal to.
                if entry is target:
                    del entries[index]
                    return True
        return False

    def keep_track(self, target: Any) -> None:
        """Know a green thread until it goes away, which this does not put off."""
        started = self._started
        started[ref(target, started.pop)] = None

    def lose_track(self, target: Any) -> None:
        """Do not know a green thread any more: it has ended, and somebody keeps it."""
        for reference in getweakrefs(target):
            self._started.pop(reference, None)

    def known(self) -> list[Any]:
        """Who stands on the queue, is being started, or was and has parked.

        Callable from any OS thread: each of the copies is one step.
        """
        parked = (reference() for reference in self._started.copy())
        while True:
            try:
                ready = (*self.batch.copy(), *self.ready.copy())
                break
            except RuntimeError:
                # Changed meanwhile, which takes a Python without the interpreter lock.
                continue
        return [*parked, self.starting, *ready]

    def park(self) -> Any:
        """Stop the current greenlet until somebody resumes it.

        Returns:
            What the resuming switch passed: ``()`` from the run queue.
        """
        if in_section():
            return park_outside(self.park)
        batch = self.batch
        if batch and (JUMPS_ARE_SAFE or batch[0]):
            # To take out and to switch, or to put back, is one step: see `successors`.
            for successor in self.successors:  # noqa: B007
                break
            if successor:
                return successor.switch()
            # The loop greenlet's to run.
            batch.appendleft(successor)
            del successor
        # See `schedule_drain`.
        loop_switch = self.loop_switch
        return loop_switch()

    def switch(self) -> Any:
        """Park the current greenlet; whoever resumes it passes the value returned.

        The caller has arranged to be resumed, for example with
        ``schedule_call_global(seconds, getcurrent().switch, value)``.

        Raises:
            BlockingInLoopError: Called in the loop greenlet.
        """
        # A frame that parks does not refer to its own greenlet.
        if getcurrent() is self.loop_greenlet:
            raise BlockingInLoopError("hub.switch()")
        if hasattr(getcurrent(), "was_interrupted"):
            return self._park_past_what_is_left()
        return self.park()

    def _park_past_what_is_left(self) -> Any:
        """Park, and take no resume of an earlier wait for one that the caller arranged.

        Who was woken and thrown into in one turn stands on the queue still.
        """
        left = self._count_own_entries()
        resumed = self.park()

        def park() -> Any:
            nonlocal resumed
            resumed = self.park()
            return resumed

        def is_over() -> bool:
            nonlocal left
            before, left = left, self._count_own_entries()
            return left >= before or type(resumed) is not tuple or bool(resumed)

        if not is_over():
            look_again(self, park, is_over, resumed)
        return resumed

    def _count_own_entries(self) -> int:
        current = getcurrent()
        entries = (*self.batch.copy(), *self.ready.copy())
        return sum(entry is current for entry in entries)

    # -- timers ----------------------------------------------------------------

    def call_later(
        self, seconds: float, callback: Callable[..., Any], *args: Any
    ) -> asyncio.TimerHandle | DeferredCall:
        """Call a function in the loop greenlet after some seconds.

        What is due at once is called in turn with the green threads that are ready.
        """
        if self.defers or seconds <= 0:
            return DeferredCall(self, seconds, callback, args)
        return self.loop.call_later(seconds, callback, *args, context=self.context)

    def schedule_call_global(
        self, seconds: float, cb: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Timer:
        """Call a function in the loop greenlet after some seconds.

        The function must not wait; to wait, it spawns.

        Returns:
            A timer with `cancel()` and `pending`.

        Raises:
            TypeError: `cb` cannot be called, or is a coroutine function.
        """
        check_callback(cb, "schedule_call_global")
        return Timer.start(self, seconds, cb, args, kwargs)

    def schedule_call_local(
        self, seconds: float, cb: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Timer:
        """Like `schedule_call_global`, but dropped if the caller has ended by then."""
        check_callback(cb, "schedule_call_local")
        return LocalTimer.start(self, seconds, cb, args, kwargs, local_to=getcurrent())

    # -- for others --------------------------------------------------------------

    def report(self, message: str, error: BaseException | None, **more: Any) -> None:
        """Hand an error that nobody waits for to the loop's exception handler."""
        context: dict[str, Any] = {"message": message, **more}
        if error is not None:
            context["exception"] = error
        report(self.loop, context)

    def discard_ready(self) -> None:
        """In a forked child: know nobody who was ready in the parent process."""
        self._set_ready(deque(), deque())
        self.handoffs = 0

    def move_to_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on on another loop; see `outliving`."""
        self.loop = loop
        self.defers = self.hides or is_uvloop(loop)
        self.moments = Moments(loop, is_uvloop(loop))
        self.loop_call_soon = loop.call_soon

    def look_up_call_soon(self) -> None:
        """Call the loop's `call_soon` as it is then: a nested loop's is replaced."""
        loop = self.loop

        def call_soon(callback: Any, *args: Any, context: Context) -> Any:
            return loop.call_soon(callback, *args, context=context)

        self.loop_call_soon = call_soon

    def resume_interrupted(self) -> None:
        """Have those resumed who were ready when an interrupt came before a drain."""
        if self.ready or self.batch:
            self.schedule_drain()

    # -- what the hub does for its run queues ------------------------------------

    def _move_to(self, current: greenlet) -> None:
        """The loop runs in another greenlet than last time."""
        raise NotImplementedError

    def pass_on(self, error: BaseException) -> None:
        """Raise in the main program what came up in the loop greenlet, or here."""
        raise NotImplementedError
