"""Green threads: starting, waiting for and ending them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from typing import Any, ParamSpec, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from .._kernel.current import get_hub, hub_to_park_in
from .._kernel.entries import Throw, throw_into
from .._kernel.hidden_loop import hide_while
from .._kernel.hub import Hub
from .._kernel.reraise import exception_from, fresh
from .._kernel.timers import Timer
from .._kernel.waiters import TaskWaiter, Waiter, mutex, new_waiter
from .._std.errors import BlockingInLoopError, HubClosedError
from .._std.interpreter_exit import is_exiting
from .._std.originals import get_ident, time_sleep

P = ParamSpec("P")
T = TypeVar("T")

_init_greenlet = greenlet.__init__

# Passed by the timer that ends a sleep, so that no other resume is taken for it.
_TIME_IS_UP = object()


class GreenThread(greenlet):
    """A function running beside others, switched to when what it waits for is there.

    Made by `spawn` and its sisters. It is a greenlet, hashable, takes attributes of the
    user's, and can be awaited by coroutines.
    """

    __slots__ = (
        "_call",
        "_error",
        "_hub",
        "_links",
        "_result",
        "_state",
        "_timer",
        "_unretrieved",
        "_watchers",
        "fire_and_forget",
        "passed_on",
    )

    # For `local`: it keeps what is its own apart.
    has_own_locals = True

    passed_on: bool

    def __init__(
        self,
        hub: Hub,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: Context | None = None,
    ) -> None:
        _init_greenlet(self, body, hub.loop_greenlet)
        self.gr_context = copy_context() if context is None else context
        self._hub = hub
        if hub.hides:
            self.run = hide_while(body, hub.loop)
        self._call: Any = (func, args, kwargs)
        self._state = PENDING
        self._watchers: list[Waiter] | None = None
        self._links: list[tuple[Any, ...]] | None = None
        self.fire_and_forget = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._describe()} at {id(self):#x}>"

    def _describe(self) -> str:
        if self._state is not PENDING:
            return self._state
        if self._call is not None:
            return f"{_name(self._call[0])}, not started"
        frame = self.gr_frame
        inner = None
        while frame is not None and frame.f_code is not _RUN_CODE:
            inner, frame = frame, frame.f_back
        name = "?" if inner is None else inner.f_code.co_name
        return f"{name}, {'parked' if self.gr_frame is not None else 'running'}"

    # -- running -----------------------------------------------------------------

    def _failed(self, error: BaseException) -> None:
        if not hasattr(self, "_state"):
            # The last reference has gone, and GreenletExit comes from the interpreter
            # taking it apart: nobody waits.
            return
        # The user's traceback begins with the user's function.
        traceback = error.__traceback__
        if traceback is not None and traceback.tb_next is not None:
            error.__traceback__ = traceback.tb_next
        self._end(_FAILED, None, error)

    def _end(self, state: str, result: Any, error: BaseException | None) -> None:
        with mutex:
            self._result = result
            self._error = error
            self._state = state
            watchers = self._watchers
            links = self._links
            self._watchers = self._links = None
            if watchers:
                for watcher in watchers:
                    watcher.wake()
                watchers.clear()
            elif error is not None and not isinstance(error, _QUIET):
                report = _Unretrieved(self._hub, repr(self), error)
                if not self.fire_and_forget:
                    self._unretrieved = report
                del report
        if links:
            for func, args, kwargs in links:
                self._call_link(func, args, kwargs)

    def _call_link(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        try:
            func(self, *args, **kwargs)
        except Exception as exc:
            self._hub.report(f"the link {func!r} of {self!r} failed", exc)

    def run_in_place(self) -> None:
        """Run the function in the caller; this green thread never starts.

        For a caller who must not wait for it to start, such as one who holds what it
        needs.
        """
        func, args, kwargs = self._call
        self._call = None
        try:
            result = func(*args, **kwargs)
        except Exception as exc:
            self._failed(exc)
        except BaseException as exc:
            # A kill or a time limit is the caller's.
            self._failed(exc)
            unretrieved = getattr(self, "_unretrieved", None)
            if unretrieved is not None:
                unretrieved.retrieved()
            raise
        else:
            self._end(_DONE, result, None)

    def _kill_unstarted(self, throw_args: tuple[Any, ...]) -> None:
        """End a green thread that never ran: its function is not called at all."""
        self._call = None
        timer = getattr(self, "_timer", None)
        if timer is not None:
            timer.cancel()
        if self._state is PENDING:
            self._end(_FAILED, None, exception_from(throw_args))

    # -- what others see -----------------------------------------------------------

    @property
    def dead(self) -> bool:
        """Whether it has ended: returned, failed, or was killed."""
        return self._state is not PENDING or bool(greenlet.dead.__get__(self))

    def wait(self) -> Any:
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
        return self.outcome()

    def wait_end(self) -> None:
        """Wait until the green thread ends, however it does; see `wait`."""
        if getcurrent() is self:
            raise RuntimeError(
                "a green thread cannot wait for itself; wait for it from another "
                "one, or use link() to be told when it ends"
            )
        with mutex:
            if self._state is not PENDING:
                return
            waiter = new_waiter("GreenThread.wait()")
            watchers = self._watchers
            if watchers is None:
                self._watchers = watchers = []
            watchers.append(waiter)
        try:
            waiter.block()
        except BaseException:
            self._forget(waiter)
            raise

    async def wait_async(self) -> Any:
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
        return self.outcome_async()

    def __await__(self) -> Generator[Any, None, Any]:
        return self.wait_async().__await__()

    async def wait_end_async(self) -> None:
        """Await the end of the green thread, however it ends; it is not killed."""
        with mutex:
            if self._state is not PENDING:
                return
            waiter = TaskWaiter()
            if self._watchers is None:
                self._watchers = []
            self._watchers.append(waiter)
        try:
            await waiter.future
        except BaseException:
            self._forget(waiter)
            raise

    def _forget(self, waiter: Waiter) -> None:
        with mutex:
            waiter.done = True
            if self._watchers and waiter in self._watchers:
                self._watchers.remove(waiter)

    def outcome(self) -> Any:
        """Return or raise what `wait` does, of a green thread that has ended."""
        error = self.failure()
        if error is None:
            return self._result
        raise error

    def outcome_async(self) -> Any:
        """Return or raise what awaiting it does; like `outcome`."""
        if isinstance(self._error, GreenletExit):
            raise asyncio.CancelledError(f"{self!r} was killed")
        return self.outcome()

    def failure(self) -> BaseException | None:
        """Return what a green thread that has ended failed with; it is not reported."""
        error = self._error
        if error is None:
            return None
        unretrieved = getattr(self, "_unretrieved", None)
        if unretrieved is not None:
            unretrieved.retrieved()
        # Each raise starts from the traceback that the failure had, or the shared
        # exception would grow with every waiter.
        return fresh(error)

    def link(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``func(green_thread, *args, **kwargs)`` called when it ends.

        It is called in the ending green thread, or at once if that has ended already.
        """
        with mutex:
            if self._state is PENDING:
                if self._links is None:
                    self._links = []
                self._links.append((func, args, kwargs))
                return
        self._call_link(func, args, kwargs)

    def unlink(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
        """Take back a `link` made with the same arguments.

        Returns:
            Whether there was one.
        """
        with mutex:
            if self._links:
                try:
                    self._links.remove((func, args, kwargs))
                except ValueError:
                    return False
                return True
        return False

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


PENDING = "pending"
_DONE = "done"
_FAILED = "failed"
_QUIET = (GreenletExit, asyncio.CancelledError, KeyboardInterrupt, SystemExit)


def body() -> None:
    """The body of every green thread.

    Nothing in this frame refers to the green thread: one that is parked, and that
    nobody else refers to, can go (it gets GreenletExit), and a failure, whose traceback
    leads here through `f_back`, does not lead on to the green thread that keeps it.
    """
    call = getcurrent()._call  # type: ignore[attr-defined]
    if call is None:
        return
    getcurrent()._call = None  # type: ignore[attr-defined]
    func, args, kwargs = call
    del call
    try:
        result = func(*args, **kwargs)
    except BaseException as exc:
        getcurrent()._failed(exc)  # type: ignore[attr-defined]
        if isinstance(exc, (KeyboardInterrupt, SystemExit)) and not hasattr(
            getcurrent(), "passed_on"
        ):
            # To whoever runs the loop: the script's main greenlet, asyncio.run. Unless
            # who was told of the end (a link) raises it there.
            raise
    else:
        getcurrent()._end(_DONE, result, None)  # type: ignore[attr-defined]
    finally:
        del func, args, kwargs


_RUN_CODE = body.__code__


class _Unretrieved:
    """Reports a failure that nobody asked about before the green thread went away."""

    __slots__ = ("_error", "_hub", "_name", "_traceback")

    def __init__(self, hub: Hub, name: str, error: BaseException) -> None:
        self._hub: Hub | None = hub
        self._name = name
        self._error = error

    def retrieved(self) -> None:
        self._hub = None

    def __del__(self) -> None:
        hub = self._hub
        if hub is not None and hub.debug_exceptions and not is_exiting():
            hub.report(
                f"{self._name} failed, and nobody waited for it",
                self._error,
            )


def _name(func: Any) -> str:
    return getattr(func, "__qualname__", None) or repr(func)


def check_callable(func: Any, what: str) -> None:
    """Raise TypeError, saying what would have worked, unless `func` can be called."""
    if not callable(func):
        hint = ""
        if asyncio.iscoroutine(func):
            func.close()
            hint = (
                "; a coroutine is started with asyncio.create_task(), or waited for "
                "with greenio.await_() in a green thread"
            )
        raise TypeError(
            f"{what} takes a function and its arguments, as in {what}(func, arg), "
            f"not {func!r}{hint}"
        )


def spawn(func: Callable[..., Any], *args: Any, **kwargs: Any) -> GreenThread:
    """Run a function in a green thread of its own.

    It starts when the caller next waits or yields, in a copy of the caller's
    `contextvars` context.

    Args:
        func: The function.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Returns:
        The green thread: `wait()` or ``await`` it for the result.

    Raises:
        TypeError: `func` cannot be called.
        HubClosedError: The caller's loop is closed.
    """
    if not callable(func):
        check_callable(func, "spawn")
    try:
        hub: Hub = getcurrent()._hub  # type: ignore[attr-defined]
    except AttributeError:
        hub = get_hub()
    thread = GreenThread(hub, func, args, kwargs)
    # Hub.wake, written out.
    ready = hub.ready
    if not ready:
        if hub.handoffs:
            hub.handoffs -= 1
            hub.batch.append(thread)
            return thread
        hub.schedule_drain()
    ready.append(thread)
    return thread


def spawn_n(func: Callable[..., Any], *args: Any, **kwargs: Any) -> GreenThread:
    """Run a function in a green thread whose result nobody needs.

    Like `spawn`, but a failure goes to the loop's exception handler at once.

    Raises:
        TypeError: `func` cannot be called.
    """
    thread = spawn(func, *args, **kwargs)
    thread.fire_and_forget = True
    return thread


def _spawn_after(
    seconds: float,
    what: str,
    local: bool,
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> GreenThread:
    check_callable(func, what)
    check_seconds(seconds, what)
    hub = get_hub()
    thread = GreenThread(hub, func, args, kwargs)
    spawner = getcurrent() if local else None
    thread._timer = Timer(hub, seconds, thread._start_later, (spawner,))
    return thread


def spawn_after(
    seconds: float, func: Callable[..., Any], *args: Any, **kwargs: Any
) -> GreenThread:
    """Run a function in a green thread that starts after some seconds.

    Returns:
        The green thread; `cancel()` it to call the start off.

    Raises:
        TypeError: `func` cannot be called, or `seconds` is not a number.
        ValueError: `seconds` is negative.
    """
    return _spawn_after(seconds, "spawn_after", False, func, args, kwargs)


def spawn_after_local(
    seconds: float, func: Callable[..., Any], *args: Any, **kwargs: Any
) -> GreenThread:
    """Like `spawn_after`, but called off if the caller has ended by then.

    Raises:
        TypeError: `func` cannot be called, or `seconds` is not a number.
        ValueError: `seconds` is negative.
    """
    return _spawn_after(seconds, "spawn_after_local", True, func, args, kwargs)


def check_seconds(seconds: Any, what: str) -> None:
    """Raise, saying what would have worked, unless `seconds` is a number >= 0."""
    try:
        good = seconds >= 0
    except TypeError:
        raise TypeError(
            f"{what}() takes a number of seconds, not {seconds!r}"
        ) from None
    if not good:
        raise ValueError(
            f"{what}() takes 0 seconds (let the others run) or more, not {seconds!r}"
        )


def sleep(seconds: float = 0) -> None:
    """Let the others run, and go on after some seconds.

    Args:
        seconds: How long; 0 yields for one turn of the loop.

    Raises:
        TypeError: `seconds` is not a number.
        ValueError: `seconds` is negative.
        BlockingInLoopError: Called in the loop greenlet with more than 0 seconds; a
            coroutine uses ``await asyncio.sleep(seconds)``.
    """
    current = getcurrent()
    try:
        hub: Hub = current._hub  # type: ignore[attr-defined]
    except AttributeError:
        here = _hub_to_sleep_in(seconds)
        if here is None:
            return
        hub = here
    if seconds == 0:
        # Hub.wake and Hub.park, written out: this is the hottest path there is.
        ready = hub.ready
        batch = hub.batch
        if ready or batch or hub.lone:
            if not ready:
                hub.lone = False
                hub.schedule_drain()
            ready.append(current)
            if batch:
                successor = batch.popleft()
                if successor:
                    successor.switch()
                    return
                batch.appendleft(successor)
            hub.loop_switch()
            return
        # Nobody else is ready: a turn of the loop without the run queue is enough.
        hub.lone = True
        try:
            hub.loop_call_soon(current.switch, context=hub.context)
            hub.loop_switch()
        finally:
            hub.lone = False
        return
    check_seconds(seconds, "sleep")
    hub.timers += 1
    timer = None
    if seconds != math.inf:
        timer = hub.call_later(seconds, current.switch, _TIME_IS_UP)
    try:
        while hub.park() is not _TIME_IS_UP:
            pass
    except BaseException:
        if timer is not None:
            timer.cancel()
        raise
    finally:
        hub.timers -= 1


def _hub_to_sleep_in(seconds: float) -> Hub | None:
    """The hub for a caller that is not a green thread; None if it has slept."""
    check_seconds(seconds, "sleep")
    try:
        hub = None if is_exiting() else hub_to_park_in(f"sleep({seconds!r})")
    except BlockingInLoopError:
        if seconds == 0:
            return None
        raise
    if hub is None:
        time_sleep(seconds)
    return hub


def kill(g: greenlet, *throw_args: Any) -> None:
    """End a green thread by raising an exception in it.

    It sees the exception before `kill` returns, wherever it waits, unless the caller
    is a coroutine, a loop callback or another OS thread: then it sees it in its next
    turn. A green thread that has not started never runs its function.

    Args:
        g: The green thread; nothing happens if it has ended.
        *throw_args: What to raise, as for `greenlet.throw`; GreenletExit by default.
    """
    if g.dead:
        return
    current = getcurrent()
    if g is current:
        raise exception_from(throw_args)
    hub: Hub = getattr(g, "_hub", None) or get_hub()
    args = throw_args or (GreenletExit,)
    if get_ident() != hub.thread_id:
        if not hub.call_threadsafe(Throw(g, args).switch):
            raise HubClosedError(repr(g))
    elif not g and isinstance(g, GreenThread):
        g._kill_unstarted(throw_args)
    elif g and (here := getattr(current, "_hub", None)) in (hub, hub.twin or hub):
        here.wake(current)
        throw_into(g, args)
    else:
        hub.wake(Throw(g, args))


def cancel(g: greenlet, *throw_args: Any) -> None:
    """Kill a green thread that has not started yet; leave a running one alone."""
    if not g and not g.dead:
        kill(g, *throw_args)


def exc_after(seconds: float, *throw_args: Any) -> Timer:
    """Raise an exception in the current green thread after some seconds.

    eventlet's old form of `Timeout`, which is the better one.

    Returns:
        A timer; `cancel()` it when the exception is not wanted any more.
    """
    check_seconds(seconds, "exc_after")
    current = getcurrent()
    return Timer(
        get_hub(), seconds, throw_into, (current, throw_args), local_to=current
    )


def call_after_global(
    seconds: float, func: Callable[..., Any], *args: Any, **kwargs: Any
) -> Timer:
    """Run a function in a new green thread after some seconds.

    Returns:
        A timer with `cancel()`.
    """
    check_callable(func, "call_after_global")
    check_seconds(seconds, "call_after_global")
    return Timer(get_hub(), seconds, spawn_n, (func, *args), kwargs)


def call_after_local(
    seconds: float, func: Callable[..., Any], *args: Any, **kwargs: Any
) -> Timer:
    """Like `call_after_global`, but dropped if the caller has ended by then.

    Returns:
        A timer with `cancel()`.
    """
    check_callable(func, "call_after_local")
    check_seconds(seconds, "call_after_local")
    hub = get_hub()
    return Timer(hub, seconds, spawn_n, (func, *args), kwargs, local_to=getcurrent())
