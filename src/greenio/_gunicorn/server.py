"""The HTTP server with gunicorn's environment, answers and log."""

from __future__ import annotations

import html
import os
from typing import Any

from gunicorn import SERVER
from gunicorn.http.wsgi import base_environ

from .._http.body import Input
from .._http.connection import RUNNING, Channel, GreenConnection
from .._http.errors import RequestError
from .._http.exchange import Exchange, FileWrapper
from .._http.logs import Clock
from .._http.loop_connection import LoopChannel, LoopServing
from .._http.protocol import HttpProtocol, addr_to_host_port
from .._http.server import Server
from .._net.socket import GreenSocket
from .access import AccessLog
from .exchange import GunicornExchange
from .policy import Policy, line_limit
from .views import EarlyHints

# For how long, at most, a connection may bring another request when the worker stops.
_IDLE_GRACE = 0.5


class _Serves:
    """Serves a request as gunicorn does; for both kinds of connections."""

    __slots__ = ()

    def serve_request(self: Any, head: bytes) -> bool:
        """Serve a request.

        Returns:
            Whether another one may follow.

        Raises:
            RequestError: Its head is refused.
        """
        server: GunicornServer = self.server
        environ = server.base_environ.copy()
        parser = server.parser
        parser.parse(head, environ, server.url_length_limit)
        keep_alive = parser.keep_alive
        http11 = parser.http11
        length = parser.length
        sock = self.sock
        channel: Channel = self
        channel.owed = 0.0
        body = Input(self, length if length > 0 else None, sock)
        if length < 0:
            body.chunked_input = True
        if parser.expects:
            body.wfile = self
        environ["wsgi.input"] = environ["eventlet.input"] = body
        environ["eventlet.posthooks"] = []
        environ["gunicorn.socket"] = sock
        environ["RAW_URI"] = parser.target.decode("latin-1")
        address = self.address
        if type(address) is tuple:
            environ["REMOTE_ADDR"] = address[0]
            environ["REMOTE_PORT"] = str(address[1])
        server.apply_policy(environ, address, parser.dropped)
        exchange = GunicornExchange(
            server,
            self,
            environ,
            body,
            http11,
            keep_alive and server.keeps_alive,
        )
        exchange.hints = environ["wsgi.early_hints"] = EarlyHints(exchange)
        return exchange.run()


class GunicornChannel(_Serves, Channel):
    """A connection that a green thread reads."""

    __slots__ = ()


class GunicornLoopChannel(_Serves, LoopChannel):
    """A connection that the loop reads."""

    __slots__ = ()


class _AlpnProtocol(HttpProtocol):
    """Leaves connections that speak HTTP/2 to gunicorn."""

    def handle(self) -> None:
        """Serve the connection until its end."""
        channel = self.channel
        if self.request.selected_alpn_protocol() == "h2":
            channel.phase = RUNNING
            worker = self.server.worker
            worker.handle_http2(self.server.socket, self.request, self.client_address)
        else:
            GreenConnection(channel, self.conn_state).run()


class _Clock(Clock):
    """Says before the date who answers."""

    __slots__ = ()

    def update(self) -> None:
        """Look at the time."""
        before = self._second
        super().update()
        if self._second != before:
            self.header = f"Server: {SERVER}\r\n".encode("latin-1") + self.header


