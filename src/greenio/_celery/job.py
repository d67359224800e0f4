"""One task on its way through the pool."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import SoftTimeLimitExceeded, WorkerLostError
from celery.exceptions import WorkerShutdown, WorkerTerminate
from celery.utils.log import get_logger
from greenlet import GreenletExit, getcurrent, greenlet

from .._bridge.portal import Portal
from .._greenthread.killing import kill
from .._greenthread.spawning import spawn
from .._greenthread.thread import GreenThread
from .._kernel.current import get_hub
from .._reactor.timers import Timer
from .._std.originals import monotonic
from .limits import SoftLimit
from .tasks import current_job

if TYPE_CHECKING:
    from .pool import TaskPool

logger = get_logger("celery.pool")

# Seconds that the end of a task may take before its hard limit is told all the same.
_GRACE = 1.0


def _nothing(*_: Any, **__: Any) -> None:
    pass


class Job:
    """A task, its limits and whom to tell.

    Attributes:
        ended_by: Why it was ended from outside; None while it was not.
    """

    __slots__ = (
        "_accept_callback",
        "_args",
        "_callback",
        "_error_callback",
        "_hard",
        "_kwargs",
        "_pool",
        "_soft",
        "_target",
        "_timeout_callback",
        "_timers",
        "_untold",
        "_where",
        "ended_by",
        "over",
        "thread",
    )

    def __init__(
        self,
        pool: TaskPool,
        target: Callable[..., Any],
        args: Any,
        kwargs: Any,
        *,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        timeout_callback: Callable[..., Any] | None = None,
        error_callback: Callable[..., Any] | None = None,
        soft_timeout: float | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> None:
        self._pool = pool
        self._target = target
        self._args = args or ()
        self._kwargs = kwargs or {}
        self._callback = callback or _nothing
        self._accept_callback = accept_callback or _nothing
        self._timeout_callback = timeout_callback or _nothing
        self._error_callback = error_callback or _nothing
        self._soft = soft_timeout
        self._hard = timeout
        self._timers: list[Timer] = []
        # Whether the hard limit has ended it, and nobody has been told yet.
        self._untold: bool = False
        self.ended_by: str | None = None
        # Whether the task itself is over, and its end is being told.
        self.over: bool = False
        self.thread: GreenThread | None = None
        # The greenlet that a soft limit is raised in: the thread, or a coroutine's portal.
        self._where: greenlet | None = None

    def start(self) -> GreenThread:
        """Start it in a green thread of its own."""
        self.thread = self._where = thread = spawn(self._run)
        return thread

    # -- in the green thread -----------------------------------------------------------

    def _run(self) -> None:
        try:
            current_job.set(self)
            self._accept_callback(id(getcurrent()), monotonic())
            # A task that was revoked while it waited is ended by that call.
            if self.ended_by is None:
                self._start_limits()
                self._call()
        except (WorkerShutdown, WorkerTerminate):
            raise
        except GreenletExit:
            # Ended while it was being accepted, or while its end was being told.
            pass
        except BaseException:
            logger.exception("The end of a task could not be told")
        finally:
            self._stop_limits()
            self.over = True
            self._where = None
            try:
                self._tell_of_hard_limit()
            finally:
                self._pool.job_ended(self)
                self.thread = None

    def _call(self) -> None:
        try:
            outcome = self._target(*self._args, **self._kwargs)
        except (WorkerShutdown, WorkerTerminate):
            raise
        except BaseException as error:
            if self.ended_by is not None:
                return
            self._finish()
            self._error_callback(_info(error))
        else:
            if self.ended_by is None:
                self._finish()
                self._callback(outcome)

    def _finish(self) -> None:
        self.over = True
        self._stop_limits()

    def enter(self, portal: greenlet) -> greenlet | None:
        """A coroutine of the task begins, in a portal.

        Returns:
            What to `leave` with.
        """
        before = self._where
        # In a portal already, it is a part of that; and not what some other green thread
        # that the task has started runs.
        if isinstance(portal, Portal) and before is self.thread:
            self._where = portal
        return before

    def runs_here(self) -> bool:
        """Whether the caller is the task itself, not a green thread that it has started."""
        return getcurrent() in (self.thread, self._where)

    def leave(self, before: greenlet | None) -> None:
        """A coroutine of the task has ended."""
        self._where = before

    # -- limits ------------------------------------------------------------------------

    def _start_limits(self) -> None:
        if self._soft:
            self._timers.append(
                Timer.start(get_hub(), self._soft, self._soft_limit, ())
            )
        if self._hard:
            self._timers.append(
                Timer.start(get_hub(), self._hard, self._hard_limit, ())
            )

    def _stop_limits(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _soft_limit(self) -> None:
        if not self.over and self.ended_by is None:
            self.interrupt()
            spawn(self._tell_of_limit, True, self._soft)

    def _hard_limit(self) -> None:
        if not self.over and self.ended_by is None:
            # Who is told shall find the task's own clean-up done; but one that goes on
            # for long, or for ever, keeps nobody waiting.
            self._untold = True
            self._timers.append(
                Timer.start(get_hub(), _GRACE, spawn, (self._tell_of_hard_limit,))
            )
            self.end("the hard time limit")

    def _tell_of_hard_limit(self) -> None:
        if self._untold:
            self._untold = False
            self._tell_of_limit(False, self._hard)

    def _tell_of_limit(self, soft: bool, seconds: float | None) -> None:
        # In a copy of the task's context, and not a part of the task.
        current_job.set(None)
        try:
            self._timeout_callback(soft, seconds)
        except Exception:
            logger.exception("The time limit of a task could not be told")

    def interrupt(self) -> None:
        """Raise `SoftTimeLimitExceeded` in the task."""
        where = self._where
        if where is None or self.over:
            return
        kind = SoftLimit if isinstance(where, Portal) else SoftTimeLimitExceeded
        kill(where, kind(self._soft) if self._soft else kind())

    def end(self, reason: str) -> None:
        """End it, wherever it waits; nothing more is told of it."""
        if self.over or self.ended_by is not None:
            return
        self.ended_by = reason
        if self.thread is not None and self.thread is not getcurrent():
            self.thread.kill()


def _info(error: BaseException) -> ExceptionInfo:
    """Return an exception as Celery passes it on."""
    if isinstance(error, Exception):
        return ExceptionInfo((type(error), error, error.__traceback__))
    try:
        raise WorkerLostError(repr(error)).with_traceback(error.__traceback__)
    except WorkerLostError:
        return ExceptionInfo(sys.exc_info())
