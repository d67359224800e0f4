"""The hub: greenio's side of one running event loop.

A `Hub` is the run queue of a loop (see `run_queue`) and what there is once per loop: its
descriptors, its signal wake-up, the greenlet that it runs in, and its end.

* An *owned* hub runs its loop itself, in a greenlet of its own: the loop goes on while
  the thread's main greenlet is parked. It ends with its program or thread.
* An *attached* hub serves a loop that somebody else runs (`asyncio.run`, a server). A
  Task, the supervisor, is cancelled with the others when that ends, and then ends the
  green threads.

Nothing here keeps green threads alive: a parked greenlet whose last reference goes away
gets GreenletExit from the interpreter. They can be found all the same; see `RunQueue`.
"""

from __future__ import annotations

import asyncio
import weakref
from asyncio import _get_running_loop, _set_running_loop
from collections.abc import Callable
from contextvars import Context
from types import TracebackType
from typing import Any, Protocol

from greenlet import getcurrent, greenlet

from .._loop.interrupts import give_up, take_over
from .._loop.loops import finish_run
from .._loop.signals import SignalWakeup
from .._reactor.descriptors import DescriptorTable
from .._reactor.hub_callbacks import HubCallbacks
from .._std.errors import HubClosedError
from .._std.originals import all_tasks, current_task, get_ident
from .entries import Call, Raise, Throw, deliver, throw_into, waits_in_finalizer
from .hub_statistics import HubStatistics, statistics_of
from .overdue import resume_overdue
from .run_queue import RunQueue
from .shutdown import end_green_threads, outlives_its_loop, shutdown_timeout
from .supervisor import Ending, Supervisor, shown_loops

# Whether a hub with green threads that outlive its loop may move to another one, and what
# moves it; set by `outliving`.
may_move: Callable[[Hub], bool] | None = None

# Looks now and then whether anybody could still wake an owned hub's main greenlet; set by
# `_greenthread.deadlocks`.
watch_for_deadlocks: Callable[[Hub], bool] | None = None

# How many waits of clean-up blocks are cut short on a loop that is closed.
_CUTS = 100
_NO_CALLS: tuple[Callable[[], object], ...] = ()

# For whoever closes a descriptor: any hub may have a listener on it.
all_hubs: weakref.WeakSet[Hub] = weakref.WeakSet()


def known_hubs() -> tuple[Hub, ...]:
    """Return all hubs that there are, closed ones too."""
    while True:
        try:
            return tuple(all_hubs)
        except RuntimeError:
            # Another OS thread has just made one.
            continue


class Extension(Protocol):
    """What a room above the kernel keeps with each hub."""

    def clear(self) -> None:
        """Let go of every greenlet: the loop ends, or runs in another greenlet."""