class GunicornServer(Server):
    """Serves one of a worker's listening sockets.

    Args:
        worker: gunicorn's worker.
        sock: The listening socket: green, and of TLS if that is asked for.
        policy: What the settings say of requests.
        access: The log of requests.
    """

    accepts_rest = True

    def __init__(
        self, worker: Any, sock: Any, policy: Policy, access: AccessLog
    ) -> None:
        cfg = worker.cfg
        self.worker = worker
        self.cfg = cfg
        self.policy = policy
        keepalive = float(cfg.keepalive or 0)
        super().__init__(
            sock,
            sock.getsockname(),
            worker.wsgi,
            worker.log,
            # An application's pieces are sent as they come.
            minimum_chunk_size=1,
            keepalive=keepalive or False,
            log_output=access.is_on,
            url_length_limit=line_limit(cfg),
            capitalize_response_headers=False,
            graceful_timeout=float(cfg.graceful_timeout),
            protocol=_AlpnProtocol if _speaks_h2(cfg) else HttpProtocol,
        )
        # Whether requests are logged or not, the rest is.
        self.log = worker.log
        # gunicorn does not say for how long.
        self.keep_alive_line = b"Connection: keep-alive\r\n"
        self.access = access
        self.idle_grace = min(keepalive, _IDLE_GRACE)
        # Several processes accept from one queue: whoever has taken one lets others.
        self.accepted_at_once = 32 if cfg.workers == 1 else 1
        self.clock = _Clock()
        self.clock.update()
        self.sends_files = cfg.sendfile is not False
        self.pre_request = _hook(cfg, "pre_request", worker.log)
        self.post_request = _hook(cfg, "post_request", worker.log)
        self._is_unix = not isinstance(self.address, tuple)
        self._scripted = bool(os.environ.get("SCRIPT_NAME"))
        self.base_environ = self._base_environ()

    def serve_all(self) -> None:
        """Accept and serve until it stops."""
        self.run(self.worker.worker_connections, None)

    def make_channel(self, sock: Any, address: Any) -> Channel:
        """Make what reads a connection in a green thread."""
        return GunicornChannel(self, sock, address)

    def make_loop_channel(
        self, serving: LoopServing, sock: GreenSocket, address: Any
    ) -> LoopChannel:
        """Make what has the loop read a connection."""
        return GunicornLoopChannel(serving, sock, address)

    def _base_environ(self) -> dict[str, Any]:
        """What the environments of all requests begin with."""
        host, port = addr_to_host_port(self.address)
        environ: dict[str, Any] = {
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "wsgi.url_scheme": "https" if self.cfg.is_ssl else "http",
            **base_environ(self.cfg),
            "wsgi.multithread": True,
            "wsgi.file_wrapper": FileWrapper,
            "SCRIPT_NAME": os.environ.get("SCRIPT_NAME", ""),
        }
        if self._is_unix:
            environ["REMOTE_ADDR"] = ""
        return environ

    def apply_policy(
        self, environ: dict[str, Any], address: Any, dropped: bool
    ) -> None:
        """Do to a request what the settings say.

        Args:
            environ: Its environment.
            address: The peer's.
            dropped: Whether it has headers with underscores in their names.

        Raises:
            RequestError: It is refused.
        """
        policy = self.policy
        policy.check_method(environ["REQUEST_METHOD"])
        trusted = policy.trusts(address)
        if trusted:
            policy.apply_scheme(environ)
        if dropped:
            policy.apply_dropped(environ, trusted)
        if self._is_unix:
            self._name_by_host(environ)
        if (dropped or self._scripted) and environ["SCRIPT_NAME"]:
            policy.strip_script_name(environ)

    @staticmethod
    def _name_by_host(environ: dict[str, Any]) -> None:
        """Have the server's name and port be the Host's: its socket has none."""
        host, colon, port = environ.get("HTTP_HOST", "").rpartition(":")
        if not colon or not port.isdigit():
            host = environ.get("HTTP_HOST", "")
            port = "443" if environ["wsgi.url_scheme"] == "https" else "80"
        environ["SERVER_NAME"] = host or "localhost"
        environ["SERVER_PORT"] = port

    # -- errors -------------------------------------------------------------------------

    def error_page(self, error: RequestError, text: str = "") -> tuple[str, bytes]:
        """A page in HTML, as gunicorn's other workers answer; see `Server`."""
        reason = html.escape(error.status.partition(" ")[2])
        why = html.escape(text or error.why)
        page = (
            f"<html>\n<head><title>{reason}</title></head>\n"
            f"<body>\n<h1>{reason}</h1>\n<p>{why}</p>\n</body>\n</html>\n"
        )
        return "text/html", page.encode("ascii", "xmlcharrefreplace")

    # -- the log ------------------------------------------------------------------------

    def log_start(self) -> None:
        """Nothing: the arbiter says where it listens."""

    def log_end(self) -> None:
        """Say why it has ended, to those who debug."""
        self.log.debug("Stopped accepting, since %s", self.stopped_because)

    def log_refused(self, channel: Channel, error: RequestError) -> None:
        """Say in the log that a request was refused."""
        address = channel.address
        host = address[0] if isinstance(address, tuple) else address or ""
        self.log.warning("Invalid request from ip=%s: %s", host, error)

    def log_exchange(self, exchange: Exchange, seconds: float) -> None:
        """Write a request to gunicorn's access log."""
        assert isinstance(exchange, GunicornExchange)
        try:
            self.access.write(exchange, seconds)
        finally:
            if self.post_request is None:
                exchange.forget()


def _speaks_h2(cfg: Any) -> bool:
    """Whether connections may agree on HTTP/2."""
    return bool(cfg.is_ssl) and "h2" in getattr(cfg, "http_protocols", ())


def _hook(cfg: Any, name: str, log: Any) -> Any:
    """A hook of the configuration; None if it is gunicorn's own and does nothing."""
    from gunicorn import config

    hook = getattr(cfg, name)
    own = {
        "pre_request": config.PreRequest.pre_request,
        "post_request": config.PostRequest.post_request,
    }[name]
    if hook is not own:
        return hook
    # That of gunicorn's own says what was asked for, to those who debug.
    return hook if name == "pre_request" and log.loglevel <= 10 else None
