"""Green threads: what they are, waiting for them and ending them.

The life of a green thread, as its `repr` shows it::

    not started ──► running ◄──► parked
         │             │            │
         ▼             ▼            ▼
     cancelled    done, failed, killed, cancelled

* It is made with its function in `_call` and put on the run queue. From its first switch on
  (`body`), `_call` is None, and what runs belongs to the function.
* `kill` raises an exception where it waits. One that has not started never runs: it ends at
  once, in the killer.
* It ends in `_end`, once, in this order: outcome and state are set; watchers are woken; links
  are called; a failure is reported. All but the links and the report is one step under the
  mutex, so whoever looks finds it pending or ended and never in between.

There are two ways to be told of the end. A *watcher* is a waiter (`wait`, `await`, `joinall`):
it goes on in a turn of its own, and is expected to ask for the outcome. A *link* is a function
of the user's, called by the ending green thread itself: it may wait, fail, or raise, and none
of that keeps the next link from being called.

Who sees the exception of a green thread that failed:

* whoever asks: `wait`, `await`, `outcome`; each gets the same exception, with the traceback
  that it had when it ended (`failure`);
* the loop's exception handler, at once, if no watcher was woken and no link asked
  (`Unretrieved.make`);
* if somebody was to ask (a watcher was woken; a pool, pile or group has it, `has_taker`) and
  never did, the exception handler, when the green thread goes away (`Unretrieved.__del__`);
* for KeyboardInterrupt and SystemExit, in any case, whoever runs the loop: `body` lets them
  through to the loop greenlet, unless a group has passed them on (`passed_on`).

GreenletExit and CancelledError are ends, not failures: nobody is told unasked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from types import CoroutineType
from typing import Any, Concatenate, Generic, ParamSpec

from greenlet import GreenletExit, getcurrent, greenlet

from .._kernel.hidden_loop import body_on
from .._kernel.hub import Hub
from .._kernel.waiters import Waiter, drop, hold, mutex, new_task_waiter, new_waiter
from .._loop.reraise import exception_from, forget_locals, forget_own_frames
from .._reactor.timers import Timer
from .._std.type_variables import Result_co
from .arguments import (
    OfFutures,
    check_callable,
    key_of,
    name_of,
)
from .coroutines import finished
from .going_on import go_on
from .killing import cancel, kill
from .spawn_site import stack_of_spawner
from .thread_names import DONE, PENDING, ExitEvent, exit_funcs, init_by_parent
from .unretrieved import Unretrieved

_init_greenlet = greenlet.__init__

P = ParamSpec("P")


class GreenThread(greenlet, Generic[Result_co]):
    """A function running beside others, switched to when what it waits for is there.

    Made by `spawn` and its sisters. It is a greenlet, hashable, takes attributes of the
    user's, and can be awaited by coroutines. For type checkers it has the type of its
    result: ``GreenThread[bytes]`` is one whose `wait` returns bytes.

    One that a program makes of a parent alone, as eventlet's are made, runs
    ``main(function, args, kwargs)`` when it is first switched to with these three.
    """

    __slots__ = (
        "_call",
        "_error",
        "_hub",
        "_links",
        "_name",
        "_result",
        "_spawned_at",
        "_state",
        "_timer",
        "_traceback",
        "_unretrieved",
        "_watchers",
        "has_taker",
        "passed_on",
        "was_interrupted",
    )

    # For `local`: it keeps what is its own apart.
    has_own_locals = True

    passed_on: bool

    # eventlet's names for its end, and for who is told of it.
    _exit_event = property(ExitEvent)
    _exit_funcs = property(exit_funcs)

    add_done_callback: object = OfFutures(
        "use asyncio.wait([asyncio.ensure_future(green_thread), ...]), or link()"
    )

    def __init__(
        self,
        parent: Any,
        func: Callable[..., Result_co] | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        context: Context | None = None,
    ) -> None:
        # It is the hub, if it is one of ours who makes this.
        try:
            _init_greenlet(self, body, parent.loop_greenlet)
        except AttributeError:
            init_by_parent(self, parent, GreenThread.__init__)
            return
        self.gr_context = copy_context() if context is None else context
        self._hub: Hub = parent
        if parent.hides:
            self.run = body_on(parent, body)
        self._call: Any = (func, args, kwargs)
        try:
            self._name: str = func.__qualname__  # type: ignore[union-attr]
        except AttributeError:
            self._name = name_of(func)
        self._state = PENDING
        # Both by what they are taken back with; in order.
        self._watchers: dict[Waiter, None] | None = None
        self._links: dict[Any, _Link] | None = None
        # Whether somebody will ask for its result who does not wait for it yet.
        self.has_taker: bool = False
        self._unretrieved: Unretrieved | None = None
        if parent.loop.get_debug():
            self._spawned_at = stack_of_spawner()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._describe()} at {id(self):#x}>"

    def _describe(self) -> str:
        if self._state is not PENDING:
            state = self._state
        elif self._call is not None:
            state = "not started"
        else:
            state = "parked" if self.gr_frame is not None else "running"
        return f"{self._name}, {state}"

    # -- running -----------------------------------------------------------------

    def main(
        self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> None:
        """Run a function, and end with its outcome: what the first switch does.

        For subclasses that are made of a parent alone, to do something before or after.
        """
        self._call = (function, args, kwargs)
        body()

    def _failed(self, error: BaseException) -> None:
        if not hasattr(self, "_state"):
            # The last reference has gone, and GreenletExit comes from the interpreter
            # taking it apart: nobody waits.
            return
        if type(error) in _KILLED:
            # Nobody asks where, and its frames would stay as long as this thread does.
            error.__traceback__ = None
        else:
            # The user's traceback begins with the user's function.
            traceback = error.__traceback__
            if traceback is not None and traceback.tb_next is not None:
                error.__traceback__ = traceback = traceback.tb_next
            forget_own_frames(traceback)
            self._traceback = traceback
            del traceback
            self._hub.lose_track(self)
        self._end(_state_after(error), None, error)

    def _interrupted(self, error: BaseException) -> None:
        """End with what has kept it from that, if it has not ended."""
        if getattr(self, "_state", None) is PENDING:
            self._failed(error)

    def _end(self, state: str, result: Any, error: BaseException | None) -> None:
        try:
            hold()
            self._result = result
            self._error = error
            self._state = state
            watchers = self._watchers
            links = self._links
            self._watchers = self._links = None
            waited_for = False
            if watchers:
                for watcher in watchers:
                    if not watcher.done and watcher.wake():
                        waited_for = True
                watchers.clear()
        finally:
            drop()
        if error is None or isinstance(error, _QUIET):
            if links:
                self._call_links(links)
            return
        # Before the links, which may ask for the failure.
        report = Unretrieved(self._hub, repr(self), error)
        self._unretrieved = report
        if links:
            self._call_links(links)
        if not (waited_for or self.has_taker):
            report.make(self)
            # Seen with all that was in its variables. Who is parked may still refer to
            # this thread, as the one he handed over to, and is not to keep those alive.
            forget_locals(getattr(self, "_traceback", None))

    def _call_links(self, links: dict[Any, _Link]) -> None:
        """Call all of them, whatever the others raise."""
        interrupt: BaseException | None = None
        for link in links.values():
            try:
                self._call_link(*link)
            except BaseException as exc:
                interrupt = exc
        links.clear()
        if interrupt is not None:
            try:
                raise interrupt
            finally:
                del interrupt

    def _call_link(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        try:
            finished(func, func(self, *args, **kwargs))
        except (KeyboardInterrupt, SystemExit):
            raise
        except GreenletExit:
            # Killed, as one whose function has not returned would be.
            pass
        except BaseException as exc:
            self._hub.report(
                f"the link {name_of(func)} of {self!r} failed", exc, greenthread=self
            )

    def run_in_place(self) -> None:
        """Run the function in the caller; this green thread never starts.

        For a caller who must not wait for it to start, such as one who holds what it
        needs.
        """
        func, args, kwargs = self._call
        self._call = None
        # The caller.
        self.has_taker = True
        try:
            result = finished(func, func(*args, **kwargs))
        except Exception as exc:
            self._failed(exc)
        except BaseException as exc:
            # A kill or a time limit is the caller's.
            self._failed(exc)
            unretrieved = self._unretrieved
            if unretrieved is not None:
                unretrieved.retrieved()
            raise
        else:
            self._end(_DONE, result, None)

    def _kill_unstarted(self, throw_args: tuple[Any, ...]) -> None:
        """End a green thread that never ran: its function is not called at all."""
        self._call = None
        try:
            timer = getattr(self, "_timer", None)
            if timer is not None:
                timer.cancel()
            if self._state is PENDING:
                error = exception_from(throw_args)
                state = _CANCELLED if isinstance(error, GreenletExit) else _FAILED
                self._end(state, None, error)
        except BaseException:
            self._interrupted(GreenletExit())
            raise

    # -- what others see -----------------------------------------------------------

    @property
    def name(self) -> str:
        """What it is called in texts about it: the name of its function, or one given.

        Set it to anything: ``spawn(fetch, url).name = f"fetch {url}"``.
        """
        return self._name

    @name.setter
    def name(self, value: object) -> None:
        self._name = str(value)
        # Not a slot: whoever has it serves no other call; see `greenlet_cache`.
        self.__dict__["_is_named"] = True

    @property
    def is_named(self) -> bool:
        """Whether its name was given to it."""
        return "_is_named" in self.__dict__

    @property
    def dead(self) -> bool:
        """Whether it has ended: returned, failed, or was killed."""
        return self._state is not PENDING or bool(greenlet.dead.__get__(self))

    def wait(self) -> Result_co:
        """Wait until the green thread ends.

        Returns:
            What its function returned.

        Raises:
            BaseException: Whatever its function raised; GreenletExit if it was killed.
            RuntimeError: A green thread waits for itself.
            BlockingInLoopError: Called in the loop greenlet before it ended; use
                ``await green_thread`` there.
        """
        if self._state is PENDING:
            self.wait_end()
        if self._error is None:
            return self._result  # type: ignore[no-any-return]
        error: Any = self.failure()
        # The traceback is kept by the error, and this frame by the traceback.
        try:
            raise error
        finally:
            del error, self

    def wait_end(self) -> None:
        """Wait until the green thread ends, however it does; see `wait`."""
        if getcurrent() is self:
            raise RuntimeError(
                "a green thread cannot wait for itself; wait for it from another "
                "one, or use link() to be told when it ends"
            )
        if self._state is not PENDING:
            return
        waiter = new_waiter("GreenThread.wait()")
        if not self.watch(waiter):
            return
        try:
            waiter.block()
        except BaseException:
            self.unwatch(waiter)
            raise

    async def wait_async(self) -> Result_co:
        """Wait until the green thread ends, as a coroutine; ``await gt`` is the same.

        Cancelling the wait kills the green thread and goes on when it has ended.

        Returns:
            What its function returned.

        Raises:
            asyncio.CancelledError: The green thread was killed.
            BaseException: Whatever else its function raised.
        """
        if self._state is PENDING:
            try:
                await self.wait_end_async()
            except asyncio.CancelledError:
                self.kill()
                while self._state is PENDING:
                    # A second cancellation does not abandon the finally blocks either.
                    try:
                        await self.wait_end_async()
                    except asyncio.CancelledError:
                        continue
                raise
        try:
            return self.outcome_async()
        finally:
            del self

    def __await__(self) -> Generator[Any, None, Result_co]:
        return self.wait_async().__await__()

    async def wait_end_async(self) -> None:
        """Await the end of the green thread, however it ends; it is not killed."""
        waiter = new_task_waiter()
        if not self.watch(waiter):
            return
        try:
            await waiter.future
        except BaseException:
            self.unwatch(waiter)
            raise

    def watch(self, waiter: Waiter) -> bool:
        """Have a waiter woken when it ends, by somebody who then asks how.

        Returns:
            False if it has ended already.
        """
        try:
            hold()
            watchers = self._watchers
            if watchers is None:
                watchers = {}
            # Here, since a finalizer may run when a dictionary is made.
            if self._state is not PENDING:
                return False
            if self._watchers is None:
                self._watchers = watchers
            self._watchers[waiter] = None
            return True
        finally:
            drop()

    def unwatch(self, waiter: Waiter) -> None:
        """Have a waiter not woken any more."""
        with mutex:
            waiter.done = True
            if self._watchers:
                self._watchers.pop(waiter, None)

    def outcome(self) -> Result_co:
        """Return or raise what `wait` does, of a green thread that has ended."""
        error = self.failure()
        if error is None:
            return self._result  # type: ignore[no-any-return]
        try:
            raise error
        finally:
            del error, self

    def outcome_async(self) -> Result_co:
        """Return or raise what awaiting it does; like `outcome`."""
        if isinstance(self._error, GreenletExit):
            raise asyncio.CancelledError(f"{self!r} was killed")
        error = self.failure()
        if error is None:
            return self._result  # type: ignore[no-any-return]
        try:
            raise error
        finally:
            del error, self

    def failure(self) -> BaseException | None:
        """Return what a green thread that has ended failed with; it is not reported."""
        error = self._error
        if error is None:
            return None
        unretrieved = self._unretrieved
        if unretrieved is not None:
            unretrieved.retrieved()
            self._unretrieved = None
        if greenlet.dead.__get__(self):
            self.gr_context = None
        if type(error) in _KILLED:
            return type(error)(*error.args)
        # Each raise starts from the traceback that the failure had, or the shared
        # exception would grow with every waiter.
        return error.with_traceback(getattr(self, "_traceback", None))

    def link(
        self,
        func: Callable[Concatenate[GreenThread[Result_co], P], object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Have ``func(green_thread, *args, **kwargs)`` called when it ends.

        It is called in the ending green thread, or at once if that has ended already.
        What it raises is reported, and keeps no other link from being called.

        Raises:
            TypeError: `func` cannot be called.
        """
        if not callable(func):
            check_callable(func, "GreenThread.link")
        with mutex:
            if self._state is PENDING:
                links = self._links
                if links is None:
                    self._links = links = {}
                key = key_of(func, args, kwargs)
                links[object() if key in links else key] = (func, args, kwargs)
                return
        self._call_link(func, args, kwargs)

    def unlink(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
        """Take back a `link` made with the same arguments.

        Returns:
            Whether there was one.
        """
        with mutex:
            links = self._links
            if not links:
                return False
            key = key_of(func, args, kwargs)
            if key not in links:
                # Made twice with these, or with what cannot be a key.
                call = (func, args, kwargs)
                key = next((key for key, link in links.items() if link == call), None)
            return links.pop(key, None) is not None

    def kill(self, *throw_args: Any) -> None:
        """End it by raising an exception in it; see `greenio.greenthread.kill`."""
        kill(self, *throw_args)

    def cancel(self, *throw_args: Any) -> None:
        """Kill it if it has not started yet; otherwise do nothing."""
        cancel(self, *throw_args)

    def lose(self, state: str, error: BaseException) -> None:
        """Count as ended, without ever having been; see `_fork`."""
        self._call = None
        self._error = error
        self._state = state

    def _start_later(self, spawner: greenlet | None) -> None:
        self._timer: Timer | None = None
        if spawner is not None and spawner.dead:
            self._kill_unstarted(())
        elif self._state is PENDING:
            self.switch()


_DONE, _FAILED = DONE, "failed"
_KILLED_STATE, _CANCELLED = "killed", "cancelled"
# Ends that are no failures; each raise may be of an instance of its own.
_KILLED = (GreenletExit, asyncio.CancelledError)
_QUIET = (GreenletExit, asyncio.CancelledError, KeyboardInterrupt, SystemExit)


def body() -> None:
    """The body of every green thread; of what comes after its end, see `going_on`.

    Nothing in this frame refers to it: if it is parked, and nobody else refers to it, it can
    go (by GreenletExit), and a failure, whose traceback leads here through `f_back`, does not
    lead on to the green thread that keeps it.
    """
    try:
        while True:
            call = getcurrent()._call  # type: ignore[attr-defined]
            if call is None:
                return
            getcurrent()._call = None  # type: ignore[attr-defined]
            func, args, kwargs = call
            del call
            try:
                result = func(*args, **kwargs)
                if type(result) is CoroutineType:
                    result = finished(func, result)
            except BaseException as exc:
                getcurrent()._failed(exc)  # type: ignore[attr-defined]
                if isinstance(exc, (KeyboardInterrupt, SystemExit)) and not hasattr(
                    getcurrent(), "passed_on"
                ):
                    # To whoever runs the loop, unless who was told (a link) raises it there.
                    raise
                return
            else:
                getcurrent()._end(_DONE, result, None)  # type: ignore[attr-defined]
            finally:
                del func, args, kwargs
            del result
            if type(getcurrent()) is not GreenThread or not go_on():
                return
    except BaseException as exc:
        getcurrent()._interrupted(exc)  # type: ignore[attr-defined]
        raise


_Link = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def _state_after(error: BaseException) -> str:
    cancelled = _CANCELLED if isinstance(error, asyncio.CancelledError) else _FAILED
    return _KILLED_STATE if isinstance(error, GreenletExit) else cancelled
