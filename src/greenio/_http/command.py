"""``python -m greenio serve package.module:app``: a WSGI application in one command.

A *supervisor* opens the listening socket and starts workers, which inherit it; it runs
no loop and imports nothing of the application. Since the socket stays open in it, no
connection is lost between an old worker and its successor: those that nobody has
accepted wait for the new one.

* SIGHUP: new workers start, and when all are ready the old ones are told to stop. If a
  new one cannot start, the old ones stay, and the log says why.
* SIGTERM, SIGINT: the workers stop gracefully; a second signal kills them.
* A worker that dies is replaced; one that dies before it was ready ends the command.

A worker patches the standard library, imports the application, says by a byte in a pipe
that it is ready, and serves until SIGTERM, or until its supervisor is gone. With
``--reload`` it watches the files of all imported modules and sends its supervisor SIGHUP.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._greenthread.sleeping import sleep
from .._greenthread.spawning import spawn
from .._kernel.current import get_hub, use_hub
from .._net import constants
from .._net.socket import GreenSocket
from .._net.ssl import wrap_socket
from .._std.originals import monotonic, os_close, os_read, os_write, time_sleep
from . import settings
from .logs import FORMATS

_TURN = 0.05
_KILL_AFTER = 5.0
_RELOAD_TURN = 0.5


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m greenio serve",
        description="Serve a WSGI application in green threads.",
    )
    add = parser.add_argument
    add("app", help="the application: package.module:name, or :factory()")
    add(
        "--bind",
        default="127.0.0.1:8000",
        metavar="ADDRESS",
        help="host:port, [host]:port, unix:path or fd:number (default: %(default)s)",
    )
    add("--workers", type=int, default=1, metavar="N", help="how many processes")
    add("--hub", metavar="NAME", help="the event loop: asyncio (the default) or uvloop")
    add("--reload", action="store_true", help="restart when a module's file changes")
    add("--no-patch", action="store_true", help="leave the standard library as it is")
    add(
        "--log-format",
        default="common",
        metavar="FORMAT",
        help="common, combined, eventlet, or a format as wsgi.server() takes it",
    )
    add("--no-access-log", action="store_true", help="do not log requests")
    add("--backlog", type=int, default=1024, metavar="N", help="the socket's backlog")
    add("--max-size", type=int, metavar="N", help="connections at once, per worker")
    add("--keepalive", type=float, metavar="S", help="seconds between two requests")
    add(
        "--graceful-timeout",
        type=float,
        default=settings.GRACEFUL_TIMEOUT,
        metavar="S",
        help="seconds that requests may take when a worker stops (default: %(default)s)",
    )
    add("--certfile", metavar="FILE", help="serve TLS with this certificate")
    add("--keyfile", metavar="FILE", help="its key, if it is not in the same file")
    # For the supervisor's own use: the listening socket and the pipe.
    add("--inherited", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    module, colon, name = options.app.partition(":")
    if not (module and colon and name):
        parser.error(f"name the application as package.module:app, not {options.app!r}")
    if options.workers < 1:
        parser.error("--workers takes a number from 1 on")
    if options.keyfile and not options.certfile:
        parser.error("--keyfile is of no use without --certfile")
    return options


def main(words: list[str]) -> int:
    """Run the command; return its exit status."""
    options = _arguments(words)
    if options.inherited is not None:
        return _work(options, *options.inherited)
    try:
        sock = _bind(options.bind, options.backlog)
    except (OSError, ValueError) as exc:
        _say(f"cannot listen on {options.bind}: {exc}")
        return 1
    return _Supervisor(words, options, sock).run()


def _say(text: str) -> None:
    os_write(2, f"({os.getpid()}) {text}\n".encode(errors="backslashreplace"))


def _bind(address: str, backlog: int) -> GreenSocket:
    """Open the listening socket that the workers share."""
    if address.startswith("fd:"):
        return GreenSocket(fileno=int(address[3:]))
    if address.startswith("unix:"):
        from ..convenience import listen

        return listen(address[5:], constants.AF_UNIX, backlog)
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError("write host:port, unix:path or fd:number")
    host = host.strip("[]")
    family = constants.AF_INET6 if ":" in host else constants.AF_INET
    sock = GreenSocket(family, constants.SOCK_STREAM)
    try:
        sock.setsockopt(constants.SOL_SOCKET, constants.SO_REUSEADDR, 1)
        sock.bind((host, int(port)))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


# -- the supervisor ---------------------------------------------------------------------


class _Worker:
    """A process that serves."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self.pipe = pipe
        self.ready = False
        self.stopped_at: float | None = None

    def look(self) -> None:
        """See whether it has said that it is ready."""
        if not self.ready and self.pipe >= 0:
            try:
                said = os_read(self.pipe, 1)
            except BlockingIOError:
                return
            self.ready = said == b"!"
            self.forget_pipe()

    def forget_pipe(self) -> None:
        if self.pipe >= 0:
            os_close(self.pipe)
            self.pipe = -1

    def stop(self) -> None:
        if self.stopped_at is None:
            self.stopped_at = monotonic()
            self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass


