"""Asynchronous context managers around green code: one Task enters and leaves each.

`asyncio.timeout`, `asyncio.TaskGroup` and anyio's scopes belong to the Task that enters
them: that one they cancel, and that one has to leave them. A portal is a part of such a
Task. Any other green thread gets one here, which enters, waits while the block runs in the
green thread, and leaves. A cancellation that the Task
gets meanwhile is raised in the green thread, as in the body of an ``async with``, and
comes back to the manager with the end of the block.

The Task runs in the green thread's context. Where that cannot be (on Python 3.10, and in a
`Context.run`), it runs in a copy, and what changes there, or in the block, is carried over as
the manager is entered and left.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from contextvars import Context, ContextVar, Token, copy_context
from typing import Any

from greenlet import getcurrent

from .._kernel.current import get_hub, hub_to_park_in
from .await_ import InlineThread, await_
from .await_in_task import (
    adopt_changes,
    cancelling,
    raise_failure,
    task_of,
    wait_for_task,
)
from .cancellation import Cancellation


class Scope:
    """A Task that enters a manager, and leaves it when the green thread does.

    The Task does not end by what the manager raises, but hands it over: managers know their
    Task, so the failure, its traceback and the Task would be a reference cycle.
    """

    __slots__ = (
        "_context",
        "_copied",
        "_entered",
        "_error",
        "_left",
        "_manager",
        "_new",
        "_owed",
        "_raised",
        "_task",
        "_wakes",
    )

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._left = False
        # What ended the block, and what the manager has raised.
        self._error: BaseException | None = None
        self._raised: BaseException | None = None
        self._owed: Cancellation | None = None
        # Whether the Task runs in a copy of the context, what is to be carried over, and
        # what takes back the variables that the manager has added.
        self._copied = False
        self._context: Context | None = None
        self._new: dict[ContextVar[Any], Token[Any]] = {}

    def enter(self) -> Any:
        """Enter the manager; called by the green thread."""
        hub = hub_to_park_in("sync_context()") or get_hub()
        loop = hub.loop
        self._entered = entered = loop.create_future()
        self._wakes = loop.create_future()
        current: Any = getcurrent()
        lent = type(current) is InlineThread and current.gr_context is current.context
        self._task, after = task_of(self._run(current, hub, entered), loop, lent)
        self._copied = after is not None
        try:
            value = await_(entered)
        except BaseException as error:
            if entered.done() and not entered.cancelled() and not self._task.done():
                # It was entered in the turn in which this was interrupted.
                self.leave(error)
            else:
                if not self._left:
                    self._task.cancel()
                wait_for_task(self._task, hub)
                raise_failure(self._failure(), error, False)
            raise
        finally:
            self._adopt()
            del current
        return self._outcome(value)

    def leave(self, error: BaseException | None) -> Any:
        """Leave the manager with what ended the block; called by the green thread."""
        if self._owed is not None:
            # Raised now, it would cancel the Task a second time, in the manager's exit.
            taken = self._owed.take()
            error = error or taken
            del taken
        self._error = error
        self._left = True
        self._hand_over()
        if not self._wakes.done():
            self._wakes.set_result(None)
        before = cancelling(self._task)
        try:
            value = await_(self._task)
        except BaseException as interruption:
            # The manager may have failed because of it.
            cancelled = cancelling(self._task) > before
            raise_failure(self._failure(), interruption, cancelled)
            raise
        else:
            return self._outcome(value)
        finally:
            self._adopt()
            self._error = self._raised = None
            del error

    def _failure(self) -> BaseException | None:
        error, self._raised = self._raised, None
        return None if isinstance(error, asyncio.CancelledError) else error

    def _hand_over(self) -> None:
        """Have the other one take over the caller's context variables."""
        if self._copied:
            self._context = copy_context()

    def _adopt(self) -> None:
        context, self._context = self._context, None
        if context is None:
            return
        new, self._new = self._new, {}
        self._new = adopt_changes(context)
        for variable, token in new.items():
            if variable not in context:
                with suppress(ValueError, RuntimeError):
                    variable.reset(token)

    def _outcome(self, value: Any) -> Any:
        error, self._raised = self._raised, None
        try:
            if error is not None:
                raise error
            return value
        finally:
            del error

    async def _run(self, thread: Any, hub: Any, entered: asyncio.Future[Any]) -> Any:
        manager = self._manager
        try:
            value = await manager.__aenter__()
            self._hand_over()
        except BaseException as exc:
            if entered.done():
                raise
            self._raised = exc
            entered.set_result(None)
            return None
        late: BaseException | None = None
        if entered.done():
            # The green thread was ended meanwhile.
            self._left = True
            return await manager.__aexit__(None, None, None)
        entered.set_result(value)
        del entered, value
        while not self._left:
            try:
                await self._wakes
            except asyncio.CancelledError as exc:
                if self._left:
                    late = exc
                    break
                self._wakes = hub.loop.create_future()
                if self._owed is None or self._owed.seen:
                    self._owed = Cancellation(thread, exc)
                    hub.wake(self._owed)
        error = self._error or late
        if self._context is not None:
            adopt_changes(self._context)
        try:
            return await leave(manager, error)
        except BaseException as exc:
            self._raised = exc
            return None
        finally:
            self._hand_over()
            del error, late


async def leave(manager: Any, error: BaseException | None) -> Any:
    """Leave an asynchronous manager with what ended its block.

    A group of tasks puts that into an exception group, unless it is a cancellation. What
    interrupts a green thread (`GreenletExit`, a Timeout) is for who waits for just that, and
    is raised as it is where the group would be of nothing else.
    """
    kind = None if error is None else type(error)
    traceback = None if error is None else error.__traceback__
    try:
        try:
            return await manager.__aexit__(kind, error, traceback)
        except BaseException as raised:
            if isinstance(error, Exception) or not _is_only(error, raised):
                _let_go(raised)
                raise
            # As below. Nobody sees it.
            raised.__traceback__ = None
        # Not above: the group would be its context.
        assert error is not None
        raise error
    finally:
        del error, traceback


def _is_only(error: BaseException | None, group: BaseException) -> bool:
    """Whether an exception group is of one exception, and of which."""
    exceptions = getattr(group, "exceptions", None)
    return (
        isinstance(exceptions, tuple)
        and len(exceptions) == 1
        and exceptions[0] is error
    )


if sys.version_info >= (3, 14):

    def _let_go(_raised: BaseException) -> None:
        pass

else:  # pragma: no cover - until 3.13
    # Python 3.10 has none.
    _exit: Any = getattr(getattr(asyncio, "TaskGroup", None), "__aexit__", None)
    _GROUPS_FILE = None if _exit is None else _exit.__code__.co_filename

    def _let_go(raised: BaseException) -> None:
        """Have `TaskGroup.__aexit__` not keep what it has raised, by its local variable.

        That is a reference cycle, and all that the traceback has seen is in it.
        """
        traceback = raised.__traceback__
        while traceback is not None:
            frame = traceback.tb_frame
            if frame.f_code.co_filename == _GROUPS_FILE:
                with suppress(RuntimeError):
                    frame.clear()
            traceback = traceback.tb_next
