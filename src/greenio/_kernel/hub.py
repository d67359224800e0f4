"""The hub: greenio's side of one running event loop.

A `Hub` is the run queue of a loop (see `run_queue`) and what there is once per loop: its
descriptors, its signal wake-up, the greenlet that it runs in, and its end.

* An *owned* hub runs its loop itself, in a greenlet of its own: the loop goes on while
  the thread's main greenlet is parked. It ends with its program or thread.
* An *attached* hub serves a loop that somebody else runs (`asyncio.run`, a server). A
  Task, the supervisor, is cancelled with the others when that ends, and then ends the
  green threads.

Nothing here knows all green threads: a parked greenlet whose last reference goes away
gets GreenletExit from the interpreter, which a registry would prevent, and keeping one
costs every spawn. The few callers that need them all ask the garbage collector.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from asyncio import _set_running_loop
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol

from greenlet import getcurrent, greenlet

from .._loop.loops import finish_run
from .._loop.signals import SignalWakeup
from .._std.errors import HubClosedError
from .._std.originals import all_tasks, current_task, get_ident
from .descriptors import DescriptorTable, Listener
from .entries import DeferredCall, Throw, throw_into
from .run_queue import RunQueue
from .shutdown import end_green_threads, outlives_its_loop, shutdown_timeout
from .timers import Timer

# Whether a hub with green threads that outlive its loop may move to another one, and what
# moves it; set by `outliving`.
may_move: Callable[[Hub], bool] | None = None

# Looks now and then whether anybody could still wake an owned hub's main greenlet; set by
# `_greenthread.deadlocks`.
watch_for_deadlocks: Callable[[Hub], bool] | None = None

# How many waits of clean-up blocks are cut short on a loop that is closed.
_CUTS = 100

# For whoever closes a descriptor: any hub may have a listener on it.
all_hubs: weakref.WeakSet[Hub] = weakref.WeakSet()


class Extension(Protocol):
    """What a room above the kernel keeps with each hub."""

    def clear(self) -> None:
        """Let go of every greenlet: the loop ends, or runs in another greenlet."""


class Hub(RunQueue):
    """The run queue, the timers and the descriptors of one event loop.

    Users get theirs from `greenio.hubs.get_hub()` and never make one.
    """

    READ = "read"
    WRITE = "write"

    def __init__(self, loop: asyncio.AbstractEventLoop, *, owned: bool) -> None:
        super().__init__(loop, Context())
        # The run queue for green threads that do not see the loop, if there are any.
        self.twin: Hub | None = None
        self.owned = owned
        # Whether its green threads have been ended.
        self._ended = False
        self.closed = False
        # Whether it served another loop first; see `outliving`.
        self.moved = False
        self.debug_exceptions = True
        self.thread_id = get_ident()
        self.timers = 0
        self.descriptors = DescriptorTable(self)
        self._supervisor: asyncio.Task[None] | None = None
        self._signals = SignalWakeup(loop)
        self.watched = False
        # Green threads that the loop was closed under; kept until they are ended.
        self.left_behind: list[greenlet] = []
        # The greenlet of the thread that owns an owned hub; it parks like any other.
        self.main: greenlet | None = None
        # Which of the twins the main greenlet belongs to.
        self.mains_hub: Hub = self
        # What the room above keeps with a hub; see `Extension`.
        self.extension: Any = None
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

    # -- for eventlet's users ----------------------------------------------------

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

    def signal_descriptors(self) -> list[int]:
        """The descriptors that this hub reads to be woken by signals."""
        return self._signals.descriptors()

    # -- the loop greenlet -----------------------------------------------------

    def _run_loop(self) -> None:
        """The body of an owned hub's loop greenlet."""
        main = self.main
        assert main is not None
        while not self.closed:
            error: BaseException | None = None
            for queue in (self, self.twin):
                if queue is not None:
                    queue.resume_interrupted()
            self._signals.arm()
            if not self.watched and watch_for_deadlocks is not None:
                self.watched = watch_for_deadlocks(self)
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
                finish_run(self.loop)
                self._resume_timers()
                # Back when the main greenlet parks the next time.
                try:
                    main.throw(error)
                finally:
                    del error

    def _resume_timers(self) -> None:
        """Have the calls made that were due when an interrupt came before them.

        The loop has forgotten them. Finding them is slow, and so rare that nothing is to
        be kept for it.
        """
        now = self.loop.time()
        for timer in gc.get_objects():
            if type(timer) in (DeferredCall, Timer):
                try:
                    overdue = timer.is_overdue(self, now)
                except AttributeError:
                    # Whoever was making it has been interrupted.
                    continue
                if overdue:
                    timer.make_due()

    def pass_on(self, error: BaseException) -> None:
        """Raise what came up in the loop greenlet in the main program.

        At once, and not by way of the loop, which would first finish its turn, in which
        the main greenlet may be resumed, and on uvloop maybe more than that. On a loop
        that somebody else runs it is raised here, for him.
        """
        main = self.main
        if main:
            throw_into(main, (error,))
        else:
            raise error

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
                hub.discard_ready()
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
        self.loop_switch = current.switch

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
        self._supervisor = supervisor
        supervisor.add_done_callback(self._supervised)

    def _supervised(self, supervisor: asyncio.Task[None]) -> None:
        self._signals.disarm()
        if not supervisor.cancelled():
            supervisor.exception()
        if self._supervisor is supervisor:
            # KeyboardInterrupt came, and left the loop, before the task had really begun.
            self._supervisor = None
            ending = asyncio.Task(self._end_green_threads(), loop=self.loop)
            ending._log_destroy_pending = False  # type: ignore[attr-defined]

    async def _supervise(self) -> None:
        # Not before: this hub may be made in the middle of a primitive, where no code of
        # others, such as a loop's `add_reader`, is to run.
        self._signals.arm()
        # An interrupt up to here leaves the loop at once: see `_supervised`.
        cancelled = self.loop.create_future()
        try:
            await cancelled
        finally:
            self._supervisor = None
            self._signals.disarm()
            self._ended = True
            self.resume_interrupted()
            moves = may_move is not None and may_move(self)
            await self._end_green_threads(sparing=moves)

    async def _end_green_threads(self, sparing: bool = False) -> None:
        self._clear_extension()
        await end_green_threads(self, sparing)

    def end_after_close(self) -> None:
        """End those who were left when the loop was closed without having them ended.

        They are thrown out of their waits from here, and what their ``finally`` blocks
        wait for will not come: that is cut short in the same way.
        """
        if self._ended or self.thread_id != get_ident():
            return
        self._ended = True
        # The supervisor is garbage by now, and the collector may come by the sockets
        # first.
        self._signals.close()
        self._clear_extension()
        current = getcurrent()
        # Where they come back to when they wait or end.
        self._set_loop_greenlet(current)
        threads = self.green_threads()
        self.left_behind = []
        for thread in threads:
            if thread is current or outlives_its_loop(thread):
                continue
            if not thread:
                thread._kill_unstarted(())  # type: ignore[attr-defined]
                continue
            thread.parent = current
            for _ in range(_CUTS):
                if not thread:
                    break
                throw_into(thread, ())

    async def _end_loop(self) -> None:
        await self._end_green_threads()
        me = current_task()
        tasks = [task for task in asyncio.all_tasks(self.loop) if task is not me]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=shutdown_timeout())
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()

    def close(self) -> None:
        """End an owned hub: its green threads, its tasks and its loop.

        Called at the end of the program or thread. Green threads get GreenletExit
        and a few seconds (see `shutdown`) for their ``finally`` blocks.

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
            # A task may be the supervisor of a hub that has moved here.
            if self.loop_greenlet or all_tasks(loop) or self.green_threads():
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


def _root() -> greenlet:
    """The main greenlet of the current OS thread."""
    root = getcurrent()
    while root.parent is not None:
        root = root.parent
    return root