class _Supervisor:
    """Keeps as many workers as were asked for."""

    def __init__(
        self, words: list[str], options: argparse.Namespace, sock: GreenSocket
    ) -> None:
        self._words = words
        self._options = options
        self._sock = sock
        self._workers: list[_Worker] = []
        # Those that are to take over when all are ready.
        self._next: list[_Worker] = []
        self._hups = 0
        self._ends = 0
        self._status = 0

    def run(self) -> int:
        signal.signal(signal.SIGHUP, self._on_hup)
        signal.signal(signal.SIGTERM, self._on_end)
        signal.signal(signal.SIGINT, self._on_end)
        self._workers = [self._start() for _ in range(self._options.workers)]
        while self._workers or self._next:
            self._reap()
            if self._ends:
                for worker in self._workers + self._next:
                    worker.stop()
            elif self._hups:
                self._hups = 0
                self._begin_restart()
            self._follow_restart()
            self._kill_late()
            time_sleep(_TURN)
        self._sock.close()
        return self._status

    def _on_hup(self, *_: Any) -> None:
        self._hups += 1

    def _on_end(self, *_: Any) -> None:
        self._ends += 1

    def _start(self) -> _Worker:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        fd = self._sock.fileno()
        os.set_inheritable(fd, True)
        os.set_inheritable(writing, True)
        try:
            command = [sys.executable, "-m", "greenio", "serve", *self._words]
            command += ["--inherited", str(fd), str(writing)]
            pid = os.posix_spawn(sys.executable, command, os.environ)
        finally:
            os_close(writing)
        return _Worker(pid, reading)

    def _reap(self) -> None:
        for worker in self._workers + self._next:
            worker.look()
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, status: int) -> None:
        worker.forget_pipe()
        if worker in self._next:
            self._next.remove(worker)
            if not self._ends:
                _say(f"a new worker ended with status {status}; the old ones go on")
                for other in self._next:
                    other.stop()
            return
        self._workers.remove(worker)
        if worker.stopped_at is not None:
            return
        if not worker.ready:
            _say(f"worker {worker.pid} could not start (status {status})")
            self._status = 1
            self._ends += 1
        elif not self._ends:
            _say(f"worker {worker.pid} ended with status {status}; another one starts")
            self._workers.append(self._start())

    def _begin_restart(self) -> None:
        if self._next:
            # Under way, with files that have changed again.
            for worker in self._next:
                worker.stop()
            self._workers += self._next
        _say("restarting")
        self._next = [self._start() for _ in range(self._options.workers)]

    def _follow_restart(self) -> None:
        if self._next and not self._ends and all(new.ready for new in self._next):
            for worker in self._workers:
                worker.stop()
            self._workers += self._next
            self._next = []

    def _kill_late(self) -> None:
        now = monotonic()
        late = self._options.graceful_timeout + _KILL_AFTER
        for worker in self._workers + self._next:
            stopped = worker.stopped_at
            if self._ends > 1 or (stopped is not None and now - stopped > late):
                worker.signal(signal.SIGKILL)


