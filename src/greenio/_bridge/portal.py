"""Portals: a Task whose coroutine may call blocking-style functions.

The coroutine runs inside a greenlet, the `Portal`. What it awaits is handed up to the
Task as ever: each future that the coroutine yields is switched to the Task's step,
which yields it to the loop. A blocking-style call inside parks the portal by handing
up a future of ours; waking the portal completes that future. So every resume goes
through the Task's own step: `asyncio.current_task()`, cancellation, `asyncio.timeout`
and anyio's scopes stay right, and only this Task waits.

To whatever parks, a portal looks like a green thread whose hub (`PortalHub`) parks
differently:

* `Portal.switch` and `Portal.throw`, which wakers call in the loop greenlet, complete
  the future instead of switching.
* What a portal puts on the run queue is false, so only the loop greenlet runs it.
* Everything else of the hub is the real one's.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from inspect import isgeneratorfunction
from operator import attrgetter
from types import BuiltinFunctionType, CoroutineType
from types import coroutine as _generator_coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from .._greenthread.arguments import check_callable
from .._kernel.current import hub_of
from .._loop.interrupted import is_finalizing
from .._loop.reraise import exception_from
from .._reactor.scheduler import NotSwitchedTo
from .._std.originals import current_task
from .greenlet_cache import cache_of, keep
from .send_again import Thrown, send_again

if TYPE_CHECKING:
    from .._kernel.hub import Hub

P = ParamSpec("P")
T = TypeVar("T")

_switch = greenlet.switch
_throw = greenlet.throw

# Whether Tasks count their cancellations.
_TASKS_COUNT = sys.version_info >= (3, 11)


class _Resume(NotSwitchedTo):
    """A portal's entry in the run queue; false, so the loop greenlet runs it."""

    __slots__ = ("_portal",)

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def switch(self) -> None:
        self._portal.switch()


class _ReadyView:
    """The hub's run queue, as a portal sees it."""

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def __bool__(self) -> bool:
        return bool(self._hub.ready)

    def append(self, portal: Portal) -> None:
        self._hub.ready.append(_Resume(portal))


class PortalHub:
    """The hub as portals see it: they park by handing a future up to their Task."""

    __slots__ = ("_hub", "ready")

    # A portal never resumes another greenlet itself, nor joins a batch.
    batch = ()
    handoffs = 0
    # What resumes one does not switch to it, so a timer of any loop may do that.
    defers = False

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.ready = _ReadyView(hub)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hub, name)

    @property
    def timers(self) -> int:
        return self._hub.timers

    @timers.setter
    def timers(self, value: int) -> None:
        self._hub.timers = value

    @property
    def lone(self) -> bool:
        # The shortcut of `sleep` is for greenlets that the loop may switch to.
        return True

    @lone.setter
    def lone(self, value: bool) -> None:
        self._hub.lone = value

    def wake(self, target: Any) -> None:
        if type(target) is Portal:
            target = _Resume(target)
        self._hub.wake(target)

    def schedule(self, target: Any) -> None:
        self._hub.schedule(_Resume(target))

    def park(self) -> Any:
        portal: Any = getcurrent()
        return portal.park()

    switch = loop_switch = park


