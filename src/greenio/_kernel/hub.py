"""The hub: greenio's side of one running event loop.

The rules of this module:

* The *loop greenlet* is the one in which the loop's callbacks run. It never waits. A
  green thread is a greenlet whose parent is the loop greenlet.
* Waking puts a greenlet on `Hub.ready`; the first one there schedules `Hub._drain`
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
  (`Hub.defers`). libuv keeps the timers that are due, and the events that it has
  polled, in variables on its C stack while it calls back; a switch puts another
  greenlet's stack in that place, and what this one then cancels or closes is written
  into the wrong memory. Callbacks of `call_soon` run where libuv keeps nothing there.

Nothing here knows all green threads: a parked greenlet whose last reference goes away
gets GreenletExit from the interpreter, which a registry would prevent, and keeping one
costs every spawn. The few callers that need them all ask the garbage collector.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from asyncio import _set_running_loop
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol

from greenlet import getcurrent, greenlet

from .._std.errors import BlockingInLoopError, HubClosedError
from .._std.originals import get_ident
from .descriptors import DescriptorTable, Listener
from .loops import is_uvloop
from .signals import SignalWakeup
from .timers import Timer

# How long green threads may take over their `finally` blocks when their loop ends.
SHUTDOWN_TIMEOUT = 5.0
_POLL = 0.005
# How many may join a batch while it is drained.
HANDOFFS = 100

# For whoever closes a descriptor: any hub may have a listener on it.
all_hubs: weakref.WeakSet[Hub] = weakref.WeakSet()


class Switchable(Protocol):
    """What stands in a run queue: a greenlet, or a `Throw`."""

    def switch(self) -> Any: ...

    def __bool__(self) -> bool: ...


class Extension(Protocol):
    """What a room above the kernel keeps with each hub."""

    def clear(self) -> None:
        """Let go of every greenlet: the loop ends, or runs in another greenlet."""


def throw_into(target: greenlet, args: tuple[Any, ...]) -> None:
    """Raise an exception in a parked greenlet; it sees its loop, or not, as ever."""
    hub = getattr(target, "_hub", None)
    if hub is not None and hub.twin is not None:
        _set_running_loop(None if hub.hides else hub.loop)
    target.throw(*args)


class Throw:
    """A run-queue entry that raises an exception in a greenlet.

    It is false, so only the loop greenlet runs it.
    """

    __slots__ = ("_args", "_greenlet")

    def __init__(self, target: greenlet, args: tuple[Any, ...]) -> None:
        self._greenlet = target
        self._args = args

    def __bool__(self) -> bool:
        return False

    def switch(self) -> None:
        target = self._greenlet
        if target:
            throw_into(target, self._args)
        elif not target.dead:
            kill_unstarted = getattr(target, "_kill_unstarted", None)
            if kill_unstarted is not None:
                kill_unstarted(self._args)


class DeferredCall:
    """A call that is due later and is then made from the run queue; see above.

    It is false, so only the loop greenlet makes it.
    """

    __slots__ = ("_call", "_handle", "_hub")

    def __init__(
        self,
        hub: Hub,
        seconds: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        self._hub = hub
        self._call: tuple[Callable[..., Any], tuple[Any, ...]] | None = (callback, args)
        self._handle = hub.loop.call_later(seconds, self._due, context=hub.context)

    def __bool__(self) -> bool:
        return False

    def cancel(self) -> None:
        """Do not make the call, if it is still to come."""
        self._call = None
        self._handle.cancel()

    def _due(self) -> None:
        if self._call is not None:
            self._hub.wake(self)

    def switch(self) -> None:
        call = self._call
        if call is not None:
            self._call = None
            callback, args = call
            callback(*args)


class Hub:
    """The run queue, the timers and the descriptors of one event loop.

    Users get theirs from `greenio.hubs.get_hub()` and never make one.
    """

    READ = "read"
    WRITE = "write"

    # Whether its green threads see no running loop; see `_hiding`.
    hides = False

    def __init__(self, loop: asyncio.AbstractEventLoop, *, owned: bool) -> None:
        self.loop = loop
        # The hub of the same loop for green threads that see it not, if there are any.
        self.twin: Hub | None = None
        self.owned = owned
        self.closed = False
        self.debug_exceptions = True
        self.thread_id = get_ident()
        self.ready: deque[Switchable] = deque()
        self.batch: deque[Switchable] = deque()
        # How many more may join the batch that is being drained.
        self.handoffs = 0
        # No yield past the run queue now: somebody does that already, or was handed
        # something, and past it they could not hand on in one drain; see `sleep`.
        self.lone = False
        # Callbacks of ours run in this context; without it the loop would copy the
        # caller's for each of them.
        self.context = Context()
        self.timers = 0
        self.descriptors = DescriptorTable(self)
        self.loop_call_soon = loop.call_soon
        self.defers = is_uvloop(loop)
        self._drain_callback = self._drain
        self._supervisor: asyncio.Task[None] | None = None
        self._signals = SignalWakeup(loop)
        # The greenlet of the thread that owns an owned hub; it parks like any other.
        self.main: greenlet | None = None
        # Which of the twins the main greenlet belongs to.
        self.mains_hub: Hub = self
        # What the room above keeps with a hub; see `Extension`.
        self.extension: Any = None
        self.loop_greenlet: greenlet
        if owned:
            self.main = root = _root()
            self._set_loop_greenlet(greenlet(self._run_loop, root))
        else:
            # A guess, set right by the first drain: `getcurrent()` may be a portal.
            self._set_loop_greenlet(_root())
        all_hubs.add(self)

    def __repr__(self) -> str:
        kind = "owned" if self.owned else "attached"
        state = ", closed" if self.closed else ""
        return f"<Hub {kind}{state}, loop={self.loop!r}>"

    # -- the run queue ---------------------------------------------------------

    def wake(self, target: Switchable) -> None:
        """Resume a greenlet when its turn comes. Only from the hub's own OS thread."""
        ready = self.ready
        if not ready:
            if self.handoffs:
                self.handoffs -= 1
                self.batch.append(target)
                return
            self.schedule_drain()
        ready.append(target)

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
            self.loop_call_soon(self._drain_callback, context=self.context)
        except RuntimeError:
            if self.loop.is_closed():
                raise HubClosedError(repr(self)) from None
            raise

    def _drain(self) -> None:
        current = getcurrent()
        if current is not self.loop_greenlet:
            self._move_to(current)
        batch = self.ready
        self.ready = self.batch
        self.batch = batch
        self.handoffs = HANDOFFS
        try:
            self._run_batch(batch)
        finally:
            self.handoffs = 0
            if batch:
                # KeyboardInterrupt or SystemExit is on its way through: the others
                # keep their turn.
                if not self.ready:
                    self.schedule_drain()
                self.ready.extendleft(reversed(batch))
                batch.clear()

    def _run_batch(self, batch: deque[Switchable]) -> None:
        while batch:
            batch.popleft().switch()

    def park(self) -> Any:
        """Stop the current greenlet until somebody resumes it.

        Returns:
            What the resuming switch passed: ``()`` from the run queue.
        """
        batch = self.batch
        if batch:
            successor = batch.popleft()
            if successor:
                return successor.switch()
            batch.appendleft(successor)
        return self.loop_switch()

    def switch(self) -> Any:
        """Park the current greenlet; whoever resumes it passes the value returned.

        The caller has arranged to be resumed, for example with
        ``schedule_call_global(seconds, getcurrent().switch, value)``.

        Raises:
            BlockingInLoopError: Called in the loop greenlet.
        """
        if getcurrent() is self.loop_greenlet:
            raise BlockingInLoopError("hub.switch()")
        return self.park()

    # -- timers ----------------------------------------------------------------

    def call_later(
        self, seconds: float, callback: Callable[..., Any], *args: Any
    ) -> asyncio.TimerHandle | DeferredCall:
        """Call a function in the loop greenlet after some seconds."""
        if self.defers:
            return DeferredCall(self, seconds, callback, args)
        return self.loop.call_later(seconds, callback, *args, context=self.context)

    def schedule_call_global(
        self, seconds: float, cb: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Timer:
        """Call a function in the loop greenlet after some seconds.

        The function must not wait; to wait, it spawns.

        Returns:
            A timer with `cancel()` and `pending`.
        """
        return Timer(self, seconds, cb, args, kwargs)

    def schedule_call_local(
        self, seconds: float, cb: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Timer:
        """Like `schedule_call_global`, but dropped if the caller has ended by then."""
        return Timer(self, seconds, cb, args, kwargs, local_to=getcurrent())

    def get_timers_count(self) -> int:
        """How many timers of greenio's are pending on this hub."""
        return self.timers

    def get_readers(self) -> list[Listener]:
        """The listeners that somebody waits on for reading."""
        return self.descriptors.waiting(self.READ)

    def get_writers(self) -> list[Listener]:
        """The listeners that somebody waits on for writing."""
        return self.descriptors.waiting(self.WRITE)

    def notify_close(self, fileno: int) -> None:
        """Say that a descriptor is about to be closed; who waits on it gets IOClosed."""
        self.descriptors.notify_close(fileno)

    def mark_as_reopened(self, fileno: int) -> None:
        """Say that a descriptor number was closed unseen and now means another file."""
        self.descriptors.notify_close(fileno)

    # -- the loop greenlet -----------------------------------------------------

    def _run_loop(self) -> None:
        """The body of an owned hub's loop greenlet."""
        main = self.main
        assert main is not None
        while not self.closed:
            error: BaseException | None = None
            self._signals.arm()
            # Marking the main greenlet as ours makes it park on the fast path. Only
            # while the loop runs: afterwards it may run other loops.
            main._hub = self.mains_hub  # type: ignore[attr-defined]
            # Left by a hub that hides it; a loop does not start where one is seen.
            _set_running_loop(None)
            try:
                self.loop.run_forever()
            except BaseException as exc:
                error = exc
            finally:
                del main._hub  # type: ignore[attr-defined]
                self._signals.disarm()
            if error is not None:
                # Back when the main greenlet parks the next time.
                try:
                    main.throw(error)
                finally:
                    del error

    def disown(self) -> None:
        """In a forked child: have nobody reach the parent process's loop by this hub.

        Nothing of that loop is touched, not even closed: its poller's kernel side is
        shared with the parent. Whoever waits here is taken for one whose loop has been
        closed, so what he was waiting for goes to the next.
        """
        self.closed = True
        if hasattr(self.main, "_hub"):
            del self.main._hub  # type: ignore[union-attr]
        for hub in (self, self.twin):
            if hub is not None:
                hub.ready = deque()
                hub.batch = deque()
                hub.handoffs = 0
        self._clear_extension()
        self.descriptors.abandon()

    def _move_to(self, current: greenlet) -> None:
        """The loop runs in another greenlet than last time: take the children along."""
        children = self.green_threads()
        self._clear_extension()
        self._set_loop_greenlet(current)
        self.thread_id = get_ident()
        for child in children:
            if child is not current:
                child.parent = current

    def _set_loop_greenlet(self, current: greenlet) -> None:
        self.loop_greenlet = current
        # How the batch's last one goes back to the loop.
        self.loop_switch: Callable[[], Any] = current.switch

    def _clear_extension(self) -> None:
        extension: Extension | None = self.extension
        if extension is not None:
            extension.clear()

    # -- the end ---------------------------------------------------------------

    def green_threads(self) -> list[greenlet]:
        """Every green thread of this hub that has not ended.

        It asks the garbage collector, so its cost grows with the heap.
        """
        halves = (self, self.twin or self)
        return [
            candidate
            for candidate in gc.get_objects()
            if issubclass(type(candidate), greenlet)
            and getattr(candidate, "_hub", None) in halves
            and candidate is not self.main
            and not candidate.dead
        ]

    def supervise(self) -> None:
        """Have the green threads ended when the running loop cancels its tasks."""
        supervisor = asyncio.Task(
            self._supervise(), loop=self.loop, name="greenio-supervisor"
        )
        # A loop that is closed without cancelling its tasks, as many scripts do, is no
        # reason to print "Task was destroyed but it is pending".
        supervisor._log_destroy_pending = False  # type: ignore[attr-defined]
        # KeyboardInterrupt in this very step ends the loop before the task begins.
        supervisor.add_done_callback(lambda _: self._signals.disarm())
        self._supervisor = supervisor

    async def _supervise(self) -> None:
        try:
            # Not before: this hub may be made in the middle of a primitive, where no code
            # of others, such as a loop's `add_reader`, is to run.
            self._signals.arm()
            await self.loop.create_future()
        finally:
            self._supervisor = None
            self._signals.disarm()
            await self._end_green_threads()

    async def _end_green_threads(self) -> None:
        deadline = self.loop.time() + SHUTDOWN_TIMEOUT
        self._clear_extension()
        alive = self.green_threads()
        for thread in alive:
            thread.kill()  # type: ignore[attr-defined]
        while alive:
            await asyncio.sleep(0 if self.ready else _POLL)
            alive = [thread for thread in alive if not thread.dead]
            if alive and self.loop.time() > deadline:
                self.report(
                    f"{len(alive)} green threads were still running "
                    f"{SHUTDOWN_TIMEOUT:g} seconds after their loop began to shut down",
                    None,
                )
                return

    async def _end_loop(self) -> None:
        await self._end_green_threads()
        me = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks(self.loop) if task is not me]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=SHUTDOWN_TIMEOUT)
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()

    def close(self) -> None:
        """End an owned hub: its green threads, its tasks and its loop.

        Called at the end of the program or thread. Green threads get GreenletExit
        and `SHUTDOWN_TIMEOUT` seconds for their ``finally`` blocks.

        Raises:
            RuntimeError: The hub is attached to somebody else's loop, or the caller
                is not the greenlet that the hub was made in.
        """
        if self.closed:
            return
        if not self.owned:
            raise RuntimeError(f"{self!r} is attached: whoever runs its loop ends it")
        if getcurrent() is not self.main:
            raise RuntimeError(
                f"close {self!r} from the main greenlet of its own thread"
            )
        loop = self.loop
        if not loop.is_closed():
            if self.loop_greenlet or self.green_threads():
                self._run_to_the_end()
            self.closed = True
            if self.loop_greenlet:
                loop.stop()
                self.loop_greenlet.switch()
            loop.close()
        self.closed = True
        self._signals.close()

    def abort(self, wait: bool = False) -> None:
        """End an owned hub before its time.

        Every green thread gets GreenletExit, and the loop is closed. Called elsewhere
        than in the main greenlet, what that one waits for raises HubClosedError, and it
        does the rest.

        Args:
            wait: Accepted for eventlet's sake; in the main greenlet the hub has always
                ended on return.

        Raises:
            RuntimeError: The hub is attached to somebody else's loop.
        """
        main = self.main
        if main is None:
            raise RuntimeError(f"{self!r} is attached: whoever runs its loop ends it")
        if getcurrent() is main:
            self.close()
        else:
            self.wake(Throw(main, (HubClosedError(repr(self)),)))

    def _run_to_the_end(self) -> None:
        done = False

        def finished(task: asyncio.Task[None]) -> None:
            nonlocal done
            done = True
            if not task.cancelled():
                task.exception()
            assert self.main is not None
            self.wake(self.main)

        ending = asyncio.Task(self._end_loop(), loop=self.loop)
        ending.add_done_callback(finished)
        while not done:
            self.mains_hub.park()

    def report(self, message: str, error: BaseException | None, **more: Any) -> None:
        """Hand an error that nobody waits for to the loop's exception handler."""
        context: dict[str, Any] = {"message": message, **more}
        if error is not None:
            context["exception"] = error
        self.loop.call_exception_handler(context)


def _root() -> greenlet:
    """The main greenlet of the current OS thread."""
    root = getcurrent()
    while root.parent is not None:
        root = root.parent
    return root
