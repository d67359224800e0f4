"""`Server`: what all connections share; the accept loop, the sweep, and the stop.

How a server ends: it stops accepting, ends connections that wait for a request, lets
requests that run finish (their answers say ``Connection: close``), and after
`graceful_timeout` seconds kills what is left. It begins to stop when an application
raises `StopServe`, `is_accepting` becomes false, its green thread is killed, or the
listening socket is closed; the log says which.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from contextvars import copy_context
from http.server import HTTPServer
from typing import Any

from greenlet import GreenletExit, getcurrent

from .._greenthread.pool import GreenPool
from .._greenthread.sleeping import sleep
from .._greenthread.thread import GreenThread, kill
from .._greenthread.timeout import Timeout
from .._kernel.current import get_hub
from .._kernel.timers import Timer
from .._net.constants import IPPROTO_TCP, TCP_NODELAY
from .._net.socket import GreenSocket
from .._net.ssl import GreenSSLSocket, wrap_socket
from .._std.originals import monotonic
from . import settings
from .connection import BODY, CLOSED, HEAD, IDLE, LINGERING, Channel
from .errors import RequestError
from .exchange import Exchange, FileWrapper
from .head import HeadParser
from .logs import Clock, get_logger, printable
from .loop_connection import LoopServing
from .protocol import HttpProtocol, addr_to_host_port

_LINGER = 2.0
# Where a connection's state has its channel, behind what eventlet has there.
_CHANNEL = 3
# How many connections are accepted before others have a turn.
_ACCEPTED_AT_ONCE = 32
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_CLOSED_LISTENER = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})


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
        graceful_timeout: Seconds that requests may take when the server stops.
    """

    def __init__(
        self,
        socket: Any,
        address: Any,
        app: Callable[..., Any],
        log: Any = None,
        environ: dict[str, Any] | None = None,
        max_http_version: str | None = None,
        protocol: type[HttpProtocol] = HttpProtocol,
        minimum_chunk_size: int | None = None,
        log_x_forwarded_for: bool = True,
        keepalive: bool | float = True,
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
        graceful_timeout: float | None = settings.GRACEFUL_TIMEOUT,
    ) -> None:
        if not callable(app):
            raise TypeError(
                f"wsgi.server() takes a WSGI application, a function of environ and "
                f"start_response, not {app!r}"
            )
        if max_http_version not in (None, "HTTP/1.0", "HTTP/1.1"):
            raise ValueError(
                f"max_http_version is 'HTTP/1.1' or 'HTTP/1.0', not {max_http_version!r}"
            )
        if not isinstance(protocol, type):
            raise TypeError(
                f"protocol is a subclass of wsgi.HttpProtocol, not {protocol!r}"
            )
        for name, seconds in (
            ("socket_timeout", socket_timeout),
            ("header_timeout", header_timeout),
            ("idle_timeout", idle_timeout),
            ("body_timeout", body_timeout),
            ("graceful_timeout", graceful_timeout),
        ):
            _check_seconds(name, seconds)
        self.outstanding_requests = 0
        self.socket = socket
        self.address = self.server_address = address
        self.app = app
        self.debug = debug is not False
        self.shows_tracebacks = debug is True
        self.log = get_logger(log, self.debug)
        self.environ = environ
        self.max_http_version = max_http_version
        self.speaks_11 = max_http_version != "HTTP/1.0"
        self.protocol = protocol
        if minimum_chunk_size is None:
            minimum_chunk_size = getattr(protocol, "minimum_chunk_size", None)
        self.minimum_chunk_size = minimum_chunk_size
        self.log_x_forwarded_for = log_x_forwarded_for
        self.keepalive = keepalive
        self.keeps_alive = bool(keepalive)
        if keepalive is not True and keepalive:
            _check_seconds("keepalive", keepalive)
            idle_timeout = float(keepalive)
        self.log_output = bool(log_output)
        self.log_format = log_format
        # eventlet's default is the number that is there when the server starts.
        self.url_length_limit: int = (
            settings.MAX_REQUEST_LINE if url_length_limit is None else url_length_limit
        )
        if self.url_length_limit < 1:
            raise ValueError(
                f"url_length_limit is a number of bytes, not {url_length_limit!r}"
            )
        self.socket_timeout = socket_timeout
        self.capitalize_response_headers = bool(capitalize_response_headers) and bool(
            getattr(protocol, "capitalize_response_headers", True)
        )
        self.graceful_timeout = graceful_timeout
        self._limits: dict[int, float | None] = {
            IDLE: idle_timeout,
            HEAD: header_timeout,
            BODY: body_timeout,
            LINGERING: _LINGER,
        }
        self.parser = HeadParser()
        self.clock = Clock()
        self.clock.update()
        self.now = monotonic()
        self.stopping = False
        self.stopped_because: str | None = None
        self.channels: set[Channel] = set()
        self.header_defaults: dict[str, Any] = {}
        self._environ_of_requests: dict[str, Any] | None = None
        self._acceptor: Any = None
        self._interrupt: BaseException | None = None
        self._sweeper: Timer | None = None
        shortest = min((limit for limit in self._limits.values() if limit), default=1.0)
        self._period = max(0.05, min(1.0, shortest / 4))
        self._check_log_format()

    def _check_log_format(self) -> None:
        self._default_format = self.log_format == settings.DEFAULT_LOG_FORMAT
        try:
            self.log_format % _SAMPLE
        except (KeyError, TypeError, ValueError) as exc:
            raise ValueError(
                f"log_format knows {', '.join(sorted(_SAMPLE))}; "
                f"{self.log_format!r} does not fit: {exc!r}"
            ) from None

    # -- the environment -------------------------------------------------------------------

    def get_environ(self) -> dict[str, Any]:
        """What the environments of all requests have in common."""
        environ: dict[str, Any] = {
            "wsgi.errors": _Errors(self.log),
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
        if environ is None:
            host, port = addr_to_host_port(self.address)
            environ = {
                "GATEWAY_INTERFACE": "CGI/1.1",
                "SCRIPT_NAME": "",
                "SERVER_NAME": host or "localhost",
                "SERVER_PORT": port or "80",
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

    # -- connections ------------------------------------------------------------------------

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
        channel = Channel(self, sock, conn_state[0])
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
                self.channel_of(conn_state)
                tls.do_handshake()
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
            self._sweeper = Timer(get_hub(), self._period, self._sweep, (), {})

    def _sweep(self) -> None:
        """End connections that take too long; once a second, in the loop greenlet."""
        self._sweeper = None
        self.now = now = monotonic()
        self.clock.update()
        if self._acceptor is not None and not settings.is_accepting:
            self.stop("is_accepting is false")
        limits = self._limits
        late = []
        for channel in self.channels:
            limit = limits.get(channel.phase)
            if limit is not None and now - channel.since > limit:
                late.append(channel)
        for channel in late:
            channel.expire()
        if self.channels or self._acceptor is not None:
            self._sweeper = Timer(get_hub(), self._period, self._sweep, (), {})

    # -- the log --------------------------------------------------------------------------------

    def log_message(self, message: str) -> None:
        """Write a line to the log."""
        self.log.info(message)

    def log_exchange(self, exchange: Exchange, seconds: float) -> None:
        """Write a request to the log."""
        environ = exchange.environ
        host, port = addr_to_host_port(exchange.connection.address)
        if self.log_x_forwarded_for:
            forwarded = environ.get("HTTP_X_FORWARDED_FOR")
            if forwarded:
                host = printable(f"{forwarded},{host}")
        query = environ.get("QUERY_STRING")
        line = (
            f"{environ['REQUEST_METHOD']} {environ.get('RAW_PATH_INFO', '')}"
            f"{'?' if query else ''}{query} {environ['SERVER_PROTOCOL']}"
        )
        line = printable(line)
        clock = self.clock
        if self._default_format:
            self.log.info(
                f'{host} - - [{clock.line}] "{line}" {exchange.status_code} '
                f"{exchange.sent} {seconds:.6f}"
            )
            return
        self.log.info(
            self.log_format
            % {
                "client_ip": host,
                "client_port": port,
                "date_time": clock.line,
                "log_time": clock.line_with_zone,
                "request_line": line,
                "status_code": exchange.status_code,
                "body_length": exchange.sent,
                "wall_seconds": seconds,
                "referer": printable(environ.get("HTTP_REFERER", "-")),
                "user_agent": printable(environ.get("HTTP_USER_AGENT", "-")),
            }
        )

    def log_refused(self, channel: Channel, error: RequestError) -> None:
        """Say in the log that a request was refused."""
        if self.debug:
            self.log.debug(f"{channel.address!r}: refused, {error}")

    # -- running ----------------------------------------------------------------------------------

    def stop(self, why: str) -> None:
        """Begin to stop: see the module's docstring. From any green thread."""
        if self.stopping:
            return
        self.stopping = True
        self.stopped_because = why
        acceptor = self._acceptor
        if acceptor is not None and acceptor is not getcurrent():
            kill(acceptor, _Stop)

    def run(self, max_size: int | None, custom_pool: Any) -> None:
        """Accept connections and serve them, until it stops."""
        listener = self.socket
        self._acceptor = getcurrent()
        log = self.log
        log.info(f"({os.getpid()}) wsgi starting up on {socket_repr(listener)}")
        self._start_sweeping()
        serving: LoopServing | None = None
        pool = custom_pool
        if custom_pool is None:
            if self.protocol is HttpProtocol and not is_tls(listener):
                serving = LoopServing(self, max_size, copy_context())
            else:
                pool = GreenPool(max_size or settings.DEFAULT_MAX_SIMULTANEOUS_REQUESTS)
        error: BaseException | None = None
        try:
            self._accept_all(listener, serving, pool)
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
            log.error(f"({os.getpid()}) wsgi cannot go on: {exc!r}")
        self._acceptor = None
        self.stopping = True
        try:
            self._wind_up(listener)
        finally:
            if self._sweeper is not None:
                self._sweeper.cancel()
                self._sweeper = None
            if serving is not None:
                serving.close()
            log.info(
                f"({os.getpid()}) wsgi exited, {self.stopped_because}, "
                f"is_accepting={settings.is_accepting}"
            )
        if error is not None:
            raise error

    def _accept_all(
        self, listener: Any, serving: LoopServing | None, pool: Any
    ) -> None:
        accepted = 0
        while settings.is_accepting and not self.stopping:
            try:
                if isinstance(listener, GreenSSLSocket):
                    sock, address = listener.accept_plain()
                else:
                    sock, address = listener.accept()
            except OSError as exc:
                if exc.errno in _OUT_OF_RESOURCES:
                    self.log.error(
                        f"({os.getpid()}) wsgi cannot accept connections for now "
                        f"({exc}); it tries again in a second"
                    )
                    sleep(1)
                elif exc.errno in _CLOSED_LISTENER:
                    self.stopped_because = "the listening socket was closed"
                    return
                continue
            try:
                _set_nodelay(sock)
                if serving is not None:
                    serving.add(sock, address)
                else:
                    pool.spawn(
                        self.process_request, [address, sock, settings.STATE_IDLE]
                    )
            except BaseException:
                sock.close()
                raise
            accepted += 1
            if accepted >= _ACCEPTED_AT_ONCE:
                accepted = 0
                sleep(0)
        if self.stopped_because is None:
            self.stopped_because = "is_accepting is false"

    def _wind_up(self, listener: Any) -> None:
        """End what waits, wait for what runs, and kill what is left."""
        try:
            listener.close()
        except OSError:
            pass
        begun = monotonic()
        limit = self.graceful_timeout
        try:
            while self.channels:
                passed = monotonic() - begun
                if limit is not None and passed >= limit:
                    break
                for channel in list(self.channels):
                    # One that has just connected will send its request any moment.
                    if channel.phase == IDLE or (
                        channel.phase == HEAD
                        and not channel.buffer
                        and passed > _FIRST_REQUEST
                    ):
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
# How long a connection that has just been accepted is waited for, when it stops.
_FIRST_REQUEST = 0.25
_LAST_TURNS = 50

_SAMPLE: dict[str, Any] = {
    "client_ip": "",
    "client_port": "",
    "date_time": "",
    "log_time": "",
    "request_line": "",
    "status_code": "",
    "body_length": 0,
    "wall_seconds": 0.0,
    "referer": "",
    "user_agent": "",
}


class _Errors:
    """``wsgi.errors``: what is written there goes into the log."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def write(self, text: str) -> int:
        """Write to the log."""
        line = text.rstrip("\n")
        if line:
            self._log.error(line)
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Nothing is kept back."""


def _check_seconds(name: str, seconds: Any) -> None:
    if seconds is None:
        return
    if not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise ValueError(f"{name} is a number of seconds, or None, not {seconds!r}")


def is_tls(sock: Any) -> bool:
    return hasattr(sock, "do_handshake")


def _set_nodelay(sock: Any) -> None:
    # Else a head and a body sent apart would wait for the client's acknowledgement.
    try:
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    except OSError:
        pass  # a Unix socket


def _close(sock: Any) -> None:
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