class Portal(greenlet):
    """The greenlet that a Task runs a coroutine in."""

    __slots__ = (
        "_cancellations",
        "_future",
        "_later",
        "_task",
        "awaiting",
        "parking_hub",
        "pending",
        "result",
    )

    # For `local`: it keeps what is its own apart.
    has_own_locals = True

    def __init__(self, hub: Hub) -> None:
        super().__init__(_serve, getcurrent())
        cache = cache_of(hub)
        if cache.portal_hub is None:
            cache.portal_hub = PortalHub(hub)
        cache.keep_track(self)
        self.parking_hub: PortalHub = cache.portal_hub
        # What is to be raised instead of a cancellation that is on its way.
        self.pending: BaseException | None = None
        # What was sent besides that which comes next.
        self._later: list[BaseException] = []
        # How many cancellations of the Task have been raised by now.
        self._cancellations = 0
        # How many calls of `await_` are under way, one inside the other.
        self.awaiting = 0
        # What the coroutine returned, until it is asked for.
        self.result: Any = None
        self._future: asyncio.Future[Any] | None = None
        # None if it has nothing to do.
        self._task: asyncio.Task[Any] | None = None

    serves = property(attrgetter("_task"))

    @property
    def serving(self) -> bool:
        """Whether a coroutine is in it."""
        return self._task is not None and not self.dead

    # -- called by wakers, in the loop greenlet --------------------------------------

    def switch(self, *args: Any) -> None:
        """Resume what is parked in the portal, in the Task's next step."""
        future = self._future
        if future is not None and not future.done():
            if len(args) == 1:
                future.set_result(args[0])
            else:
                future.set_result(args)

    def throw(self, *args: Any) -> None:
        """Raise an exception where the portal waits, in the Task's next step."""
        error = exception_from(args)
        task: Any = self._task
        if task is None:
            return
        future = self._future
        if future is None:
            # It awaits something of the user's: only a cancellation reaches it there.
            if self.pending is None:
                self.pending = error
                if _TASKS_COUNT:
                    self._cancellations = min(self._cancellations, task.cancelling())
                task.cancel()
            else:
                self._later.append(error)
        elif future.done():
            # Resumed already, but its step is still to come.
            self._later.append(error)
        else:
            future.set_exception(Thrown(error))
            # Never "was never retrieved": the step that comes retrieves it, unless the
            # Task is cancelled in the same turn.
            future.exception()

    def translated(self, error: BaseException) -> BaseException:
        """Return what a step is to raise: the cancellation, or what asked for it."""
        if not isinstance(error, asyncio.CancelledError):
            return error
        pending, self.pending = self.pending, None
        task: Any = self._task
        if _TASKS_COUNT and task is not None:
            before = self._cancellations
            count = task.cancelling() if pending is None else task.uncancel()
            self._cancellations = count
            if pending is not None and count > before:
                # Somebody else has cancelled the Task, too.
                self._later.append(asyncio.CancelledError(*error.args))
        send_again(self.parking_hub, self, self._later)
        return error if pending is None else pending

    def settle(self, failure: BaseException) -> None:
        """What was to be cancelled has failed: that is raised instead."""
        if self.pending is not None:
            interruption = self.translated(asyncio.CancelledError())
            context = failure.__context__
            if context is None or isinstance(context, asyncio.CancelledError):
                failure.__context__ = interruption
            del interruption, context

    def _interrupted(
        self, future: asyncio.Future[Any], error: BaseException
    ) -> BaseException | None:
        """See to what was sent while it was parked.

        Returns:
            What `park` is to raise, or None for the error that it caught.
        """
        instead = None
        if isinstance(error, Thrown):
            instead = error.unpacked()
        elif future.done() and not future.cancelled():
            thrown = future.exception()
            if isinstance(thrown, Thrown):
                # The Task was cancelled in the turn in which it was sent something.
                self._later.insert(0, thrown.unpacked())
        if isinstance(error, asyncio.CancelledError):
            translated = self.translated(error)
            instead = None if translated is error else translated
        send_again(self.parking_hub, self, self._later)
        return instead

    # -- called inside the portal ----------------------------------------------------

    def park(self) -> Any:
        """Let the Task wait until somebody resumes the portal."""
        hub = self.parking_hub._hub
        if hub._supervisor is None and hub.main is None:
            hub.supervise()
        # One that a finalizer or signal handler has interrupted.
        interrupted = self._future
        self._future = future = hub.loop.create_future()
        try:
            result = self._drive(future)
            if not self._later:
                return result
            error = self._later.pop(0)
            send_again(self.parking_hub, self, self._later)
        except GeneratorExit:
            raise
        except BaseException as exc:
            instead = self._interrupted(future, exc)
            if instead is None:
                if not is_finalizing(sys._getframe()):
                    raise
                instead = exc
            error = instead
            del instead
        finally:
            self._future = interrupted
            if interrupted is not None and not interrupted.done():
                # What was to resume it may have come meanwhile.
                interrupted.set_result(())
            # Here and below: what is raised keeps the frames that it goes through.
            del future
        if is_finalizing(sys._getframe()):
            send_again(self.parking_hub, self, [error])
            # The finalizer looks again, and goes on waiting.
            return ()
        try:
            raise error
        finally:
            del error, self

    def await_(self, awaitable: Awaitable[T]) -> T:
        """Drive an awaitable as a part of the Task, from a plain function.

        What ends the wait from outside is a cancellation in there, and here what it was.
        """
        self.awaiting += 1
        error = None
        try:
            result = self._drive(awaitable)
        except asyncio.CancelledError as exc:
            error = self.translated(exc)
            if error is exc:
                if is_finalizing(sys._getframe()):
                    again = asyncio.CancelledError(*exc.args)
                    send_again(self.parking_hub, self, [again])
                raise
            raise error from None
        except BaseException as exc:
            self.settle(exc)
            raise
        finally:
            self.awaiting -= 1
            del error, awaitable
        if self.pending is not None:
            # The cancellation was swallowed.
            raise self.translated(asyncio.CancelledError())
        return result

    def _drive(self, awaitable: Awaitable[T], error: BaseException | None = None) -> T:
        """Step through an awaitable, handing up what it yields.

        Args:
            awaitable: What to await.
            error: What to raise in it first, if it is a coroutine under way.
        """
        steps: Any = awaitable
        if type(awaitable) is not CoroutineType and not asyncio.iscoroutine(awaitable):
            steps = awaitable.__await__()
        yielded = None
        try:
            yielded = steps.send(None) if error is None else steps.throw(error)
            while True:
                try:
                    # Whoever steps the Task now: see `Stepper._enter`.
                    _switch(self.parent, yielded)  # type: ignore[arg-type]
                except BaseException as exc:
                    yielded = steps.throw(exc)
                else:
                    yielded = steps.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            del steps, awaitable, error, yielded


