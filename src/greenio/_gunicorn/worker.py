"""The worker: gunicorn's process, signals and heartbeat around greenio's loop.

The main greenlet is the heartbeat. It runs on the loop like everything else, so whoever
blocks the loop stops it, and the arbiter replaces the process. Signal handlers only note
what is wanted and wake it: they may find the process anywhere.

How a worker ends, on SIGTERM, SIGHUP, `max_requests` or when its arbiter is gone: it
accepts what the system has accepted, then no more; requests that run are answered;
connections that are kept alive may bring another request for a moment, whose answer says
that it is the last; after `graceful_timeout` what is left is killed.

Patching comes with the process, before the application is loaded. The arbiter itself is
not patched: it has nothing to gain, and its own threads have something to lose.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from gunicorn.sock import ssl_context
from gunicorn.workers.base_async import AsyncWorker

from .._greenthread.spawning import spawn
from .._greenthread.timeout import Timeout
from .._http.exchange import AlreadyHandled
from .._kernel.current import get_hub, use_hub
from .._net.socket import GreenSocket
from .._net.ssl import wrap_socket
from .._std.originals import os_read
from .._sync.event import Event
from ..patcher import monkey_patch, original
from ..wsgi import WSGI_LOCAL
from . import asgiref
from .access import AccessLog
from .forking import wait_for_threads_before_forks
from .parsed import ParsedListener
from .policy import Policy, needs_gunicorns_parser, set_limits
from .server import GunicornServer

_LONGEST_BEAT = 1.0

# The arbiter imports this, before it starts threads and registers for forks itself: what is
# registered first is called last.
wait_for_threads_before_forks()


class GreenWorker(AsyncWorker):  # type: ignore[misc]
    """A gunicorn worker in which each request runs in a green thread.

    ::

        gunicorn -k greenio.workers.gunicorn.GreenWorker package.module:app

    Applications are served by greenio's own HTTP server with gunicorn's settings; where
    a setting needs gunicorn's parser, that one reads the requests. The standard library is
    patched before the application is loaded.

    Attributes:
        hub: The loop: ``"asyncio"``, ``"uvloop"``, or a function that makes one. None is
            what ``GREENIO_HUB`` says, and asyncio else.
    """

    hub: Any = None
    nr: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Whether the arbiter has given this process up, and it was told so.
        self.aborted_here: bool = False
        self._servers: list[Any] = []
        self._running = 0
        self._access: AccessLog | None = None
        self._change: Event[None] = Event()

    # -- what happens before the application is there ----------------------------------

    def patch(self) -> None:
        """Choose the loop and patch the standard library; may be overridden."""
        use_hub(self.hub)
        monkey_patch()

    def init_process(self) -> None:
        """Begin the life of the process; see `gunicorn.workers.base.Worker`."""
        # Patching takes a while, and until `init_signals` the arbiter's handlers are
        # there, which would lose what tells this process to stop.
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGQUIT, self.handle_quit)
        signal.signal(signal.SIGINT, self.handle_quit)
        self.patch()
        super().init_process()

    # -- signals -----------------------------------------------------------------------

    def _changed(self) -> None:
        """Have the main greenlet look again."""
        if not self._change.ready():
            self._change.send(None)

    def init_signals(self) -> None:
        """Install the handlers of signals."""
        super().init_signals()
        # In a patched program what a handler raises goes to the main greenlet; this is to
        # end the green thread that it finds, which lets nobody else run.
        original("signal").signal(signal.SIGABRT, self.handle_abort)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully: SIGTERM."""
        self.alive: bool = False
        self._changed()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at once: SIGQUIT and SIGINT."""
        self.alive = False
        if not self.booted:
            self.cfg.worker_int(self)
            sys.exit(0)
        # The hook may block, which a signal handler cannot.
        spawn(super().handle_quit, sig, frame)

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """Open the log files again: SIGUSR1."""
        if self.booted:
            spawn(super().handle_usr1, sig, frame)
        else:
            super().handle_usr1(sig, frame)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """End a process whose loop is blocked: SIGABRT."""
        self.aborted_here = True
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        self.log.critical("Worker (pid:%s) blocked its loop in:\n%s", self.pid, stack)
        super().handle_abort(sig, frame)

    # -- running -----------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the worker is to end."""
        hub = get_hub()
        # On asyncio, too, a signal is to wake the loop: gunicorn has its own descriptor.
        hub.loop.add_reader(self.PIPE[0], self._drain)
        asgiref.run_on(hub.loop)
        try:
            self._start_all()
            while self.alive:
                self._beat()
            for server in self._servers:
                server.stop("the worker ends")
            while self._running:
                self._beat()
        finally:
            hub.loop.remove_reader(self.PIPE[0])
            if self._access is not None:
                self._access.flush()

    def _drain(self) -> None:
        try:
            os_read(self.PIPE[0], 4096)
        except OSError:
            return
        if not self.alive:
            self._changed()

    def _beat(self) -> None:
        """Tell the arbiter that the loop runs, and wait for the next time or a change."""
        self.notify()
        if self.alive and self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            self.alive = False
            return
        # `timeout` is half of the arbiter's; 0 is none.
        self._change.wait(min(_LONGEST_BEAT, self.timeout or _LONGEST_BEAT))
        if self._change.ready():
            self._change.reset()

    def _start_all(self) -> None:
        cfg = self.cfg
        context = ssl_context(cfg) if cfg.is_ssl else None
        reasons = needs_gunicorns_parser(cfg)
        if reasons:
            self.log.info("Requests are read by gunicorn's parser: %s", *reasons)
        else:
            set_limits(cfg)
        policy = Policy(cfg)
        self._access = access = AccessLog(self.log, cfg)
        for listener in self.sockets:
            sock = GreenSocket(fileno=listener.sock.detach())
            sock.settimeout(None)
            server: Any
            if reasons:
                server = ParsedListener(self, sock, context)
                serve: Callable[[], None] = server.run
            else:
                tls = _with_tls(sock, context, cfg)
                server = GunicornServer(self, tls, policy, access)
                serve = server.serve_all
            self._servers.append(server)
            self._running += 1
            spawn(self._serve, serve)

    def _serve(self, serve: Callable[[], None]) -> None:
        try:
            serve()
        finally:
            self._running -= 1
            # Without it there is nothing to live for.
            self.alive = False
            self._changed()

    # -- requests ------------------------------------------------------------------------

    def count_request(self) -> None:
        """Count a request, and stop gracefully after the last."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
            for server in self._servers:
                server.stop("max_requests")
            self._changed()

    # -- with gunicorn's parser -----------------------------------------------------------

    def timeout_ctx(self) -> Timeout:
        """How long a connection may wait for the next request."""
        return Timeout(self.cfg.keepalive or None, False)

    def is_already_handled(self, respiter: Any) -> bool:
        """Whether the application has answered by itself, on the socket.

        Raises:
            StopIteration: It has, and nobody else may use the connection any more.
        """
        # Set by who finds `greenio.wsgi` imported.
        if WSGI_LOCAL.already_handled:
            WSGI_LOCAL.already_handled = False
            raise StopIteration
        if isinstance(respiter, AlreadyHandled):
            raise StopIteration
        return bool(super().is_already_handled(respiter))

    def handle_request(self, *args: Any) -> Any:
        """Serve a request that gunicorn's parser has read."""
        try:
            return super().handle_request(*args)
        except SystemExit:
            if self.aborted_here:
                raise
            return False
        finally:
            if not self.alive:
                self._changed()


class UvloopGreenWorker(GreenWorker):
    """A `GreenWorker` on uvloop.

    ::

        gunicorn -k greenio.workers.gunicorn.UvloopGreenWorker package.module:app
    """

    hub = "uvloop"


def _with_tls(sock: GreenSocket, context: Any, cfg: Any) -> Any:
    if context is None:
        return sock
    return wrap_socket(
        sock,
        server_side=True,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=cfg.suppress_ragged_eofs,
        context=context,
    )
