"""gunicorn, from its own package, with greenio's worker and an application of the test's."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil

SCRIPT = Path(sys.executable).parent / "gunicorn"
WORKERS = {
    "asyncio": "greenio.workers.gunicorn.GreenWorker",
    "uvloop": "greenio.workers.gunicorn.UvloopGreenWorker",
}


class Gunicorn:
    """A gunicorn in a process of its own.

    Args:
        directory: Where its files are made.
        worker: What `-k` gets, or the loop of greenio's worker.
        app: The application's source, with an `app` in it.
        words: More of the command line.
        conf: A configuration file's source.
        tls: A certificate's file for the client to trust; the server's is in `words`.
        python: What runs gunicorn. Its script, since SIGUSR2 does not survive `-m`.
    """

    def __init__(
        self,
        directory,
        worker,
        app,
        *words,
        conf="",
        tls=None,
        python=(str(SCRIPT),),
        environ=None,
    ):
        self.directory = directory
        self.tls = tls
        (directory / "site_under_test.py").write_text(textwrap.dedent(app))
        (directory / "conf.py").write_text(textwrap.dedent(conf))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.pidfile = directory / "pid"
        self.log_file = directory / "log"
        command = [
            *(sys.executable, *python, "-k", WORKERS.get(worker, worker)),
            *("-c", "conf.py", "-b", f"127.0.0.1:{self.port}"),
            *("--pid", str(self.pidfile), *words, "site_under_test:app"),
        ]
        environ = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            # Where the control socket of gunicorn 25 and later is made.
            "HOME": str(directory),
            **(environ or {}),
        }
        environ.pop("GREENIO_HUB", None)
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, env=environ, stdout=log, stderr=log
            )

    # -- the processes ------------------------------------------------------------------

    @property
    def master(self):
        """The arbiter's process, be it the first or one that has replaced it."""
        return psutil.Process(int(self.pidfile.read_text()))

    def workers(self):
        return sorted(child.pid for child in self.master.children())

    @property
    def log(self):
        return self.log_file.read_text()

    def send_signal(self, number):
        self.master.send_signal(number)

    def until(self, condition, seconds=30):
        """Wait until a condition holds, and return what it gave."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                found = condition()
            except (OSError, http.client.HTTPException, psutil.Error, ValueError):
                found = None
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"it did not happen; the log:\n{self.log}")

    def started(self, headers=None):
        """Wait until it answers."""
        self.until(lambda: self.ask("/", headers=headers))
        return self

    def end(self, number=signal.SIGTERM):
        """End it; return the log."""
        try:
            master = self.master
        except (OSError, ValueError, psutil.Error):
            master = None
        if self.process.poll() is None:
            self.process.send_signal(number)
        if master is not None and master.pid != self.process.pid:
            master.send_signal(number)
            self.until(lambda: not master.is_running())
        self.process.wait(timeout=30)
        return self.log

    def kill(self):
        """End it whatever state it is in."""
        try:
            tree = [self.master, *self.master.children(recursive=True)]
        except (OSError, ValueError, psutil.Error):
            tree = []
        for process in tree:
            try:
                process.kill()
            except psutil.Error:
                pass
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    # -- requests -----------------------------------------------------------------------

    def connection(self, timeout=30):
        if self.tls is not None:
            return http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=timeout, context=self.tls
            )
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def respond(self, path="/", method="GET", body=None, headers=None):
        """Ask on a connection of its own; return the response and its body."""
        connection = self.connection()
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def ask(self, path="/", **keywords):
        return self.respond(path, **keywords)[1].decode()

    def raw(self, data):
        """Send bytes; return all that comes until the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
            sock.sendall(data)
            return b"".join(iter(lambda: sock.recv(65536), b""))