class Orphan(Portal):
    """A portal in a forked child: its Task is the parent's, so it has to park itself."""

    __slots__ = ()

    switch = greenlet.switch
    throw = greenlet.throw

    @classmethod
    def adopt(cls, portal: Portal) -> None:
        """Make a portal one."""
        portal.__class__ = cls
        del portal.parking_hub


# What a portal hands up when its coroutine has returned.
_FINISHED: Any = object()


def _serve(coro: Any, error: BaseException | None) -> None:
    """The body of a portal: one coroutine after the other, while they return.

    What a coroutine returned is not kept in this frame, nor is the portal.
    """
    while True:
        current: Any = getcurrent()
        try:
            current.result = current._drive(coro, error)
        except GreenletExit as exit_:
            # Somebody it waited for was killed, and the Task ends of it: as when it
            # awaits one. A greenlet cannot let it out; it would return it.
            raise asyncio.CancelledError(*exit_.args) from exit_
        finally:
            del coro, error, current
        following = _switch(getcurrent().parent, _FINISHED)  # type: ignore[arg-type]
        if not following:
            return
        coro, error = following
        del following


class Stepper:
    """Steps a coroutine inside a portal, on behalf of the current Task."""

    __slots__ = ("_context", "_coro", "_hub", "_portal")

    def __init__(self, coro: Coroutine[Any, Any, Any]) -> None:
        self._coro: Any = coro
        self._portal: Portal | None = None

    def send(self) -> Any:
        """Go on to the next thing that is awaited.

        Returns:
            What the coroutine yields to its Task.

        Raises:
            StopIteration: It has returned; the value is its result.
        """
        portal = self._portal
        if portal is None:
            return self._start(None)
        self._enter(portal)
        if portal.pending is not None and not portal.awaiting:
            # What it awaits has swallowed the cancellation.
            return self.throw(asyncio.CancelledError())
        yielded = _switch(portal)
        if yielded is _FINISHED:
            del portal
            self._finish()
        return yielded

    def throw(self, error: BaseException) -> Any:
        """Like `send`, raising an exception where the coroutine waits."""
        portal = self._portal
        if portal is None:
            return self._start(error)
        self._enter(portal)
        if not portal.awaiting and portal._future is None:
            if isinstance(error, asyncio.CancelledError):
                error = portal.translated(error)
            else:
                portal.settle(error)
        try:
            yielded = _throw(portal, error)
        finally:
            del portal, error
        if yielded is _FINISHED:
            self._finish()
        return yielded

    def leave(self) -> None:
        """Forget the portal: the coroutine has ended, and a failure keeps the portal."""
        portal = self._portal
        if portal is not None:
            self._portal = portal._task = None

    def _start(self, error: BaseException | None) -> Any:
        hub = hub_of(asyncio.get_running_loop())
        current = getcurrent()
        idle = cache_of(hub).portals
        if idle:
            portal: Portal = idle.pop()
            portal.parent = current
        else:
            portal = Portal(hub)
        self._hub, self._portal = hub, portal
        task: Any = current_task(hub.loop)
        portal._task = task
        if _TASKS_COUNT and task is not None:
            portal._cancellations = task.cancelling()
        del task
        self._context = portal.gr_context = current.gr_context
        coro, self._coro = self._coro, None
        yielded = _switch(portal, coro, error)
        if yielded is _FINISHED:
            del portal, coro
            self._finish()
        return yielded

    def _enter(self, portal: Portal) -> None:
        """Make the portal a part of the step that is about to enter it."""
        current = getcurrent()
        if portal.parent is not current:
            portal.parent = current
        context = current.gr_context
        if context is not self._context:
            # Otherwise the portal may be in another by a `Context.run` of its own.
            self._context = portal.gr_context = context

    def _finish(self) -> None:
        portal = self._portal
        assert portal is not None
        self._portal = None
        result = portal.result
        portal.result = portal._task = portal.gr_context = self._context = None
        portal._later.clear()
        idle = cache_of(self._hub).portals
        if portal.pending is not None or not keep(idle, portal):
            _switch(portal)
        raise StopIteration(result)


