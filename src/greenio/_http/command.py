"""``python -m greenio serve package.module:app``: a WSGI application in one command.

A *supervisor* opens the listening socket and starts workers, which inherit it; it runs
no loop and imports nothing of the application. Since the socket stays open in it, no
connection is lost between an old worker and its successor: those that nobody has
accepted wait for the new one. With ``--reuse-port`` there is a socket for each worker,
which its successors inherit in the same way.

* SIGHUP: new workers start, and when all are ready the old ones are told to stop. If a
  new one cannot start, the old ones stay, and the log says why.
* SIGTERM, SIGINT: nobody listens any more, and the workers stop gracefully, when they have
  taken the connections that the system has accepted; a second signal kills them.
* A worker that dies is replaced; one that dies before it was ready ends the command.

A worker patches the standard library, imports the application, says by a byte in a pipe
that it is ready, and serves until SIGTERM, or until its supervisor is gone. SIGTERM
before it is ready ends it at once: it has not accepted anything. SIGINT and SIGHUP, which
a terminal sends to workers too, are the supervisor's, from a worker's first moment on. With
``--reload`` one of them watches the files of all imported modules and sends the
supervisor SIGHUP.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time  # noqa: TID251 - the wall clock, which nobody patches
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._debug.by_option import (
    DEFAULT,
    ask_for_monitor,
    debug_mode,
    obey_environment,
    seconds_of,
)
from .._greenthread.sleeping import sleep
from .._greenthread.spawning import spawn
from .._kernel.current import get_hub, use_hub
from .._loop.loops import loop_factory
from .._net import constants
from .._net.socket import GreenSocket
from .._net.ssl import wrap_socket
from .._std.errors import HubError
from .._std.originals import monotonic, os_close, os_read, os_write, time_sleep
from . import settings
from .checks import check_log_format, check_seconds, check_size, is_async, takes_two
from .logs import FORMATS, get_logger

_TURN = 0.05
_KILL_AFTER = 5.0
_RELOAD_TURN = 0.5
# Processes of one program; more than that is a slip of the hand.
_MOST_WORKERS = 4096
# What the system takes for one.
_LARGEST_BACKLOG = 2**31 - 1
# Signals that a worker leaves to its supervisor: blocked until it ignores them.
_SUPERVISORS = {signal.SIGINT, signal.SIGHUP}


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
    add(
        "--reuse-port",
        action="store_true",
        help="a listening socket for each worker (SO_REUSEPORT), not one for all",
    )
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
    add(
        "--monitor",
        metavar="S",
        help="log who keeps a worker's loop from going on for S seconds; a bare --monitor "
        f"is one of {DEFAULT}",
    )
    add("--debug", action="store_true", help="asyncio's debug mode, in the workers")
    # For the supervisor's own use: the listening socket, the pipe, and from when on files that
    # change are watched; 0 for none.
    add("--inherited", nargs=3, type=int, help=argparse.SUPPRESS)
    # Its value stands behind a =, or the application would be taken for it.
    options = parser.parse_args(
        [f"--monitor={DEFAULT}" if word == "--monitor" else word for word in words]
    )
    module, colon, name = options.app.partition(":")
    if not (module and colon and name):
        parser.error(f"name the application as package.module:app, not {options.app!r}")
    if not 1 <= options.workers <= _MOST_WORKERS:
        parser.error(f"--workers takes a number from 1 to {_MOST_WORKERS}")
    _check_names(options, parser)
    if options.keyfile and not options.certfile:
        parser.error("--keyfile is of no use without --certfile")
    if options.reuse_port and options.bind.startswith(("unix:", "fd:")):
        parser.error("--reuse-port takes --bind host:port, not unix: or fd:")
    try:
        check_size("--backlog", options.backlog, 1)
        if options.backlog > _LARGEST_BACKLOG:
            raise ValueError(f"--backlog is {_LARGEST_BACKLOG} or less")
        if options.max_size is not None:
            check_size("--max-size", options.max_size, 1)
        check_seconds("--keepalive", options.keepalive)
        check_seconds("--graceful-timeout", options.graceful_timeout)
        check_log_format(_log_format(options.log_format))
        if "%" not in _log_format(options.log_format):
            raise ValueError(
                "--log-format is common, combined, eventlet, or a format with fields "
                f"such as '%(request_line)s', not {options.log_format!r}"
            )
        if options.monitor is not None:
            options.monitor = seconds_of(options.monitor)
    except ValueError as exc:
        parser.error(str(exc))
    return options


def _check_names(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    for given in ("hub", "certfile", "keyfile"):
        if getattr(options, given) == "":
            # Of a variable that is not set, say: no reason to serve without TLS.
            parser.error(f"--{given} takes a name, not ''")
    if options.hub and ":" not in options.hub:
        # A function's name is the workers' to look up, once the modules are patched.
        try:
            loop_factory(options.hub)
        except HubError as exc:
            parser.error(f"--hub {options.hub}: {exc}")


def main(words: list[str]) -> int:
    """Run the command; return its exit status."""
    options = _arguments(words)
    if options.inherited is not None:
        return _work(options, *options.inherited)
    try:
        socks = _bind_all(options)
    except (OSError, OverflowError, ValueError) as exc:
        _say(f"cannot listen on {options.bind}: {exc}")
        return 1
    return _Supervisor(words, options, socks).run()


def _say(text: str) -> None:
    os_write(2, f"({os.getpid()}) {text}\n".encode(errors="backslashreplace"))


def _bind_all(options: argparse.Namespace) -> list[GreenSocket]:
    """Open the listening sockets: one that the workers share, or one for each."""
    address: str = options.bind
    if not options.reuse_port:
        return [_bind(address, options.backlog)]
    socks: list[GreenSocket] = []
    try:
        for _ in range(options.workers):
            socks.append(_bind(address, options.backlog, reuse_port=True))
            # Where the system chooses the port, it is the same for all.
            port = socks[0].getsockname()[1]
            address = f"{address.rpartition(':')[0]}:{port}"
    except BaseException:
        for sock in socks:
            sock.close()
        raise
    return socks


def _bind(address: str, backlog: int, *, reuse_port: bool = False) -> GreenSocket:
    """Open a listening socket."""
    if address.startswith("fd:"):
        if not address[3:].isdigit():
            raise ValueError("write fd: and the number of a socket that listens")
        return GreenSocket(fileno=int(address[3:]))
    if address.startswith("unix:"):
        from ..convenience import listen

        path = address[5:]
        if not path:
            raise ValueError("write unix: and a path")
        _clear(path)
        return listen(path, constants.AF_UNIX, backlog)
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError("write host:port, unix:path or fd:number")
    host = host.strip("[]")
    family = constants.AF_INET6 if ":" in host else constants.AF_INET
    sock = GreenSocket(family, constants.SOCK_STREAM)
    try:
        sock.setsockopt(constants.SOL_SOCKET, constants.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(constants.SOL_SOCKET, constants.SO_REUSEPORT, 1)
        sock.bind((host, int(port)))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _clear(path: str) -> None:
    """Remove a Unix socket that nobody listens on any more."""
    if not Path(path).is_socket():
        return
    with GreenSocket(constants.AF_UNIX, constants.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()


# -- the supervisor ---------------------------------------------------------------------


class _Worker:
    """A process that serves.

    Args:
        pid: Its number.
        pipe: Where it says that it is ready.
        number: Which of those that run at once it is; the first one watches files.
    """

    def __init__(self, pid: int, pipe: int, number: int) -> None:
        self.pid = pid
        self.pipe = pipe
        self.number = number
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
        self, words: list[str], options: argparse.Namespace, socks: list[GreenSocket]
    ) -> None:
        self._words = words
        self._options = options
        self._socks = socks
        self._workers: list[_Worker] = []
        # Those that are to take over when all are ready.
        self._next: list[_Worker] = []
        self._hups = 0
        self._begun = 0
        self._ends = 0
        self._status = 0

    def run(self) -> int:
        signal.signal(signal.SIGHUP, self._on_hup)
        signal.signal(signal.SIGTERM, self._on_end)
        signal.signal(signal.SIGINT, self._on_end)
        self._workers = self._start_all()
        while self._workers or self._next:
            self._reap()
            if self._ends:
                self._close()
                for worker in self._workers + self._next:
                    worker.stop()
            elif self._hups:
                self._hups = 0
                self._begin_restart()
            self._follow_restart()
            self._kill_late()
            time_sleep(_TURN)
        self._close()
        return self._status

    def _close(self) -> None:
        for sock in self._socks:
            sock.close()

    def _on_hup(self, *_: Any) -> None:
        self._hups += 1

    def _on_end(self, *_: Any) -> None:
        self._ends += 1

    def _start_all(self) -> list[_Worker]:
        # In milliseconds. From then on, another worker may have imported a file before it
        # was changed; the clock of files is behind by some.
        self._begun = int(time.time() * 1000) - 10
        return [self._start(number) for number in range(self._options.workers)]

    def _start(self, number: int) -> _Worker:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        fd = self._socks[number % len(self._socks)].fileno()
        since = self._begun if self._options.reload and not number else 0
        os.set_inheritable(fd, True)
        os.set_inheritable(writing, True)
        try:
            command = [sys.executable, "-m", "greenio", "serve", *self._words]
            command += ["--inherited", str(fd), str(writing), str(since)]
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            pid = os.posix_spawn(
                sys.executable,
                command,
                os.environ,
                setsigmask=mask | _SUPERVISORS,
                setsigdef=[signal.SIGTERM],
            )
        finally:
            # Not for the others, who would keep it open when this one has closed it, and
            # accept nobody there.
            os.set_inheritable(fd, False)
            os_close(writing)
        return _Worker(pid, reading, number)

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
                self._end_next()
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
            self._workers.append(self._start(worker.number))

    def _begin_restart(self) -> None:
        # One may be under way, with files that have changed again.
        self._end_next()
        _say("restarting")
        self._next = self._start_all()

    def _end_next(self) -> None:
        """Stop those that were to take over; they are not to do so any more."""
        for worker in self._next:
            worker.stop()
        self._workers += self._next
        self._next = []

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
    if is_async(found):
        raise TypeError(
            f"{spec} is an ASGI application, not a WSGI one; run it by: uvicorn {spec}"
        )
    if not takes_two(found):
        raise TypeError(
            f"{spec} is no WSGI application: it is not called with environ and "
            f"start_response; if it makes an application, write: {spec}()"
        )
    return found  # type: ignore[no-any-return]


class _Receiver:
    """Gets the `Server` when it is there."""

    def __init__(self, then: Callable[[Any], None]) -> None:
        self.send = then


def _work(options: argparse.Namespace, fd: int, ready: int, since: int) -> int:
    for number in _SUPERVISORS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SUPERVISORS)
    os.set_inheritable(fd, False)
    os.set_inheritable(ready, False)
    try:
        if options.hub:
            use_hub(options.hub)
        if options.debug:
            debug_mode()
        if options.monitor is not None:
            ask_for_monitor(options.monitor)
        if not options.no_patch:
            from ..patcher import monkey_patch

            monkey_patch()
        obey_environment()
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
        server.accepts_rest = True
        if options.workers > 1 and not options.reuse_port:
            # Whoever has taken one connection from the queue lets the others.
            server.accepted_at_once = 1
        # Without an access log, too, it says when it begins and ends, and why.
        server.log = get_logger(None, debug=True)
        spawn(_watch, server, supervisor, since / 1000 if since else None)
        os_write(ready, b"!")
        os_close(ready)

    from .serve import server

    try:
        sock = _listener(options, fd)
    except OSError as exc:
        _say(f"cannot serve TLS with {options.certfile}: {exc}")
        return 1
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


def _listener(options: argparse.Namespace, fd: int) -> Any:
    """Return what a worker accepts connections on.

    Raises:
        OSError: The certificate or its key cannot be read.
    """
    sock = GreenSocket(fileno=fd)
    if not options.certfile:
        return sock
    return wrap_socket(sock, options.keyfile, options.certfile, server_side=True)


def _log_format(name: str) -> str:
    if name == "eventlet":
        return settings.DEFAULT_LOG_FORMAT
    return FORMATS.get(name, name)


def _watch(server: Any, supervisor: int, since: float | None) -> None:
    """Stop when the supervisor is gone, and tell it of files that change.

    Args:
        server: The server.
        supervisor: The supervisor's process.
        since: From when on files may have changed since they were imported; None to
            watch none.
    """
    known = {} if since is None else _files()
    for name, when in known.items():
        if since is not None and since < when < time.time():
            # What was imported may be what was there before, or not.
            known[name] = 0.0
    while not server.stopping:
        sleep(_RELOAD_TURN)
        if os.getppid() != supervisor:
            server.stop("its supervisor is gone")
            return
        if since is not None:
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
