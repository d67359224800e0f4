"""A picture of everything that runs on the hubs of a program: who waits for what.

Green threads and portals are found by their hub, tasks in asyncio's own list, and what
they wait for on their stacks (`_frames`), so it costs nothing until somebody asks.
"""

from __future__ import annotations

import asyncio
import gc
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from greenlet import getcurrent, greenlet

from .._bridge.greenlet_cache import cache_of
from .._greenthread.thread import GreenThread
from .._greenthread.timeout import Timeout
from .._kernel.hidden_loop import running_loop
from .._kernel.hub import Hub, known_hubs
from .._std.originals import all_tasks, get_ident
from .frames import (
    above_the_loop,
    coroutine_stack,
    greenlet_stack,
    is_ours,
    lines,
    stack_of,
    title_of,
    users_frames,
    wait_at_the_end,
)

_INDENT = "  "
# What is further down is not indented any more.
_DEEPEST = 30
# What differs between two that do the same.
_ADDRESS = re.compile(r"0x[0-9a-f]+|Timeout in [0-9.e-]+ s")


@dataclass
class _Entry:
    """A green thread, a task or the main program."""

    title: str
    state: str
    stack: tuple[str, ...] = ()
    # Who it waits for.
    awaits: list[Any] = field(default_factory=list)
    children: list[_Entry] = field(default_factory=list)

    def likeness(self) -> tuple[str, tuple[str, ...]]:
        """What entries have in common that differ only in which objects they are of."""
        return _ADDRESS.sub("", self.state), self.stack

    def lines(self, depth: int) -> Iterator[str]:
        """Describe it, and not those below."""
        margin = _INDENT * min(depth, _DEEPEST)
        yield f"{margin}{self.title}: {self.state}"
        yield from (f"{margin}{_INDENT * 2}{line}" for line in self.stack)


def _describe_all(roots: list[_Entry]) -> Iterator[str]:
    """Describe entries, and those below each."""
    # Chains may be longer than the interpreter's stack is deep.
    pending = [(1, *entry) for entry in _condensed(roots)]
    while pending:
        depth, entry, more = pending.pop()
        yield from entry.lines(depth)
        if more:
            yield f"{_INDENT * (min(depth, _DEEPEST) + 2)}({more} more like this)"
        pending += [(depth + 1, *child) for child in _condensed(entry.children)]


def _condensed(entries: list[_Entry]) -> list[tuple[_Entry, int]]:
    """Return one of each kind and how many more there are, the last first."""
    shown: list[list[Any]] = []
    alike: dict[object, list[Any]] = {}
    for entry in entries:
        first = None if entry.children else alike.get(likeness := entry.likeness())
        if first is not None:
            first[1] += 1
            continue
        shown.append([entry, 0])
        if not entry.children:
            alike[likeness] = shown[-1]
    return [(entry, more) for entry, more in reversed(shown)]