@_generator_coroutine
def in_portal(coro: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Run a coroutine inside a portal of the current Task.

    Args:
        coro: The coroutine; within it, blocking-style calls suspend the Task.

    Returns:
        Its result.
    """
    stepper = Stepper(coro)
    try:
        yielded = stepper.send()
        while True:
            try:
                yield yielded
            except BaseException as exc:
                yielded = stepper.throw(exc)
            else:
                yielded = stepper.send()
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        stepper.leave()


def current_portal() -> Portal | None:
    """Return the portal that the caller runs in, if any."""
    current = getcurrent()
    return current if type(current) is Portal else None


def in_green_code() -> bool:
    """Whether the caller may wait while the loop runs: a green thread or portal.

    The main greenlet counts, while the hub that it owns runs.
    """
    current = getcurrent()
    return hasattr(current, "_hub") or type(current) is Portal


def has_portal() -> bool:
    """Whether the caller is a coroutine, or called from one, that runs in a portal."""
    return current_portal() is not None


def portal(
    func: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a coroutine function, and all it calls, use blocking-style calls.

    Such a call suspends the Task, and nothing else.

    Args:
        func: The coroutine function.

    Returns:
        A coroutine function with the same arguments and result.

    Raises:
        TypeError: `func` is no coroutine function. Of one that is not declared as such,
            but may return a coroutine, the call raises it.
    """
    check_callable(func, "portal")
    if isinstance(func, BuiltinFunctionType) or isgeneratorfunction(func):
        raise _no_coroutine_function(func)

    @functools.wraps(func)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        coro = func(*args, **kwargs)
        if type(coro) is not CoroutineType and not isinstance(coro, Awaitable):
            raise _no_coroutine_function(func)
        return await (coro if has_portal() else in_portal(coro))

    return wrapper


def _no_coroutine_function(func: Any) -> TypeError:
    return TypeError(
        f"portal() takes a coroutine function, not {func!r}; for a blocking-style "
        "function a coroutine uses `await greenio.run_green(func, ...)` or "
        "greenio.as_async(func)"
    )


def portal_task_factory(
    loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any
) -> asyncio.Future[Any]:
    """A task factory that gives every new Task a portal.

    Use it as ``loop.set_task_factory(greenio.portal_task_factory)``.
    """
    if sys.version_info < (3, 11):  # pragma: no cover - 3.10
        kwargs.pop("context", None)
    return asyncio.Task(_portal_main(coro), loop=loop, **kwargs)


async def _portal_main(coro: Any) -> Any:
    return await in_portal(coro)
