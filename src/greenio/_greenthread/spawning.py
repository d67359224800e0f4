"""Starting green threads, now or later."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, ParamSpec, TypeVar, overload

from greenlet import getcurrent

from .._kernel.current import get_hub, hub_to_spawn_on
from .._kernel.entries import Throw
from .._kernel.hub import Hub
from .._reactor.timers import Timer
from .._std.protocols import PendingCall
from .arguments import check_callable, check_throwable, checked_seconds
from .thread import GreenThread

P = ParamSpec("P")
T = TypeVar("T")

# Each is given to type checkers in two forms: what a coroutine function returns is awaited
# in the green thread, so the result is the coroutine's.


@overload
def spawn(
    func: Callable[P, Coroutine[Any, Any, T]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> GreenThread[T]: ...
@overload
def spawn(
    func: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> GreenThread[T]: ...
def spawn(func: Callable[..., Any], *args: Any, **kwargs: Any) -> GreenThread[Any]:
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
        HubError: The caller is a job in an executor's OS thread that has no hub.
    """
    if not callable(func):
        check_callable(func, "spawn")
    hub: Hub = getattr(getcurrent(), "_hub", None) or hub_to_spawn_on("spawn")
    thread = GreenThread(hub, func, args, kwargs)
    hub.wake(thread)
    return thread


@overload
def spawn_n(
    func: Callable[P, Coroutine[Any, Any, T]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> GreenThread[T]: ...
@overload
def spawn_n(
    func: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> GreenThread[T]: ...
def spawn_n(func: Callable[..., Any], *args: Any, **kwargs: Any) -> GreenThread[Any]:
    """Run a function in a green thread whose result nobody needs.

    It is `spawn` by eventlet's name for that.

    Raises:
        TypeError: `func` cannot be called.
    """
    return spawn(func, *args, **kwargs)


def _spawn_after(
    seconds: float,
    what: str,
    local: bool,
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> GreenThread[Any]:
    check_callable(func, what)
    seconds = checked_seconds(seconds, what)
    hub = hub_to_spawn_on(what)
    thread = GreenThread(hub, func, args, kwargs)
    hub.keep_track(thread)
    spawner = getcurrent() if local else None
    thread._timer = Timer.start(hub, seconds, thread._start_later, (spawner,))
    return thread


@overload
def spawn_after(
    seconds: float,
    func: Callable[P, Coroutine[Any, Any, T]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> GreenThread[T]: ...
@overload
def spawn_after(
    seconds: float,
    func: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> GreenThread[T]: ...
def spawn_after(
    seconds: float, func: Callable[..., Any], *args: Any, **kwargs: Any
) -> GreenThread[Any]:
    """Run a function in a green thread that starts after some seconds.

    Returns:
        The green thread; `cancel()` it to call the start off.

    Raises:
        TypeError: `func` cannot be called, or `seconds` is not a number.
    """
    return _spawn_after(seconds, "spawn_after", False, func, args, kwargs)


@overload
def spawn_after_local(
    seconds: float,
    func: Callable[P, Coroutine[Any, Any, T]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> GreenThread[T]: ...
@overload
def spawn_after_local(
    seconds: float,
    func: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> GreenThread[T]: ...
def spawn_after_local(
    seconds: float, func: Callable[..., Any], *args: Any, **kwargs: Any
) -> GreenThread[Any]:
    """Like `spawn_after`, but called off if the caller has ended by then.

    Raises:
        TypeError: `func` cannot be called, or `seconds` is not a number.
    """
    return _spawn_after(seconds, "spawn_after_local", True, func, args, kwargs)


def exc_after(seconds: float | None, *throw_args: Any) -> PendingCall:
    """Raise an exception in the current green thread after some seconds.

    eventlet's old form of `Timeout`, which is the better one.

    Args:
        seconds: How many; None for never.
        *throw_args: What to raise, as for `greenlet.throw`.

    Returns:
        A timer; `cancel()` it when the exception is not wanted any more.
    """
    if seconds is None:
        # Not started: to be called off, or not.
        return Timer(inf, getcurrent)
    seconds = checked_seconds(seconds, "exc_after")
    if throw_args:
        check_throwable(throw_args[0], "exc_after")
    current = getcurrent()
    throw = Throw(current, throw_args)
    return Timer.start(get_hub(), seconds, throw.switch, (), local_to=current)


def call_after_global(
    seconds: float, func: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> PendingCall:
    """Run a function in a new green thread after some seconds.

    Returns:
        A timer with `cancel()`.
    """
    check_callable(func, "call_after_global")
    seconds = checked_seconds(seconds, "call_after_global")
    hub = hub_to_spawn_on("call_after_global")
    return Timer.start(hub, seconds, spawn_n, (func, *args), kwargs)


def call_after_local(
    seconds: float, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> PendingCall:
    """Like `call_after_global`, but dropped if the caller has ended by then.

    Returns:
        A timer with `cancel()`.
    """
    check_callable(function, "call_after_local")
    seconds = checked_seconds(seconds, "call_after_local")
    hub = hub_to_spawn_on("call_after_local")
    return Timer.start(
        hub, seconds, spawn_n, (function, *args), kwargs, local_to=getcurrent()
    )
