"""Stacks of green threads, coroutines and OS threads, and what waits at their end.

Nothing is noted down while a program runs. What somebody waits for is read from where it
stopped: the local variables of greenio's own functions at the end of its stack.
"""

from __future__ import annotations

import asyncio
import gc
import linecache
import sys
from collections.abc import Callable, Iterable, Iterator
from inspect import isasyncgen
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from greenlet import getcurrent

from .._bridge.await_ import InlineThread, call_either, run_green
from .._bridge.await_in_task import _wait as wait_for_future
from .._bridge.group import GreenGroup
from .._bridge.portal import Portal
from .._greenthread.join import _Inbox
from .._greenthread.pool import GreenPool
from .._greenthread.sleeping import sleep
from .._greenthread.thread import GreenThread
from .._reactor.descriptors import Listener
from .._sync.lock import RLock

# The types of what a coroutine awaits in ``async for`` and the like.
_OF_ASYNC_GENERATORS = ("async_generator_asend", "async_generator_athrow")

_PACKAGE = str(Path(__file__).parents[1])
STANDARD_LIBRARY = Path(asyncio.__file__).parents[1]

# What is at the end of a stack: a description, and who is waited for, if that is known.
Wait = tuple[str, list[Any]]


def stack_of(frame: FrameType | None) -> list[FrameType]:
    """Return the frames of a stack, outermost first."""
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def coroutine_stack(coroutine: Any) -> list[FrameType]:
    """Return the frames of a coroutine and of what it awaits, outermost first."""
    frames = []
    while coroutine is not None:
        for kind in ("cr", "gi", "ag"):
            if hasattr(coroutine, f"{kind}_frame"):
                break
        else:
            break
        frame = getattr(coroutine, f"{kind}_frame")
        if frame is not None:
            frames.append(frame)
        awaited = "gi_yieldfrom" if kind == "gi" else f"{kind}_await"
        coroutine = getattr(coroutine, awaited)
        if type(coroutine).__name__ in _OF_ASYNC_GENERATORS:
            # These do not tell whose they are, but the garbage collector knows.
            coroutine = next(filter(isasyncgen, gc.get_referents(coroutine)), None)
    return frames


def greenlet_stack(frame: FrameType | None) -> list[FrameType]:
    """Return the frames of a parked greenlet, outermost first.

    Where it is a portal that awaits something, what it awaits comes after them.
    """
    frames = stack_of(frame)
    if frames and frames[-1].f_code is Portal._drive.__code__:
        frames += coroutine_stack(frames[-1].f_locals["steps"])
    return frames


def is_ours(frame: FrameType) -> bool:
    """Whether a frame is of greenio itself."""
    return frame.f_code.co_filename.startswith(_PACKAGE)


def users_frames(frames: Iterable[FrameType]) -> list[FrameType]:
    """Leave out greenio's own frames."""
    return [frame for frame in frames if not is_ours(frame)]


def above_the_loop(frames: list[FrameType]) -> list[FrameType]:
    """Leave out greenio's own frames, and what of asyncio runs a callback or task."""
    for place, frame in enumerate(frames):
        if frame.f_code is asyncio.Handle._run.__code__:
            frames = frames[place + 1 :]
            break
    return users_frames(frames)


def lines(frames: Iterable[FrameType]) -> Iterator[str]:
    """Describe frames as tracebacks do, outermost first."""
    for frame in frames:
        code, line = frame.f_code, frame.f_lineno
        yield f'File "{code.co_filename}", line {line}, in {code.co_name}'
        text = linecache.getline(code.co_filename, line).strip()
        if text:
            yield f"  {text}"


def wait_at_the_end(frames: list[FrameType]) -> Wait | None:
    """Say what the end of a stack waits for, if it is greenio or asyncio that waits.

    Args:
        frames: The stack, outermost first.
    """
    end = len(frames)
    while end and is_ours(frames[end - 1]):
        end -= 1
    # The call that the user made says most, unless one of those below says more.
    calls = frames[end:]
    for frame in calls:
        describe = _KNOWN.get(frame.f_code)
        if describe is not None:
            return describe(frame.f_locals)
    if calls:
        return _call(calls[0]), _holders(calls)
    if frames:
        describe = _KNOWN.get(frames[-1].f_code)
        if describe is not None:
            return describe(frames[-1].f_locals)
    return None


def _call(frame: FrameType) -> str:
    name = frame.f_code.co_name
    owner = frame.f_locals.get("self")
    call = f"{name}()" if owner is None else f"{name}() of {owner!r}"
    return call + _limit(frame.f_locals)


def _holders(calls: list[FrameType]) -> list[Any]:
    """Who holds the lock that is waited for, if that is known."""
    for frame in calls:
        if frame.f_code in _TAKES_LOCK:
            owner = frame.f_locals["self"]._owner
            return [] if owner is None else [owner]
    return []


def _limit(names: dict[str, Any]) -> str:
    """Say how long a call waits at most, by its argument."""
    timeout = names.get("timeout")
    if isinstance(timeout, (int, float)) and timeout > 0:
        return f", for {timeout:g} s at most"
    return ""


def _sleep(names: dict[str, Any]) -> Wait:
    return f"sleep({names.get('seconds', 0):g})", []


