"""`Server`: what all connections share; the accept loop, the sweep, and the stop.

How a server ends: it stops accepting, ends connections that wait for a request, lets
requests that run finish (their answers say ``Connection: close``), and after
`graceful_timeout` seconds kills what is left. It begins to stop when an application
raises `StopServe`, `is_accepting` becomes false, its green thread is killed, or the
listening socket is closed; the log says which.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from contextvars import copy_context
from http.server import HTTPServer
from typing import Any

from greenlet import GreenletExit, getcurrent

from .._greenthread.killing import kill
from .._greenthread.pool import GreenPool
from .._greenthread.sleeping import sleep
from .._greenthread.thread import GreenThread
from .._greenthread.timeout import Timeout
from .._kernel.current import get_hub
from .._net.socket import GreenSocket, say_goodbye
from .._net.ssl import GreenSSLSocket, wrap_socket
from .._reactor.timers import Timer
from .._std.originals import monotonic
from . import settings
from .accepting import Acceptor
from .answer import AnswerHeads, keep_alive_line
from .checks import (
    check_application,
    check_chunk_size,
    check_environ,
    check_log,
    check_log_format,
    check_protocol,
    check_seconds,
    check_size,
    check_version,
    checked_keepalive,
    checked_socket_timeout,
    idle_limit,
)
from .connection import (
    BODY,
    CLOSED,
    HEAD,
    IDLE,
    LINGERING,
    RUNNING,
    Channel,
)
from .errors import RequestError
from .exchange import Exchange, FileWrapper
from .head import HeadParser
from .known import Heads
from .logs import Clock, ErrorFile, access_line, get_logger
from .loop_connection import LoopChannel, LoopServing
from .protocol import HttpProtocol, addr_to_host_port, read_by_loop
from .resting import RestingChannel
from .stalled import Stalled

_LINGER = 2.0
# Where a connection's state has its channel, behind what eventlet has there.
_CHANNEL = 3
_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - looked for, not listened on


class _Stop(BaseException):
    """Thrown into the accept loop."""


class Server(HTTPServer):
    """What the connections of a server share.

    `greenio.wsgi.server` makes one and runs it. A program that accepts connections by
    itself makes one too, and calls `process_request` for each of them.

    Args:
        socket: The listening socket.
        address: Its address.
        app: The WSGI application.
        log: Where to write: a logger, a file, or None for standard error.
        environ: What to add to each request's environment.
        max_http_version: ``"HTTP/1.0"`` to speak that to everybody.
        protocol: The class that serves a connection.
        minimum_chunk_size: Bytes that an iterating application collects.
        log_x_forwarded_for: Whether the log shows that header beside the address.
        keepalive: Whether connections may be used again; a number is how many seconds
            they may wait for the next request.
        log_output: Whether requests are logged.
        log_format: How.
        url_length_limit: How long a request line may be.
        debug: True to send tracebacks to clients; None and True to log connections.
        socket_timeout: A limit in seconds for each read and write.
        capitalize_response_headers: Whether names are written ``Like-This``.
        header_timeout: Seconds a client may take for a head.
        idle_timeout: Seconds a connection may wait for the next request.
        body_timeout: Seconds a client may send nothing of a body that is waited for.
        body_rate: Bytes per second a client may not fall behind for longer than that.
        graceful_timeout: Seconds that requests may take when the server stops.
        send_timeout: Seconds a client may take nothing of an answer that is sent.
    """

    # How many connections are accepted before others have a turn.
    accepted_at_once = 32
    # When it stops: whether it first accepts what waits for that, and for how long, from
    # then or from its last answer on, a connection may bring another request; and one
    # that has not had any yet, from then, from its beginning or its handshake on.
    accepts_rest = False
    idle_grace: float = 0.0
    first_grace: float = 1.0

    def __init__(
        self,
        socket: Any,
        address: Any,
        app: Callable[..., Any],
        log: Any = None,
        environ: dict[str, Any] | None = None,
        max_http_version: str | None = None,
        protocol: type[HttpProtocol] = HttpProtocol,
        minimum_chunk_size: float | None = None,
        log_x_forwarded_for: bool = True,
        keepalive: bool | float | None = True,
        log_output: bool = True,
        log_format: str = settings.DEFAULT_LOG_FORMAT,
        url_length_limit: int | None = None,
        debug: bool | None = None,
        socket_timeout: float | None = None,
        capitalize_response_headers: bool = True,
        *,
        header_timeout: float | None = settings.HEADER_TIMEOUT,
        idle_timeout: float | None = settings.IDLE_TIMEOUT,
        body_timeout: float | None = settings.BODY_TIMEOUT,
        body_rate: float | None = settings.BODY_RATE,
        graceful_timeout: float | None = settings.GRACEFUL_TIMEOUT,
        send_timeout: float | None = settings.SEND_TIMEOUT,
    ) -> None:
        check_application(app)
        check_log(log)
        check_environ(environ)
        check_version(max_http_version)
        check_protocol(protocol)
        if minimum_chunk_size is not None:
            check_chunk_size(minimum_chunk_size)
        check_log_format(log_format)
        check_seconds("header_timeout", header_timeout, zero=False)
        check_seconds("body_timeout", body_timeout, zero=False)
        check_seconds("body_rate", body_rate, zero=False, unit="bytes per second")
        check_seconds("send_timeout", send_timeout, zero=False)
        check_seconds("idle_timeout", idle_timeout)
        check_seconds("graceful_timeout", graceful_timeout)
        self.pid: int = os.getpid()
        self.socket = socket
        self.address: Any = address
        self.server_address: Any = address
        # Whether connections come to several addresses, so that each has to be asked.
        self.is_wildcard: bool = isinstance(address, tuple) and address[0] in _WILDCARDS
        self.app = app
        self.debug: bool = debug is not False
        self.shows_tracebacks: bool = debug is True
        self.log: Any = get_logger(log, self.debug, log_output=bool(log_output))
        self.errors: ErrorFile = ErrorFile(self.log)
        self.environ = environ
        self.max_http_version = max_http_version
        self.speaks_11: bool = max_http_version != "HTTP/1.0"
        self.protocol = protocol
        if minimum_chunk_size is None:
            own = getattr(protocol, "minimum_chunk_size", None)
            if own != HttpProtocol.minimum_chunk_size:
                minimum_chunk_size = own
        self.minimum_chunk_size = minimum_chunk_size
        self.log_x_forwarded_for = log_x_forwarded_for
        self.keepalive: bool | float = checked_keepalive(keepalive)
        keepalive = self.keepalive
        # HTTP/1.0 has nothing of the kind.
        self.keeps_alive: bool = bool(keepalive) and self.speaks_11
        self.keep_alive_line: bytes = keep_alive_line(keepalive)
        self.log_output: bool = bool(log_output)
        self.log_format = log_format
        # eventlet's default is the number that is there when the server starts.
        self.url_length_limit: int = (
            settings.MAX_REQUEST_LINE if url_length_limit is None else url_length_limit
        )
        check_size("url_length_limit", self.url_length_limit, 1)
        self.socket_timeout: float | None = checked_socket_timeout(socket_timeout)
        idle_timeout = idle_limit(idle_timeout, keepalive, self.socket_timeout)
        self.capitalize_response_headers: bool = bool(
            capitalize_response_headers
        ) and bool(getattr(protocol, "capitalize_response_headers", True))
        self.graceful_timeout = graceful_timeout
        self._limits: dict[int, float | None] = {
            IDLE: idle_timeout,
            HEAD: header_timeout,
            BODY: body_timeout,
            LINGERING: _LINGER,
        }
        # Without a rate, each piece is worth any wait.
        self.seconds_per_byte: float = math.inf if body_rate is None else 1 / body_rate
        self.parser: HeadParser = HeadParser()
        self.answer_heads: AnswerHeads = AnswerHeads(self.capitalize_response_headers)
        self.clock: Clock = Clock()
        self.clock.update()
        self.now: float = monotonic()
        self.stopping: bool = False
        self.stopped_because: str | None = None
        self.channels: set[Channel] = set()
        self.header_defaults: dict[str, Any] = {}
        self._environ_of_requests: dict[str, Any] | None = None
        # Made with the first request; see `start_reading`.
        self.heads: Heads | None = None
        self._acceptor: Any = None
        # Whether the accept loop serves a connection itself: its pool has no other place.
        self.acceptor_serves: bool = False
        # Whether `stop` has thrown something at the accept loop.
        self._stop_comes = False
        self._sweeper: Timer | None = None
        self._stalled = Stalled(send_timeout)
        limits = (*self._limits.values(), send_timeout, self.socket_timeout)
        shortest = min((limit for limit in limits if limit), default=1.0)
        self._period = max(0.05, min(1.0, shortest / 4))
        self.uses_default_format: bool = log_format == settings.DEFAULT_LOG_FORMAT

    @property
    def outstanding_requests(self) -> int:
        """How many requests are being answered."""
        return sum(channel.phase in (RUNNING, BODY) for channel in self.channels)

    # -- the environment -------------------------------------------------------------------

    def get_environ(self) -> dict[str, Any]:
        """What the environments of all requests have in common."""
        environ: dict[str, Any] = {
            "wsgi.errors": self.errors,
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.url_scheme": "https" if is_tls(self.socket) else "http",
        }
        if self.environ is not None:
            environ.update(self.environ)
        return environ

    @property
    def environ_of_requests(self) -> dict[str, Any]:
        """What the environment of a request begins with; it is copied."""
        environ = self._environ_of_requests
        if environ is None or type(self).get_environ is not Server.get_environ:
            host, port = addr_to_host_port(self.address)
            environ = {
                "GATEWAY_INTERFACE": "CGI/1.1",
                "SCRIPT_NAME": "",
                "SERVER_NAME": host,
                "SERVER_PORT": str(port),
                "wsgi.input_terminated": True,
                "wsgi.file_wrapper": FileWrapper,
                **self.get_environ(),
            }
            if environ.get("wsgi.url_scheme") == "https":
                environ.setdefault("HTTPS", "on")
            for key in list(environ):
                if key.startswith(("HTTP_", "CONTENT_")):
                    self.header_defaults[key] = environ.pop(key)
            self._environ_of_requests = environ
        return environ

    def start_reading(self) -> Heads:
        """Make what reads the heads of all connections."""
        heads = Heads(
            self.parser,
            self.environ_of_requests,
            self.header_defaults,
            self.speaks_11,
            self.keeps_alive,
        )
        if type(self).get_environ is Server.get_environ:
            self.heads = heads
        # Else each request begins with an environment of its own.
        return heads

    # -- connections ------------------------------------------------------------------------

    def make_channel(self, sock: Any, address: Any) -> Channel:
        """Make what reads a connection in a green thread."""
        return Channel(self, sock, address)

    def make_loop_channel(
        self, serving: LoopServing, sock: GreenSocket, address: Any
    ) -> LoopChannel:
        """Make what has the loop read a connection."""
        if self.protocol is HttpProtocol or not self.protocol._is_classic:
            return LoopChannel(serving, sock, address)
        return RestingChannel(serving, sock, address)

    def channel_of(self, conn_state: list[Any]) -> Channel:
        """The channel of a connection that `process_request` serves."""
        if len(conn_state) > _CHANNEL:
            known: Channel = conn_state[_CHANNEL]
            return known
        sock = conn_state[1]
        if not isinstance(sock, GreenSocket):
            conn_state[1] = sock = GreenSocket(sock)
        if self.socket_timeout is not None:
            sock.settimeout(self.socket_timeout)
        channel = self.make_channel(sock, conn_state[0])
        channel.worker = getcurrent()
        # Where `process_request` finds it, whatever the protocol does.
        conn_state.append(channel)
        self.channels.add(channel)
        self._start_sweeping()
        return channel

    def process_request(self, conn_state: list[Any], *_: Any) -> None:  # type: ignore[override]
        """Serve a connection in the current green thread, and close it.

        Args:
            conn_state: ``[address, socket, STATE_IDLE]``.
        """
        known = len(conn_state) > _CHANNEL
        try:
            if isinstance(self.socket, GreenSSLSocket) and not is_tls(conn_state[1]):
                conn_state[1] = tls = self._without_handshake(conn_state[1])
                # Known before it, so that one who is slow in it is ended, too.
                channel = self.channel_of(conn_state)
                tls.do_handshake()
                if self.stopping:
                    # Its client is about to send what it has come for.
                    channel.since = monotonic()
            self.protocol(conn_state, self)
        except OSError as exc:
            self.log.debug(f"connection from {conn_state[0]!r}: {exc!r}")
        finally:
            conn_state[2] = settings.STATE_CLOSE
            if not known and len(conn_state) > _CHANNEL:
                channel = conn_state.pop()
                channel.phase = CLOSED
                channel.worker = None
                self.channels.discard(channel)
            _close(conn_state[1])

    def _without_handshake(self, plain: GreenSocket) -> GreenSSLSocket:
        listener: Any = self.socket
        return wrap_socket(
            plain,
            server_side=True,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=listener.suppress_ragged_eofs,
            context=listener.context,
        )

    def yield_turn(self) -> None:
        """Let others have a turn."""
        sleep(0)

    # -- time ---------------------------------------------------------------------------------

    def _start_sweeping(self) -> None:
        if self._sweeper is None:
            self.now = monotonic()
            self.clock.update()
            self._sweeper = Timer.start(get_hub(), self._period, self._sweep, (), {})

    def _sweep(self) -> None:
        """End connections that take too long; once a second, in the loop greenlet."""
        self._sweeper = None
        self.now = now = monotonic()
        self.clock.update()
        try:
            self._look_at_all(now)
        finally:
            # Whatever fails there, such as a log, the limits are to be kept.
            if self.channels or self._acceptor is not None:
                self._sweeper = Timer.start(
                    get_hub(), self._period, self._sweep, (), {}
                )

    def _look_at_all(self, now: float) -> None:
        if self._acceptor is not None and not settings.is_accepting:
            self.stop("is_accepting is false")
        limits = self._limits
        # For the first byte of all.
        first = math.inf if self.socket_timeout is None else self.socket_timeout
        late = []
        for channel in self.channels:
            phase = channel.phase
            limit = limits.get(phase)
            if limit is None:
                continue
            waited = now - channel.since
            if (
                waited > limit
                or (phase == BODY and waited + channel.owed > limit)
                or (phase == HEAD and waited > first and not channel.buffer)
            ):
                late.append(channel)
        for channel in late:
            channel.expire()
        stalled = self._stalled.look(self.channels, now)
        for channel in stalled:
            channel.expire()
        for channel in stalled:
            self.log.debug(f"connection from {channel.address!r}: it does not read")

    # -- the log --------------------------------------------------------------------------------

    def log_message(self, message: str) -> None:
        """Write a line to the log."""
        self.log.info(message)

    def log_exchange(self, exchange: Exchange, seconds: float) -> None:
        """Write a request to the log."""
        self.log.info(access_line(self, exchange, seconds))

    def error_page(self, error: RequestError, text: str = "") -> tuple[str, bytes]:
        """What the server itself says to a client, of an error.

        Args:
            error: The status, and what is wrong.
            text: What developers are told instead: a traceback.

        Returns:
            The media type and the body.
        """
        body = (text or f"{error}\n").encode("utf-8", "replace")
        return "text/plain; charset=utf-8", body

    def log_refused(self, channel: Channel, error: RequestError) -> None:
        """Say in the log that a request was refused."""
        if self.debug:
            self.log.debug(f"{channel.address!r}: refused, {error}")

    def log_start(self) -> None:
        """Say in the log that it starts."""
        self.log.info(f"({os.getpid()}) wsgi starting up on {socket_repr(self.socket)}")

    def log_end(self) -> None:
        """Say in the log that it has stopped, and why."""
        self.log.info(
            f"({os.getpid()}) wsgi exited, {self.stopped_because}, "
            f"is_accepting={settings.is_accepting}"
        )

    # -- running ----------------------------------------------------------------------------------

    def stop(self, why: str) -> None:
        """Begin to stop: see the module's docstring. From any green thread."""
        if self.stopping:
            return
        self.stopping = True
        self.stopped_because = why
        acceptor = self._acceptor
        if acceptor is None or acceptor is getcurrent() or self.acceptor_serves:
            # It looks by itself.
            return
        self._stop_comes = True
        kill(acceptor, _Stop)

    def run(self, max_size: int | None, custom_pool: Any) -> None:
        """Accept connections and serve them, until it stops."""
        listener = self.socket
        self._acceptor = getcurrent()
        self.log_start()
        self._start_sweeping()
        serving: LoopServing | None = None
        pool = custom_pool
        if custom_pool is None:
            if read_by_loop(self.protocol) and not is_tls(listener):
                serving = LoopServing(self, max_size, copy_context())
            else:
                pool = GreenPool(max_size or settings.DEFAULT_MAX_SIMULTANEOUS_REQUESTS)
        acceptor = Acceptor(self, serving, pool, own_pool=custom_pool is None)
        error: BaseException | None = None
        try:
            acceptor.accept_all()
            # It may have seen that it is to stop before it was told to. What is thrown
            # then must not hit what follows.
            turns = _LAST_TURNS
            while self._stop_comes and turns:
                turns -= 1
                sleep(_POLL)
        except _Stop:
            pass
        except (GreenletExit, asyncio.CancelledError) as exc:
            error = exc
            self.stopped_because = "it was killed"
        except (KeyboardInterrupt, SystemExit, Timeout) as exc:
            error = exc
            self.stopped_because = f"of {exc!r}"
        except BaseException as exc:
            error = exc
            self.stopped_because = f"accepting failed with {exc!r}"
            self.log.error(f"({os.getpid()}) wsgi cannot go on: {exc!r}")
        self._acceptor = None
        self.stopping = True
        try:
            if self.accepts_rest and error is None:
                acceptor.accept_rest()
            self._wind_up(listener)
        finally:
            if self._sweeper is not None:
                self._sweeper.cancel()
                self._sweeper = None
            if serving is not None:
                serving.close()
            self.log_end()
        if error is not None:
            raise error

    def _wind_up(self, listener: Any) -> None:
        """End what waits, wait for what runs, and kill what is left."""
        try:
            listener.close()
        except OSError:
            pass
        begun = monotonic()
        limit = self.graceful_timeout
        at_least = max(_NEXT_REQUEST, self.idle_grace)
        try:
            # Who was accepted last has a green thread that has not begun.
            sleep(0)
            while self.channels:
                passed = monotonic() - begun
                if limit is not None and passed >= limit:
                    break
                # Looked at here, too: the sweep's is too old to count a grace from.
                self.now = now = monotonic()
                for channel in list(self.channels):
                    if channel.held:
                        channel.end_held()
                    # A client that has just connected, or just been answered, may send
                    # its request any moment: closed now, it would be lost.
                    elif channel.phase == IDLE:
                        grace = self.idle_grace
                        if passed > at_least and channel.since <= now - grace:
                            channel.end_idle()
                    elif channel.phase == HEAD and not channel.buffer:
                        grace = self.first_grace
                        if passed > grace and channel.since <= now - grace:
                            channel.end_idle()
                sleep(_POLL)
        finally:
            self._kill_rest()

    def _kill_rest(self) -> None:
        left = list(self.channels)
        if not left:
            return
        self.log.error(
            f"({os.getpid()}) wsgi: {len(left)} connections were still in use "
            f"{self.graceful_timeout} seconds after it began to stop"
        )
        for channel in left:
            worker = channel.worker
            # Not a greenlet of somebody else's, who may have other plans for it.
            if isinstance(worker, GreenThread) and worker is not getcurrent():
                kill(worker)
            channel.shut()
        for _ in range(_LAST_TURNS):
            if not self.channels:
                return
            sleep(_POLL)
        for channel in list(self.channels):
            _close(channel.sock)
        self.channels.clear()


_POLL = 0.01
# How long connections without a request are waited for, when it stops.
_NEXT_REQUEST = 0.25
_LAST_TURNS = 50


def is_tls(sock: Any) -> bool:
    return hasattr(sock, "do_handshake")


def _close(sock: Any) -> None:
    say_goodbye(sock)
    try:
        sock.close()
    except OSError:
        pass


def socket_repr(sock: Any) -> str:
    """Where a socket listens, for the log."""
    scheme = "https" if is_tls(sock) else "http"
    name = sock.getsockname()
    if isinstance(name, tuple):
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        return f"{scheme}://{host}:{name[1]}"
    return f"{scheme}:unix:{os.fsdecode(name)}"