class _Picture:
    """One hub's green threads and tasks."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._here = hub.thread_id == get_ident()
        self._portals = {
            id(portal._task): portal
            for portal in cache_of(hub).known()
            if portal.serving
        }
        self._threads = [
            thread for thread in hub.green_threads() if isinstance(thread, GreenThread)
        ]
        self._ready = {
            id(entry)
            for half in (hub, hub.twin or hub)
            for entry in (*half.ready.copy(), *half.batch.copy())
        }
        self._limits = _pending_timeouts()
        self._tasks = [
            task for task in all_tasks(hub.loop) if task is not hub._supervisor
        ]
        # All by id: nothing here may keep alive what it shows, or call its `__eq__`.
        self._entries: dict[int, _Entry] = {}

    def describe(self) -> Iterator[str]:
        """Return the lines of the picture."""
        hub = self._hub
        yield f"{hub!r} in OS thread {hub.thread_id:#x}"
        if hub.main is not None and hub.loop.is_running():
            self._add(hub.main, self._main(hub.main))
        for thread in self._threads:
            self._add(thread, self._green_thread(thread))
        for task in sorted(self._tasks, key=asyncio.Task.get_name):
            self._add(task, self._task(task))
        portals = sum(id(task) in self._portals for task in self._tasks)
        yield (
            f"{_INDENT}{_count(len(self._threads), 'green thread')}, "
            f"{_count(len(self._tasks), 'task')}, {portals} with a portal"
        )
        yield from _describe_all(self._roots())

    def _add(self, thing: Any, entry: _Entry) -> None:
        self._entries[id(thing)] = entry

    def _roots(self) -> list[_Entry]:
        """Put who is waited for below who waits; return the others."""
        below = set()
        for entry in self._entries.values():
            for thing in entry.awaits:
                child = self._entries.get(id(thing))
                if child is not None and child is not entry and id(child) not in below:
                    below.add(id(child))
                    entry.children.append(child)
        roots = [entry for entry in self._entries.values() if id(entry) not in below]
        # Those that wait for each other, all round, have no root.
        seen: set[int] = set()
        for entry in [*roots, *self._entries.values()]:
            if id(entry) in seen:
                continue
            if id(entry) in below:
                roots.append(entry)
            self._walk(entry, seen)
        return roots

    def _walk(self, root: _Entry, seen: set[int]) -> None:
        """Note who is below an entry; cut rings where they close."""
        seen.add(id(root))
        pending = [root]
        while pending:
            entry = pending.pop()
            entry.children = [
                child for child in entry.children if id(child) not in seen
            ]
            seen.update(map(id, entry.children))
            pending += entry.children

    # -- one by one ------------------------------------------------------------------

    def _main(self, main: greenlet) -> _Entry:
        return self._parked("main program", main)

    def _green_thread(self, thread: GreenThread) -> _Entry:
        if thread._call is not None:
            state = "about to start" if self._is_ready(thread) else "not started"
            return _Entry(title_of(thread), state)
        return self._parked(title_of(thread), thread)

    def _parked(self, title: str, thread: greenlet) -> _Entry:
        frames = self._frames(thread)
        stack = tuple(lines(users_frames(frames)))
        if thread.gr_frame is None:
            return _Entry(title, "running", stack)
        wait = wait_at_the_end(frames)
        if self._is_ready(thread):
            return _Entry(title, "ready", stack)
        if wait is None:
            return _Entry(title, "switched away", stack)
        state = f"waits for {wait[0]}{self._limit(thread)}"
        return _Entry(title, state, stack, wait[1])

    def _limit(self, thread: greenlet) -> str:
        """Say when a Timeout will interrupt it, the next one first."""
        now = self._hub.loop.time()
        left = sorted(max(0.0, due - now) for due in self._limits.get(id(thread), ()))
        return "".join(f"; Timeout in {seconds:.3g} s" for seconds in left)

    def _task(self, task: asyncio.Task[Any]) -> _Entry:
        coroutine = task.get_coro()
        frames = coroutine_stack(coroutine)
        portal = self._portals.get(id(task))
        if portal is not None:
            frames = [frame for frame in frames if not is_ours(frame)]
            frames += self._frames(portal)
        title = title_of(task) if portal is None else f"{title_of(task)}, with a portal"
        users = users_frames(frames)
        running = self._running_task() is task
        if running:
            users = above_the_loop(_running_frames(self._hub))
        stack = tuple(lines(users))
        if running:
            return _Entry(title, "running", stack)
        future = getattr(task, "_fut_waiter", None)
        wait = wait_at_the_end(frames)
        if wait is not None:
            return _Entry(title, f"waits for {wait[0]}", stack, wait[1])
        if future is None:
            return _Entry(title, "ready", stack)
        awaits = list(getattr(future, "_children", [future]))
        return _Entry(title, f"waits for {_describe_future(future)}", stack, awaits)

    def _running_task(self) -> asyncio.Task[Any] | None:
        try:
            return asyncio.current_task(self._hub.loop)
        except RuntimeError:
            return None

    def _is_ready(self, thread: greenlet) -> bool:
        return id(thread) in self._ready

    def _frames(self, thread: greenlet) -> list[FrameType]:
        frame = thread.gr_frame
        if frame is None:
            return _running_frames(self._hub) if self._is_running(thread) else []
        return greenlet_stack(frame)

    def _is_running(self, thread: greenlet) -> bool:
        if self._here:
            return thread is getcurrent()
        return bool(thread) and not thread.dead


def _pending_timeouts() -> dict[int, list[float]]:
    """Return when Timeouts are due, by the id of the greenlet that each is for."""
    found: dict[int, list[float]] = {}
    for thing in gc.get_objects():
        # Not `isinstance`, which asks the object.
        if issubclass(type(thing), Timeout) and thing.pending:
            when = getattr(thing._timer, "when", None)
            if when is not None:
                found.setdefault(id(thing._greenlet), []).append(when())
    return found


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _running_frames(hub: Hub) -> list[FrameType]:
    """The stack that the hub's OS thread is in now."""
    if hub.thread_id == get_ident():
        return stack_of(sys._getframe())
    return stack_of(sys._current_frames().get(hub.thread_id))


def _describe_future(future: asyncio.Future[Any]) -> str:
    if isinstance(future, asyncio.Task):
        return title_of(future)
    children = getattr(future, "_children", None)
    if children is not None:
        return f"{len(children)} awaitables together"
    return f"a {type(future).__name__}"


def format_run_info() -> str:
    """Return a text with everything that runs on the program's hubs.

    For each hub: its green threads and the tasks of its loop, with a portal or without,
    their stacks, and what each waits for. Whoever is waited for stands below who waits.
    Of many that are alike one is shown.

    It may be called anywhere, also in a signal handler or from another OS thread, and
    costs nothing before.
    """
    here = running_loop()
    hubs = [hub for hub in known_hubs() if not (hub.closed or hub.loop.is_closed())]
    # The caller's own first.
    hubs.sort(key=lambda hub: (hub.loop is not here, hub.thread_id != get_ident()))
    if not hubs:
        return "no hub runs"
    pictures = ("\n".join(_Picture(hub).describe()) for hub in hubs)
    return "\n\n".join(pictures)
