"""Workers of Celery in processes of their own, and a client for each."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import kombu.pools
from celery import Celery

# For a worker to start or stop, or a task to end, on a machine that has much to do.
PATIENCE = 90
# What is said of a task that was revoked with `terminate`: Celery 5.6 stores the second over
# the first.
ENDED = "terminated|revoked"
HERE = Path(__file__).parent
OWN_POOL = ("-m", "greenio.workers.celery")
CUSTOM_POOL = ("-m", "celery")
ALIAS = ("-m", "greenio", "-m", "celery")


def until(condition, what, patience=PATIENCE):
    """Wait until a condition holds; return what it says."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"it did not come to that: {what}"
        time.sleep(0.02)
    return value


class Worker:
    """A worker, with a queue of its own, and an app to send it tasks.

    Args:
        broker: Where its messages are.
        backend: Where results go; `broker` by default.
        hub: The kind of loop.
        options: The worker's own.
        command: How the worker is run.
        more: For its environment.
        queue: Another worker's, to share it.
    """

    def __init__(
        self,
        broker,
        folder,
        *options,
        backend=None,
        hub="asyncio",
        command=OWN_POOL,
        queue=None,
        app="_celery_app",
        **more,
    ):
        self.queue = queue or f"greenio-{uuid.uuid4().hex[:12]}"
        self.name = f"w{uuid.uuid4().hex[:12]}@test"
        backend = backend or ("rpc://" if broker.startswith("amqp") else broker)
        self.app = Celery(
            "consumers", broker=broker, backend=backend, set_as_current=False
        )
        self.app.conf.task_default_queue = self.queue
        self.log = folder / f"{self.name}.log"
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(HERE), os.environ.get("PYTHONPATH")])
            ),
            "TEST_BROKER": broker,
            "TEST_BACKEND": backend,
            "TEST_QUEUE": self.queue,
            "TEST_SCHEDULE": str(folder / self.name),
            "GREENIO_HUB": hub,
            "C_FORCE_ROOT": "1",
            **more,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, *command, "-A", app, "worker", "-n", self.name),
                    *("-l", "INFO", "--without-mingle", "--without-gossip", *options),
                ],
                env=self._environment,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self.wait_for_line(" ready.")
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Be rid of it, whatever it does."""
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(Exception):
            with self.app.connection_for_write() as connection:
                connection.default_channel.queue_delete(self.queue)
        # What the client would leave to the garbage collector.
        backend = self.app.backend
        for end in (
            lambda: backend.result_consumer.stop(),
            lambda: backend.result_consumer._connection.close(),
            lambda: backend.client.connection_pool.disconnect(),
            kombu.pools.reset,
            self.app.close,
        ):
            with contextlib.suppress(Exception):
                end()

    def text(self):
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def wait_for_line(self, part):
        """Wait until it has written something."""

        def written():
            assert self.process.poll() is None, self.text()
            return part in self.text()

        until(written, f"{part!r} in its log")

    def send(self, task, *args, **options):
        """Send it a task."""
        return self.app.send_task(task, args, queue=self.queue, **options)

    def ask(self, task, *args, **options):
        """Send it a task, and return the result."""
        return self.send(task, *args, **options).get(timeout=PATIENCE)

    def task(self, name, *args, immutable=False, **options):
        """Return a signature, for chains and groups."""
        return self.app.signature(
            name, args, immutable=immutable, queue=self.queue, options=options
        )

    def inspect(self, what, *args):
        """Ask it by remote control."""
        inspect = self.app.control.inspect(destination=[self.name], timeout=5, limit=1)
        # It says that it is ready before it listens to that.
        answers = until(lambda: getattr(inspect, what)(*args), f"it answers to {what}")
        return answers[self.name]

    def control(self, what, *args, **options):
        """Tell it something by remote control, and return its answer."""
        control = getattr(self.app.control, what)
        options.update(destination=[self.name], reply=True, timeout=PATIENCE, limit=1)
        self.inspect("ping")
        answer = control(*args, **options)[0][self.name]
        assert "ok" in answer, answer
        return answer

    def active(self):
        """Return the ids of the tasks that run."""
        return {each["id"] for each in self.inspect("active")}

    def stop(self, number=signal.SIGTERM):
        """Send it a signal, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)
