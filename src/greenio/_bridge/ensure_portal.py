"""`ensure_portal`: a portal for the rest of a Task that is already running.

A Task keeps its coroutine to itself. To run the rest of it inside a portal, the Task
must step something else from now on: a `_Rest`, which steps the coroutine inside the
portal. The Task written in Python has an attribute for that. The one written in C has a
field, which no Python code can set; here it is set through `ctypes`, at the offset where
a Task made for the purpose is seen to keep its coroutine. If nothing is seen there (some
other interpreter, a Task class of somebody's own), an error names the other two ways to
a portal.

The exchange takes effect with the Task's next step, so `ensure_portal` lets one pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from .._std.originals import current_task
from .portal import Stepper, has_portal

if TYPE_CHECKING:
    import ctypes


async def ensure_portal() -> None:
    """Give the current Task a portal for the rest of its life.

    From the ``await`` on, blocking-style calls in the Task, however deep, suspend the
    Task and nothing else. Nothing happens if it has one already.

    Raises:
        RuntimeError: Not called in a Task, or the Task is of a kind whose coroutine
            cannot be exchanged; use `@greenio.portal` or
            `loop.set_task_factory(greenio.portal_task_factory)` there.
    """
    if has_portal():
        return
    task = current_task()
    if task is None:
        raise RuntimeError(
            "ensure_portal() is for Tasks, and none is running here; start one with "
            "asyncio.create_task()"
        )
    coro = task.get_coro()
    assert coro is not None
    _exchange(task, coro, _Rest(coro))
    await asyncio.sleep(0)


class _Rest(Coroutine[Any, Any, Any]):
    """The rest of a coroutine, stepped inside a portal."""

    def __init__(self, coro: Any) -> None:
        self._coro = coro
        self.__name__ = coro.__name__
        self.__qualname__ = coro.__qualname__
        self._stepper: Stepper | None = None

    def __repr__(self) -> str:
        return f"<{self._coro!r} in a portal>"

    def send(self, value: Any) -> Any:
        if self._stepper is None:
            self._stepper = Stepper(self._coro)
        try:
            return self._stepper.send()
        except BaseException:
            # The Task keeps this and what is raised, and the portal knows the Task.
            self._stepper.leave()
            raise

    def throw(self, *args: Any) -> Any:
        if self._stepper is None:
            self._stepper = Stepper(self._coro)
        error = args[1] if len(args) > 1 and args[1] is not None else args[0]
        try:
            return self._stepper.throw(
                error if isinstance(error, BaseException) else error()
            )
        except BaseException:
            self._stepper.leave()
            raise
        finally:
            del args, error

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Any:
        raise TypeError(f"{self!r} is stepped by its Task and cannot be awaited")

    # What debuggers and `Task.get_stack` look at.

    @property
    def cr_frame(self) -> Any:
        return self._coro.cr_frame

    @property
    def cr_code(self) -> Any:
        return self._coro.cr_code

    @property
    def cr_running(self) -> bool:
        return bool(self._coro.cr_running)

    @property
    def cr_await(self) -> Any:
        return self._coro.cr_await


def _exchange(task: asyncio.Task[Any], coro: Any, rest: _Rest) -> None:
    try:
        task._coro = rest  # type: ignore[attr-defined]
    except AttributeError:
        pass
    else:
        if task.get_coro() is rest:
            return
    # Here, since it takes as long to import as a thirtieth of greenio.
    import ctypes

    field = _field(task, coro)
    if field is None:
        raise RuntimeError(
            f"the coroutine of {task!r} cannot be exchanged; give it a portal from the "
            "start, with @greenio.portal on its function or with "
            "loop.set_task_factory(greenio.portal_task_factory)"
        )
    # The field owns a reference. `rest` keeps the coroutine alive from now on.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(rest))
    field.value = id(rest)
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(coro))


def _field(task: asyncio.Task[Any], coro: Any) -> ctypes.c_void_p | None:
    """Find where a Task written in C keeps its coroutine."""
    import ctypes

    kind = type(task)
    if kind is not asyncio.Task:
        # A subclass keeps it where its base does, if it is one.
        if not issubclass(kind, asyncio.Task):
            return None
        kind = asyncio.Task
    start = object.__basicsize__
    for offset in range(start, kind.__basicsize__, ctypes.sizeof(ctypes.c_void_p)):
        field = ctypes.c_void_p.from_address(id(task) + offset)
        if field.value == id(coro):
            return field
    return None
