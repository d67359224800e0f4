"""`TaskPool`: what `celery worker -P custom` runs tasks in.

Each task has a green thread of its own, at most `limit` of them at a time; what comes beyond
that waits in a queue of the pool's. Celery's own green pools let the worker's main loop wait
instead, and then nobody reads the broker's heartbeats. A task in the queue has not been
accepted, so it is not acknowledged: a worker that stops, or loses its connection, drops it, and
the broker hands it out again.
"""

from __future__ import annotations

import signal as _signal
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import signals

from .._greenthread.spawning import spawn_n
from .._sync.event import Event
from .cached_properties import read_without_locks
from .handlers import run_handlers_green
from .job import Job
from .main_loop import take_heartbeats_without_waiting
from .read_ahead import read_ahead
from .redis_clients import share_clients
from .restoring import restore_messages
from .sharing import share_backend
from .tasks import prepare_task, prepare_tasks
from .timer import Timer as _Timer

if TYPE_CHECKING:
    # Celery has no types; whatever is not named here may be anything.

    class BasePool:
        app: Any
        limit: int
        options: dict[str, Any]

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...
        def _get_info(self) -> dict[str, Any]: ...
        def __getattr__(self, name: str) -> Any: ...

else:
    from celery.concurrency.base import BasePool


class TaskPool(BasePool):
    """Runs a Celery worker's tasks in green threads, `async def` ones too.

    Celery makes it: ``celery -A app worker -P custom`` with
    ``CELERY_CUSTOM_WORKER_POOL=greenio.workers.celery:TaskPool`` in the environment. Celery's
    documentation of pools says what its methods are for; these are its arguments and results.
    """

    Timer = _Timer
    limit: int

    signal_safe = False
    is_green = True
    task_join_will_block = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: dict[int, Job] = {}
        self._waiting: deque[Job] = deque()
        # Whether nothing is started any more.
        self._held = False
        self._idle: Event[None] | None = None
        self._prepared: Any = ()
        self.timeout: Any = self.options.get("timeout")
        self.soft_timeout: Any = self.options.get("soft_timeout")

    @staticmethod
    def spawn_n(function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Start what answers remote control, in a green thread."""
        spawn_n(function, *args, **kwargs)

    # -- its life --------------------------------------------------------------------------

    def on_start(self) -> None:
        """Get ready for tasks."""
        run_handlers_green(self)
        take_heartbeats_without_waiting()
        read_without_locks()
        read_ahead()
        restore_messages()
        share_clients()
        share_backend(self.app)
        prepare_tasks(self.app)
        signals.eventlet_pool_started.send(sender=self)

    def hold(self) -> None:
        """Start nothing more: the worker is going to end."""
        self._held = True

    def on_close(self) -> None:
        """Start nothing more; what waits goes back to the broker."""
        self.hold()
        self._waiting.clear()

    def on_stop(self) -> None:
        """Wait until the tasks that run have ended."""
        signals.eventlet_pool_preshutdown.send(sender=self)
        self.on_close()
        while self._running:
            self._idle = Event()
            self._idle.wait()
        signals.eventlet_pool_postshutdown.send(sender=self)

    def on_terminate(self) -> None:
        """End the tasks that run."""
        self.on_close()
        for job in list(self._running.values()):
            job.end("the end of the worker")

    def restart(self) -> None:
        """See to tasks that have been imported anew."""
        prepare_tasks(self.app)

    def flush(self) -> None:
        """Forget what waits: the connection is gone, and it will be sent again."""
        self._waiting.clear()

    # -- tasks -----------------------------------------------------------------------------

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        timeout: float | None = None,
        soft_timeout: float | None = None,
        **options: Any,
    ) -> None:
        """Run a task when there is room for it.

        Limits are in seconds; the worker's own ones are for tasks that have none.
        """
        self._prepare(args)
        job = Job(
            self,
            target,
            args,
            kwargs,
            timeout=timeout or self.timeout,
            soft_timeout=soft_timeout or self.soft_timeout,
            **options,
        )
        if signals.eventlet_pool_apply.receivers:
            signals.eventlet_pool_apply.send(
                sender=self, target=target, args=args, kwargs=kwargs
            )
        self._waiting.append(job)
        self._start_waiting()

    def _prepare(self, args: Any) -> None:
        # What the worker calls has the task's name as its first argument.
        name = args[0] if args else None
        task = self.app.tasks.get(name) if isinstance(name, str) else None
        if task is not None and not hasattr(task, "_greenio_run"):
            # It was defined after the start.
            prepare_task(task)
            from celery.app.trace import build_tracer

            task.__trace__ = build_tracer(task.name, task, app=self.app)

    def _start_waiting(self) -> None:
        while self._waiting and not self._held and len(self._running) < self.limit:
            job = self._waiting.popleft()
            self._running[id(job.start())] = job

    def job_ended(self, job: Job) -> None:
        """A job is over, and there is room for another one."""
        del self._running[id(job.thread)]
        if self._waiting:
            self._start_waiting()
        if not self._running and self._idle is not None:
            self._idle.send()
            self._idle = None

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """End a task; with SIGUSR1, raise `SoftTimeLimitExceeded` in it.

        Args:
            pid: The task's number, as `inspect active` shows it.
            signal: Which signal would end its process, if it had one.
        """
        job = self._running.get(pid)
        if job is None:
            return
        if signal == getattr(_signal, "SIGUSR1", None):
            job.interrupt()
        else:
            job.end("revoked")

    # -- its size --------------------------------------------------------------------------

    def grow(self, n: int = 1) -> None:
        """Let `n` more tasks run at once."""
        self.limit += n
        self._start_waiting()

    def shrink(self, n: int = 1) -> None:
        """Let `n` fewer tasks run at once; those that run go on.

        Raises:
            ValueError: There are not so many.
        """
        if n > self.limit:
            raise ValueError(
                f"the pool has room for {self.limit} tasks, which is less than {n}"
            )
        self.limit -= n

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = super()._get_info()
        info.update(
            {
                "max-concurrency": self.limit,
                "free-threads": self.limit - len(self._running),
                "running-threads": len(self._running),
                "waiting-tasks": len(self._waiting),
                "timeouts": (self.soft_timeout or 0, self.timeout or 0),
            }
        )
        return info