class Hub(RunQueue, HubCallbacks):
    """The run queue, the timers and the descriptors of one event loop.

    Users get theirs from `greenio.hubs.get_hub()` and never make one.
    """

    # What hardly any hub changes is kept by the class: a hub with more than 29 attributes
    # of its own has them in a dictionary, and each access costs twice as much.

    # Whether its green threads have been ended.
    _ended = False
    # Whether it served another loop first; see `outliving`.
    moved = False
    debug_exceptions = True
    # Called when its loop has been stopped, which runs on all the same.
    stop_calls = _NO_CALLS
    # Green threads that the loop was closed under; kept until they are ended.
    left_behind: tuple[object, ...] = ()

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        owned: bool = False,
        clock: Any = None,
    ) -> None:
        if not isinstance(loop, asyncio.AbstractEventLoop):
            raise TypeError(
                "a hub is made by greenio when it is needed, as greenio.hubs.get_hub() "
                "returns it; choose its loop with greenio.hubs.use_hub() instead"
            )
        super().__init__(loop, Context())
        # The run queue for green threads that do not see the loop, if there are any.
        self.twin: Hub | None = None
        self.closed: bool = False
        self.timers = 0
        self.descriptors: DescriptorTable = DescriptorTable(self)
        self._signals = SignalWakeup(
            loop, self._resume_interrupted, self._take_over if owned else None
        )
        self.watched: bool = False
        # Which of the twins the main greenlet belongs to.
        self.mains_hub: Hub = self
        # What the room above keeps with a hub; see `Extension`.
        self.extension: Any = None
        if owned:
            self.main: greenlet | None = _root()
            self._make_loop_greenlet()
        else:
            # A guess, set right by the first drain: `getcurrent()` may be inside a Task.
            self.set_loop_greenlet(_root(), get_ident())
        all_hubs.add(self)

    def __repr__(self) -> str:
        kind = "owned" if self.owned else "attached"
        state = ", closed" if self.closed else ""
        return f"<Hub {kind}{state}, loop={self.loop!r}>"

    @property
    def owned(self) -> bool:
        """Whether it runs its loop itself."""
        return self.main is not None

    def signal_descriptors(self) -> list[int]:
        """The descriptors that this hub reads to be woken by signals."""
        return self._signals.descriptors()

    def statistics(self) -> HubStatistics:
        """Return numbers about the current state."""
        return statistics_of(self)

    # -- the loop greenlet -----------------------------------------------------

    def _begin(self) -> Any:
        """Go on in the loop greenlet, which begins by that."""
        beginning = self.loop_greenlet
        try:
            result = beginning.switch()
            # A main program that only yields comes back before the run queue's turn, and
            # what it yields next is not to be part of that.
            self._signals.handlers.let_go()
            ready = self.mains_hub.ready
            if ready and isinstance(ready[0], Call):
                ready.popleft()
            return result
        except BaseException:
            if beginning is self.loop_greenlet and beginning.dead:
                # An interrupt came before anything there could catch it.
                self._replace_loop_greenlet()
            raise

    def _make_loop_greenlet(self) -> None:
        self.set_loop_greenlet(greenlet(self._live, self.main), get_ident())
        self.loop_switch: Callable[..., Any] = self._begin

    def _replace_loop_greenlet(self) -> None:
        children = self.green_threads()
        self._make_loop_greenlet()
        for child in children:
            child.parent = self.loop_greenlet

    def _live(self) -> None:
        """The body of an owned hub's loop greenlet."""
        try:
            self._run_loop()
        except BaseException:
            # The second of two interrupts, which came while the first was being handled.
            # The next who parks begins anew.
            if not self.closed:
                self._replace_loop_greenlet()
            raise

    def _run_loop(self) -> None:
        # Those that left the loop, for the main program.
        interrupts: list[BaseException] = []
        while not self.closed:
            try:
                self.set_loop_greenlet(getcurrent(), get_ident())
                while not self.closed:
                    if interrupts:
                        self._recover()
                        self._raise_in_main(interrupts)
                    self._run_once()
            except BaseException as exc:
                interrupts.append(exc)
        if interrupts:
            raise interrupts.pop()

    def _run_once(self) -> None:
        """Run the loop until it is stopped."""
        main = self.main
        assert main is not None
        take_over(self)
        self._resume_interrupted()
        self._signals.arm()
        self._hold_handlers()
        if not self.watched and watch_for_deadlocks is not None:
            self.watched = watch_for_deadlocks(self)
        # Left by a hub that hides it; a loop does not start where one is seen.
        _set_running_loop(None)
        try:
            # Marking the main greenlet as ours makes it park on the fast path. Only
            # while the loop runs: afterwards it may run other loops.
            main._hub = self.mains_hub  # type: ignore[attr-defined]
            self.loop.run_forever()
        finally:
            self._release_main()
            self._signals.disarm()
        for call in self.stop_calls:
            call()

    def _resume_interrupted(self) -> None:
        for queue in (self, self.twin):
            if queue is not None:
                queue.resume_interrupted()

    def _hold_handlers(self) -> None:
        """Have none of them raise before the loop runs; see `held_handlers`."""
        if self._signals.handlers.hold(self.loop_greenlet):
            queue = self.mains_hub
            if queue.ready:
                # Nobody is to find out.
                queue.ready.appendleft(Call(self._let_handlers_go))
            else:
                queue.schedule(Call(self._let_handlers_go))

    def _let_handlers_go(self) -> None:
        while True:
            try:
                self._signals.handlers.let_go()
            except BaseException as exc:
                self.wake(Raise(exc))
            else:
                return

    def _take_over(self) -> None:
        if not self.closed:
            take_over(self)

    def _release_main(self) -> None:
        if hasattr(self.main, "_hub"):
            del self.main._hub  # type: ignore[union-attr]

    def _recover(self) -> None:
        """Have the loop run again after an interrupt, and miss nothing."""
        self._release_main()
        finish_run(self.loop)
        resume_overdue(self)

    def _raise_in_main(self, interrupts: list[BaseException]) -> None:
        error = interrupts[:1]
        assert self.main is not None
        if waits_in_finalizer(self.main):
            self.raise_in_main(error[0], error[0].__traceback__)
            del interrupts[0]
            return
        self._forget_turns_of(self.main)
        try:
            # Back when the main greenlet parks the next time.
            deliver(self.main, error, error[0].__traceback__)
        finally:
            if not error:
                del interrupts[0]

    def _forget_turns_of(self, main: greenlet) -> None:
        """Have an exception end the wait that the main program was to be resumed in.

        Else the turns would be the next wait's, and one who yields would pass them on.
        """
        for queue in (self, self.twin):
            while queue is not None and queue.forget_turn(main):
                pass

    def pass_on(self, error: BaseException) -> None:
        """Raise what came up in the loop greenlet in the main program.

        At once, and not by way of the loop, which would first finish its turn, in which
        the main greenlet may be resumed, and on uvloop maybe more than that. On a loop
        that somebody else runs it is raised here, for him.
        """
        main = self.main
        if main and waits_in_finalizer(main):
            self.raise_in_main(error, error.__traceback__)
        elif main:
            self._forget_turns_of(main)
            throw_into(main, (error, None, error.__traceback__))
        else:
            raise error

    def raise_in_main(
        self, error: BaseException, traceback: TracebackType | None = None
    ) -> None:
        """Raise in the main program when its turn comes.

        Raises:
            HubClosedError: The loop is closed.
        """
        assert self.main is not None
        self.wake(Throw(self.main, (error, None, traceback)))

    def disown(self) -> None:
        """In a forked child: have nobody reach the parent process's loop by this hub.

        Nothing of that loop is touched, not even closed: its poller's kernel side is
        shared with the parent. Whoever waits here is taken for one whose loop has been
        closed, so what he was waiting for goes to the next.
        """
        self.closed = True
        give_up(self)
        self._release_main()
        for hub in (self, self.twin):
            if hub is not None:
                hub.discard_ready()
        self._clear_extension()
        self.descriptors.abandon()

    def _move_to(self, current: greenlet) -> None:
        """The loop runs in another greenlet than last time: take the children along."""
        children = self.green_threads()
        self._clear_extension()
        self.set_loop_greenlet(current, get_ident())
        for child in children:
            if child is not current:
                child.parent = current

    def set_loop_greenlet(self, current: greenlet, thread_id: int) -> None:
        """Note in which greenlet of which OS thread the loop runs."""
        self.loop_switch = current.switch
        for hub in (self, self.twin):
            if hub is not None:
                hub.loop_greenlet = current
                hub.thread_id = thread_id

    def _clear_extension(self) -> None:
        extension: Extension | None = self.extension
        if extension is not None:
            extension.clear()

    # -- the end ---------------------------------------------------------------

    def green_threads(self) -> list[greenlet]:
        """Every green thread of this hub that has not ended; from any OS thread."""
        halves = (self,) if self.twin is None else (self, self.twin)
        candidates = [thread for half in halves for thread in half.known()]
        # By id, since no `__eq__` of the user's is to be called.
        return list(
            {
                id(candidate): candidate
                for candidate in candidates
                if issubclass(type(candidate), greenlet)
                and getattr(candidate, "_hub", None) in halves
                and candidate is not self.main
                and not candidate.dead
            }.values()
        )

    def supervise(self) -> None:
        """Have the green threads ended when the running loop cancels its tasks."""
        self._begin_to_supervise()

    def _begin_to_supervise(self) -> Supervisor:
        supervisor = Supervisor(self._supervise(), self.loop, self._replace)
        self._supervisor = supervisor
        supervisor.when_done(self._supervised)
        return supervisor

    def _replace(self, supervisor: Supervisor) -> None:
        """Let a supervisor end that the program waits for: another one takes its place."""
        released = supervisor.released
        # Where nobody would show the next one when the loop stops, this one stays. So it
        # does for a hub that has moved here, whose loop ends with its own hub.
        if (
            released is None
            or supervisor is not self._supervisor
            or self.moved
            or self.loop not in shown_loops
        ):
            return
        self._begin_to_supervise().hide()
        released.set_result(None)

    def _supervised(self, supervisor: Supervisor) -> None:
        if not supervisor.cancelled():
            supervisor.exception()
        if self._supervisor is supervisor:
            self._signals.disarm()
            # KeyboardInterrupt came, and left the loop, before the task had really begun.
            self._supervisor = None
            ending = Ending(self._end_green_threads(), loop=self.loop)
            ending._log_destroy_pending = False  # type: ignore[attr-defined]

    async def _supervise(self) -> None:
        # Not before: this hub may be made in the middle of a primitive, where no code of
        # others, such as a loop's `add_reader`, is to run.
        self._signals.arm()
        # An interrupt up to here leaves the loop at once: see `_supervised`.
        loop = self.loop
        released = loop.create_future()
        if self._supervisor is not None:
            self._supervisor.released = released
        is_replaced = False
        try:
            await released
            is_replaced = True
        except GeneratorExit:
            # The loop goes away without an end: see `end_after_close`.
            is_replaced = True
            raise
        finally:
            # Nor if the hub has left this loop, which had stopped.
            if not is_replaced and self.loop is loop:
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
        self.set_loop_greenlet(current, get_ident())
        threads = self.green_threads()
        self.left_behind = ()
        # Of another loop: each that is ended leaves it as on its own.
        running = _get_running_loop()
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
            _set_running_loop(running)

    async def _end_loop(self) -> None:
        await self._end_green_threads()
        me = current_task()
        tasks = [task for task in asyncio.all_tasks(self.loop) if task is not me]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=shutdown_timeout())
        for task in tasks:
            # That has been raised in the main program.
            if isinstance(getattr(task, "_exception", None), SystemExit):
                task.exception()
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()

    def close(self) -> None:
        """End an owned hub: its green threads, its tasks and its loop.

        Called at the end of the program or thread. Green threads get GreenletExit
        and a few seconds (see `shutdown`) for their ``finally`` blocks.

        Raises:
            RuntimeError: The hub is attached to somebody else's loop, or the caller
                is not the greenlet that the hub was made in.
            SystemExit: Somebody raised it in his clean-up; the hub has ended.
        """
        if self.closed:
            return
        if not self.owned:
            raise RuntimeError(f"{self!r} is attached: whoever runs its loop ends it")
        if getcurrent() is not self.main:
            raise RuntimeError(
                f"close {self!r} from the main greenlet of its own thread"
            )
        exited: SystemExit | None = None
        loop = self.loop
        if not loop.is_closed():
            # A task may be the supervisor of a hub that has moved here.
            if self.loop_greenlet or all_tasks(loop) or self.green_threads():
                exited = self._run_to_the_end()
            self.closed = True
            # Whose timer was left by an interrupt may resume us before that has ended.
            while self.loop_greenlet:
                loop.stop()
                self.loop_greenlet.switch()
            loop.close()
        self.closed = True
        self._signals.close()
        give_up(self)
        if exited is not None:
            try:
                raise exited
            finally:
                del exited

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
        self.stopping = True
        if getcurrent() is main:
            self.close()
        else:
            self.raise_in_main(HubClosedError(repr(self)))

    def _run_to_the_end(self) -> SystemExit | None:
        """End all that runs on the loop.

        Returns:
            What one of those raised to end the program; the others end all the same.
        """
        done = False
        exited: SystemExit | None = None

        def finished(task: asyncio.Task[None]) -> None:
            nonlocal done
            done = True
            if not task.cancelled():
                task.exception()
            # Closed by now, if an interrupt has cut the wait short.
            if self.main is not None and not self.closed:
                self.wake(self.main)

        ending = asyncio.Task(self._end_loop(), loop=self.loop)
        ending.add_done_callback(finished)
        try:
            while not done:
                try:
                    self.mains_hub.park()
                except SystemExit as exc:
                    exited = exited or exc
            return exited
        finally:
            del exited


def _root() -> greenlet:
    """The main greenlet of the current OS thread."""
    root = getcurrent()
    while root.parent is not None:
        root = root.parent
    return root
