"""What a test has left behind, by name."""

from __future__ import annotations

import asyncio
import gc
import os
import socket  # noqa: TID251 - only asked for its name
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenlet import getcurrent

from .._greenthread.arguments import name_of
from .._greenthread.sleeping import sleep
from .._greenthread.timeout import Timeout
from .._kernel.hub import Hub
from .._reactor.calls import DeferredCall
from .._reactor.timers import Timer
from .._std.originals import all_tasks

_TURNS = 8
_DESCRIPTORS = Path("/dev/fd")


@dataclass(frozen=True)
class Leaks:
    """What is left on a hub.

    Attributes:
        green_threads: Those that have not ended.
        descriptors: Those that were opened meanwhile and not closed, or waited for.
        timers: Those that are still to come: scheduled calls, and each `Timeout` that
            nobody has called off.
        tasks: Those of the loop that have not ended.
    """

    green_threads: list[str] = field(default_factory=list)
    descriptors: list[str] = field(default_factory=list)
    timers: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.green_threads or self.descriptors or self.timers or self.tasks)

    def __str__(self) -> str:
        lines = [
            f"{title}: {what}"
            for title, left in (
                ("green thread that has not ended", self.green_threads),
                ("descriptor that is not closed", self.descriptors),
                ("timer that is not cancelled", self.timers),
                ("task that has not ended", self.tasks),
            )
            for what in left
        ]
        return "\n".join(lines) or "nothing"


class LeakCheck:
    """Finds what is left on a hub that was not there when the check was made.

    Args:
        hub: The hub.
    """

    def __init__(self, hub: Hub) -> None:
        # The loop opens what it needs when it runs for the first time.
        sleep(0)
        self._hub = hub
        self._open = _open_descriptors()
        self._timers = {id(timer) for timer in _timers_of(hub)}
        self._threads = {id(thread) for thread in hub.green_threads()}
        # Kept, so that no later one can have the same `id`.
        self._tasks = set(_tasks_of(hub))

    def leaks(self) -> Leaks:
        """Return what has come and is still there."""
        # Who is about to end has not been forgotten.
        for _ in range(_TURNS):
            sleep(0)
        # What only a cycle keeps is nobody's any more.
        gc.collect()
        hub = self._hub
        threads = [
            repr(thread)
            for thread in hub.green_threads()
            if id(thread) not in self._threads and thread is not getcurrent()
        ]
        descriptors = [
            f"{fd}, {what}"
            for fd, what in _open_descriptors().items()
            if self._open.get(fd) != what
        ]
        timers = [
            _describe(timer)
            for timer in _timers_of(hub)
            if id(timer) not in self._timers
        ]
        tasks = [
            f"{task.get_name()}, {name_of(task.get_coro())}"
            for task in _tasks_of(hub)
            if task not in self._tasks
        ]
        return Leaks(threads, descriptors, timers, tasks)


def _tasks_of(hub: Hub) -> list[asyncio.Task[Any]]:
    return [task for task in all_tasks(hub.loop) if task is not hub._supervisor]


def _timers_of(hub: Hub) -> list[Any]:
    halves = (hub, hub.twin or hub)
    # By type: to ask a proxy for its class can fail.
    return [
        timer
        for timer in gc.get_objects()
        if issubclass(type(timer), (Timer, DeferredCall, Timeout))
        and timer.pending
        and timer._hub in halves
    ]


def _describe(timer: Any) -> str:
    if isinstance(timer, Timeout):
        return repr(timer)
    call = timer._call
    return f"a call of {name_of(call[0])}" if call else repr(timer)


def _open_descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    for entry in _DESCRIPTORS.iterdir():
        fd = int(entry.name)
        if fd <= 2:
            # What captures output replaces those.
            continue
        try:
            kind = os.fstat(fd)
        except OSError:
            # The one by which the folder was read.
            continue
        found[fd] = _describe_descriptor(fd, kind)
    return found


def _describe_descriptor(fd: int, kind: os.stat_result) -> str:
    if stat.S_ISSOCK(kind.st_mode):
        duplicate = socket.socket(fileno=os.dup(fd))
        with duplicate:
            try:
                return f"socket of {duplicate.getsockname()!r}, {kind.st_ino}"
            except OSError:
                return f"socket {kind.st_ino}"
    try:
        return str(_DESCRIPTORS.joinpath(str(fd)).readlink())
    except OSError:
        return f"file {kind.st_dev}:{kind.st_ino}"
