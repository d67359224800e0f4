"""Flask-SocketIO services in processes of their own, and clients of python-socketio."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import engineio
import psutil
import socketio

# For a service to start or stop, or a message to come, on a machine that has much to do.
PATIENCE = 40
PROGRAMS = Path(__file__).parent / "programs"
APP = PROGRAMS / "socketio_app.py"
WORKERS = {
    "asyncio": "greenio.workers.gunicorn.GreenWorker",
    "uvloop": "greenio.workers.gunicorn.UvloopGreenWorker",
}
# Of the packets that come by one poll, its clients understand sixteen.
engineio.payload.Payload.max_decode_packets = 1000
NAMESPACES = ["/", "/blobs"]
LOOPS = ["asyncio", "uvloop"] if importlib.util.find_spec("uvloop") else ["asyncio"]
# What runs the service: greenio on each kind of loop, beside eventlet if it is there.
KINDS = [*LOOPS, *(["eventlet"] if importlib.util.find_spec("eventlet") else [])]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def until(condition, what, patience=PATIENCE):
    """Wait until a condition holds; return what it says."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"it did not come to that: {what}"
        time.sleep(0.02)
    return value


def python_for(kind):
    """The command that runs a program: plain with eventlet, else with greenio."""
    if kind == "eventlet":
        return [sys.executable]
    return [sys.executable, "-m", "greenio", "--hub", kind]


def environment(**more):
    paths = [str(PROGRAMS), os.environ.get("PYTHONPATH", "")]
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        **more,
    }
    environ.pop("GREENIO_HUB", None)
    return environ


class Service:
    """The application of `programs/socketio_app.py`, served.

    Args:
        folder: Where its log is written.
        kind: One of `KINDS`.
        words: Of its command line, behind the port; with `gunicorn`, of gunicorn's.
        gunicorn: Whether it is served by gunicorn with greenio's worker, and not by
            ``socketio.run(app)``.
        port: Where it listens.
        scheme: ``"https"`` with TLS.
        environ: More of its environment.
    """

    def __init__(
        self, folder, kind, *words, gunicorn=False, port=None, scheme="http", **environ
    ):
        self.port = port or free_port()
        self.scheme = scheme
        self.log_file = folder / f"log-{uuid.uuid4().hex[:8]}"
        if gunicorn:
            command = [
                *(*python_for(kind), "gunicorn", "-k", WORKERS[kind]),
                *("-b", f"127.0.0.1:{self.port}", *words, "socketio_app:app"),
            ]
        else:
            command = [*python_for(kind), str(APP), str(self.port), *words]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                # Where gunicorn makes its control socket.
                env=environment(HOME=str(folder), **environ),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            until(self._answers, "it answers")
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _answers(self):
        assert self.process.poll() is None, self.log
        try:
            if self.scheme == "http":
                return self.ask()
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.log_file.read_text(errors="replace")

    def ask(self, path="/"):
        """Ask for a page of Flask's; return its text."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=PATIENCE
        )
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200, (response.status, self.log)
            return response.read().decode()

    def end(self, number=signal.SIGTERM):
        """End it by a signal; return what it has written."""
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        return self.log

    def kill(self):
        """End it whatever state it is in."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        self.process.kill()
        self.process.wait()


class Client:
    """A client of python-socketio's own, on asyncio; all that it is told is kept.

    Args:
        service: Whom to ask.
        transports: ``"polling"``, ``"websocket"``, or both, with an upgrade, by default.
        name: Its user's.
        token: To be let in.
        options: Of the client itself.
    """

    def __init__(self, service, transports=None, name="nobody", token=None, **options):
        self.told = asyncio.Queue()
        self.client = socketio.AsyncClient(
            reconnection_delay=0.1, reconnection_delay_max=0.5, **options
        )
        self.namespaces = NAMESPACES
        self._service = service
        self._transports = [transports] if transports else None
        self._auth = {"name": name, **({"token": token} if token else {})}
        for namespace in NAMESPACES:
            self.client.on("*", self._keep, namespace=namespace)
        self.client.on("question", self._answer)
        self.client.on("disconnect", self._gone)

    def _keep(self, event, *data):
        self.told.put_nowait((event, *data))

    def _answer(self, question):
        return len(question)

    def _gone(self, reason):
        self.told.put_nowait(("gone", reason))

    async def __aenter__(self):
        await self.client.connect(
            self._service.url,
            transports=self._transports,
            auth=self._auth,
            namespaces=self.namespaces,
            wait_timeout=PATIENCE,
        )
        return self

    async def __aexit__(self, *_):
        await self.client.shutdown()

    async def emit(self, event, *data, **options):
        await self.client.emit(event, data, **options)

    async def call(self, event, *data, **options):
        return await self.client.call(event, data, timeout=PATIENCE, **options)

    async def hear(self, event):
        """Wait until it is told something, and return that; other events are dropped."""
        while True:
            said = await asyncio.wait_for(self.told.get(), PATIENCE)
            if said[0] == event:
                return said[1] if len(said) == 2 else said[1:]

    async def is_in(self):
        """Wait until it has been let in: that may come after the first events."""
        deadline = time.monotonic() + PATIENCE
        while not set(self.namespaces) <= set(self.client.namespaces):
            assert time.monotonic() < deadline, self.client.namespaces
            await asyncio.sleep(0.02)
