"""`async def` tasks: Celery's tracer gets the result of what they return.

The tracer is a plain function: it calls ``task.run`` (or the task, if its class has a
``__call__``), records what that returns or raises, retries, and sends the next of a chain.
It stays as it is. In front of ``run`` stands `_awaiting`, in front of a ``__call__`` that is
a coroutine function a subclass: called by the tracer, they await the coroutine in the tracer's
green thread. Called by anybody else (``await other_task(1)`` in another task) they return the
coroutine.

Which of the two a call is, the request tells: the tracer pushes one that was not called
directly, and it has one call of its own. That the first one comes from the tracer is left as a
mark on the request.

The coroutine runs in a portal, so ``self.retry()``, ``other.delay()`` and ``update_state()``,
which block, can be called in it as in any task.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from celery import _state
from greenlet import GreenletExit, getcurrent

from .._bridge.await_ import await_
from .._bridge.portal import portal
from .limits import SoftLimit
from .stacks import ContextStack

if TYPE_CHECKING:
    from .job import Job

# The task that a pool runs here; none where a task is called eagerly.
current_job: ContextVar[Job | None] = ContextVar("greenio_celery_job", default=None)

# On a request: the tracer's own call has been made.
_CALLED = "_greenio_called"


class _Left(Exception):
    """Carries out of a Task what would end the loop that runs it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def prepare_tasks(app: Any) -> None:
    """Have an app's tasks awaited where the tracer calls them."""
    ContextStack.adopt(_state._task_stack)
    for task in list(app.tasks.values()):
        prepare_task(task)


def prepare_all_tasks(app: Any) -> None:
    """Have an app's tasks awaited, those too that are still to be defined."""
    ContextStack.adopt(_state._task_stack)
    # What is decorated becomes a task when it is first used.
    for name in ("_task_from_fun", "register_task"):
        setattr(app, name, _preparing(getattr(app, name)))
    for task in list(app._tasks.values()):
        prepare_task(task)
    # What is still to be made was told then by which function.
    for proxy in list(app._pending):
        proxy.__then__(_prepare_made, proxy)


def _prepare_made(proxy: Any) -> None:
    prepare_task(proxy._get_current_object())


def _preparing(make: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make)
    def make_prepared(*args: Any, **kwargs: Any) -> Any:
        task = make(*args, **kwargs)
        prepare_task(task)
        return task

    return make_prepared


def prepare_task(task: Any) -> None:
    """Have a task awaited where the tracer calls it; nothing if that is so already."""
    if hasattr(task, "_greenio_run"):
        return
    ContextStack.adopt(task.request_stack)
    # With autoretry_for, `run` calls this, and has to see what it raises.
    name = "_orig_run" if hasattr(task, "_orig_run") else "run"
    run = getattr(task, name)
    task._greenio_run = run
    setattr(task, name, _awaiting(task, run))
    kind = type(task)
    if inspect.iscoroutinefunction(kind.__call__):
        task.__class__ = _with_awaited_call(kind)
    # It has looked at the task when it was made.
    task.__trace__ = None


def _awaiting(task: Any, run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _take_call(task):
            return run(*args, **kwargs)
        return _outcome(run, args, kwargs)

    return call


def _with_awaited_call(kind: type) -> type:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        call = functools.partial(kind.__call__, self)
        if not _take_call(self):
            return call(*args, **kwargs)
        return _outcome(call, args, kwargs)

    names = {
        "__call__": __call__,
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
    }
    return type(kind.__name__, (kind,), names)


def _take_call(task: Any) -> bool:
    """Whether this is the one call that the tracer makes."""
    request = task.request_stack.top
    if request is None or request.called_directly or hasattr(request, _CALLED):
        return False
    setattr(request, _CALLED, True)
    return True


def _outcome(run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    job = current_job.get()
    if job is not None and not job.runs_here():
        # A green thread that the task has started calls another one by `apply`.
        job = None
    try:
        result = run(*args, **kwargs)
        if hasattr(type(result), "__await__"):
            result = _dumped(run, _awaited(result, job))
    except Exception:
        if job is not None and job.ended_by is not None:
            # The task has caught what was to end it.
            raise GreenletExit(job.ended_by) from None
        raise
    if job is not None and job.ended_by is not None:
        raise GreenletExit(job.ended_by)
    return result


def _awaited(awaitable: Awaitable[Any], job: Job | None) -> Any:
    try:
        return await_(_run(awaitable, job))
    except SoftLimit as error:
        raise error.plain() from None
    except _Left as left:
        raise left.error from None
    except asyncio.CancelledError as error:
        # Not ours: some Task or Future that it awaits was cancelled. What is no Exception
        # would be taken for the end of the worker.
        raise concurrent.futures.CancelledError(*error.args) from error
    finally:
        # Ended before its first step, the Task never came to it.
        if inspect.iscoroutine(awaitable):
            awaitable.close()


def _dumped(run: Callable[..., Any], result: Any) -> Any:
    """Return a result as Celery's wrapper of pydantic tasks would, which saw a coroutine."""
    if hasattr(result, "model_dump") and hasattr(run, "__wrapped__"):
        return result.model_dump(mode="json")
    return result


@portal
async def _run(awaitable: Awaitable[Any], job: Job | None) -> Any:
    before = None
    if job is not None:
        before = job.enter(getcurrent())
    try:
        return await awaitable
    except (SystemExit, KeyboardInterrupt) as error:
        raise _Left(error) from None
    finally:
        if job is not None:
            job.leave(before)