# -- a worker -----------------------------------------------------------------------------


def load(spec: str) -> Callable[..., Any]:
    """Import an application.

    Args:
        spec: ``package.module:name``; the name may have dots, and ``()`` at the end if
            it is a function that makes the application.

    Raises:
        TypeError: It is no WSGI application.
    """
    module_name, _, name = spec.partition(":")
    factory = name.endswith("()")
    found: Any = importlib.import_module(module_name)
    for part in name.removesuffix("()").split("."):
        found = getattr(found, part)
    if factory:
        found = found()
    if not callable(found):
        raise TypeError(f"{spec} is no WSGI application: {found!r} cannot be called")
    called = found if inspect.isroutine(found) else type(found).__call__
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(called):
        raise TypeError(
            f"{spec} is an ASGI application, not a WSGI one; run it by: uvicorn {spec}"
        )
    return found  # type: ignore[no-any-return]


class _Receiver:
    """Gets the `Server` when it is there."""

    def __init__(self, then: Callable[[Any], None]) -> None:
        self.send = then


def _work(options: argparse.Namespace, fd: int, ready: int) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stopped = False

    def remember(*_: Any) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, remember)
    os.set_inheritable(fd, False)
    os.set_inheritable(ready, False)
    try:
        if options.hub:
            use_hub(options.hub)
        if not options.no_patch:
            from ..patcher import monkey_patch

            monkey_patch()
        app = load(options.app)
    except BaseException as exc:
        if not isinstance(exc, TypeError):
            traceback.print_exc()
        _say(f"cannot serve {options.app}: {exc}")
        return 1
    supervisor = os.getppid()

    def begin(server: Any) -> None:
        def stop(*_: Any) -> None:
            # Wherever the signal finds us: this goes by way of the loop.
            hub.call_threadsafe(server.stop, "SIGTERM came")

        hub = get_hub()
        signal.signal(signal.SIGTERM, stop)
        if stopped:
            stop()
        spawn(_watch, server, supervisor, options.reload)
        os_write(ready, b"!")
        os_close(ready)

    from .serve import server

    sock: Any = GreenSocket(fileno=fd)
    if options.certfile:
        sock = wrap_socket(sock, options.keyfile, options.certfile, server_side=True)
    server(
        sock,
        app,
        environ={"wsgi.multiprocess": options.workers > 1},
        max_size=options.max_size,
        server_event=_Receiver(begin),
        keepalive=True if options.keepalive is None else options.keepalive,
        log_output=not options.no_access_log,
        log_format=_log_format(options.log_format),
        graceful_timeout=options.graceful_timeout,
    )
    return 0


def _log_format(name: str) -> str:
    if name == "eventlet":
        return settings.DEFAULT_LOG_FORMAT
    return FORMATS.get(name, name)


def _watch(server: Any, supervisor: int, reload: bool) -> None:
    """Stop when the supervisor is gone, and tell it of files that change."""
    known = _files() if reload else {}
    while not server.stopping:
        sleep(_RELOAD_TURN)
        if os.getppid() != supervisor:
            server.stop("its supervisor is gone")
            return
        if reload:
            now = _files()
            changed = [
                name for name, when in now.items() if known.get(name, when) != when
            ]
            known = now
            if changed:
                server.log.info(f"({os.getpid()}) {changed[0]} has changed")
                os.kill(supervisor, signal.SIGHUP)


def _files() -> dict[str, float]:
    """When the files of the imported modules were changed."""
    times = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if name:
            try:
                times[name] = Path(name).stat().st_mtime
            except OSError:
                pass
    return times