def _await(names: dict[str, Any]) -> Wait:
    awaited = names.get("future", names.get("awaitable"))
    return f"await_() of {title_of(awaited)}", [awaited]


def _run_green(names: dict[str, Any]) -> Wait:
    return f"run_green({title_of(names.get('func'))})", [names.get("thread")]


def _join(names: dict[str, Any]) -> Wait:
    return f"the end of {title_of(names.get('self'))}", [names.get("self")]


def _descriptor(names: dict[str, Any]) -> Wait:
    listener = names["self"]
    return f"descriptor {listener.fd}, to {listener.event}{_limit(names)}", []


def _several(names: dict[str, Any]) -> Wait:
    inbox = names["self"]
    finished = {id(thing) for thing in inbox.finished.copy()}
    left = [thing for thing in inbox.objects if id(thing) not in finished]
    limit = _limit(names)
    return f"{inbox.what}(), {len(left)} of {len(inbox.objects)} left{limit}", left


def _pool(names: dict[str, Any]) -> Wait:
    pool = names["self"]
    return f"the green threads of {pool!r}", list(pool._slots.running.copy())


def _group(names: dict[str, Any]) -> Wait:
    return "the green threads of its group", list(names["self"]._children)


def _task_group(names: dict[str, Any]) -> Wait:
    return "the tasks of its TaskGroup", list(names["self"]._tasks)


def _asyncio_sleep(names: dict[str, Any]) -> Wait:
    return f"asyncio.sleep({names['delay']:g})", []


def _asyncio_wait(names: dict[str, Any]) -> Wait:
    return "asyncio.wait()", list(names["fs"])


def title_of(thing: Any) -> str:
    """Name a green thread, a task, a function or whatever else is waited for."""
    if isinstance(thing, asyncio.Task):
        return f"task {thing.get_name()!r} of {title_of(thing.get_coro())}"
    if isinstance(thing, GreenThread):
        running = sys._getframe() if thing is getcurrent() else None
        return green_title(thing, running)
    return getattr(thing, "__qualname__", None) or repr(thing)


def green_title(thread: GreenThread, running: FrameType | None) -> str:
    """Name a green thread.

    Args:
        thread: The green thread.
        running: The innermost frame of its stack, if it runs now.
    """
    frames = stack_of(running or thread.gr_frame)
    name = repr(thread.name) if thread.is_named else _thread_name(frames)
    function = _function_of(thread, frames)
    title = f"green thread of {function}" if name is None else f"{name} of {function}"
    return f"{title} at {id(thread):#x}"


def _thread_name(frames: list[FrameType]) -> str | None:
    """Return the name that `threading` has for it, if it is a patched program's thread."""
    for frame in frames:
        if frame.f_code.co_name == "_bootstrap_inner":
            thread = frame.f_locals.get("self")
            if frame.f_globals.get("__name__") == "threading":
                return f"thread {getattr(thread, '_name', '?')!r}"
    return None


def _function_of(thread: GreenThread, frames: list[FrameType]) -> str:
    call = thread._call
    if call is not None:
        return title_of(call[0])
    users = users_frames(frames)
    # What `threading` and `contextlib` put around a function says nothing; nor does the
    # first frame, the body of every green thread.
    for frame in (
        *(frame for frame in users if not _is_standard(frame)),
        *users,
        *(frame for frame in frames[1:] if frame.f_code is not call_either.__code__),
    ):
        return frame.f_code.co_name
    return "a function that runs"


def _is_standard(frame: FrameType) -> bool:
    return Path(frame.f_code.co_filename).parent == STANDARD_LIBRARY


_KNOWN: dict[CodeType, Callable[[dict[str, Any]], Wait]] = {
    sleep.__code__: _sleep,
    wait_for_future.__code__: _await,
    InlineThread.delegate_await.__code__: _await,
    Portal.await_.__code__: _await,
    run_green.__code__: _run_green,
    GreenThread.wait_end.__code__: _join,
    GreenThread.wait_end_async.__code__: _join,
    Listener.wait.__code__: _descriptor,
    Listener._wait_behind.__code__: _descriptor,
    _Inbox.wait_for.__code__: _several,
    _Inbox.wait_for_async.__code__: _several,
    GreenPool._wait_idle.__code__: _pool,
    GreenPool._wait_idle_async.__code__: _pool,
    GreenGroup.__exit__.__code__: _group,
    GreenGroup.__aexit__.__code__: _group,
    asyncio.sleep.__code__: _asyncio_sleep,
    # The waiting is in here.
    getattr(asyncio.tasks, "_wait", asyncio.wait).__code__: _asyncio_wait,
}
if hasattr(asyncio, "TaskGroup"):
    _KNOWN[asyncio.TaskGroup.__aexit__.__code__] = _task_group
    # From Python 3.13 on, the waiting is in here.
    _inner = getattr(asyncio.TaskGroup, "_aexit", None)
    if _inner is not None:
        _KNOWN[_inner.__code__] = _task_group
# Where somebody waits for a lock that knows who holds it.
_TAKES_LOCK = {RLock._acquire.__code__, RLock._acquire_async.__code__}
