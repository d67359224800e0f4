"""`server`: the call that serves an application on a listening socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._net.socket import GreenSocket
from . import settings
from .protocol import HttpProtocol
from .server import Server, is_tls


def server(
    sock: Any,
    site: Callable[..., Any],
    log: Any = None,
    environ: dict[str, Any] | None = None,
    max_size: int | None = None,
    max_http_version: str | None = settings.DEFAULT_MAX_HTTP_VERSION,
    protocol: type[HttpProtocol] = HttpProtocol,
    server_event: Any = None,
    minimum_chunk_size: int | None = None,
    log_x_forwarded_for: bool = True,
    custom_pool: Any = None,
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
    """Serve a WSGI application on a listening socket, until it is told to stop.

    It stops when the application raises `greenio.StopServe`, `greenio.wsgi.is_accepting`
    is set to False, its green thread is killed, or the socket is closed. Then it accepts
    no more, ends connections that wait for a request, and returns when the requests that
    run have been answered, or after `graceful_timeout` seconds.

    Args:
        sock: The listening socket: `greenio.listen`, or `greenio.wrap_ssl` of it. It is
            closed at the end.
        site: The application.
        log: Where to write: a logger, a file, or None for standard error.
        environ: What to add to each request's environment.
        max_size: How many connections may be open at once. By default there is no limit
            on those that wait, and 1024 on requests that run at once; with `protocol`,
            or TLS, 1024 connections.
        max_http_version: ``"HTTP/1.0"`` to speak that to everybody.
        protocol: A subclass of `HttpProtocol` that serves a connection.
        server_event: An event to send the `Server` to.
        minimum_chunk_size: Bytes that an iterating application collects before they are
            sent; `MINIMUM_CHUNK_SIZE` by default. The application may set another one in
            ``environ["eventlet.minimum_write_chunk_size"]``.
        log_x_forwarded_for: Whether the log shows that header beside the address.
        custom_pool: A pool for the connections' green threads.
        keepalive: Whether connections may be used again; a number is how many seconds
            they may wait for the next request, instead of `idle_timeout`.
        log_output: Whether requests are logged.
        log_format: How: ``%(client_ip)s``, ``client_port``, ``date_time``, ``log_time``,
            ``request_line``, ``status_code``, ``body_length``, ``wall_seconds``,
            ``referer``, ``user_agent``.
        url_length_limit: How long a request line may be, in bytes.
        debug: True to send tracebacks to clients, which nobody but developers should
            do; False to leave connections out of the log.
        socket_timeout: A limit in seconds for each read and write.
        capitalize_response_headers: Whether names are written ``Like-This``.
        header_timeout: Seconds a client may take for the head of a request.
        idle_timeout: Seconds a connection may wait for the next request.
        body_timeout: Seconds a client may send nothing of a body that is waited for.
        graceful_timeout: Seconds that requests may take when the server stops. None in
            any of these four is no limit.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument makes no sense.
        ImportError: httptools is not installed.
    """
    if max_size is not None and max_size < 1:
        raise ValueError(f"max_size is a number of connections, not {max_size!r}")
    if not hasattr(sock, "accept") or not hasattr(sock, "getsockname"):
        raise TypeError(
            f"wsgi.server() takes a listening socket, greenio.listen((host, port)), "
            f"not {sock!r}"
        )
    if not isinstance(sock, GreenSocket):
        if is_tls(sock):
            raise TypeError(
                "wsgi.server() takes a green TLS socket: greenio.wrap_ssl(sock, ...)"
            )
        sock = GreenSocket(sock)
    serv = Server(
        sock,
        sock.getsockname(),
        site,
        log,
        environ,
        max_http_version,
        protocol,
        minimum_chunk_size,
        log_x_forwarded_for,
        keepalive,
        log_output,
        log_format,
        url_length_limit,
        debug,
        socket_timeout,
        capitalize_response_headers,
        header_timeout=header_timeout,
        idle_timeout=idle_timeout,
        body_timeout=body_timeout,
        graceful_timeout=graceful_timeout,
    )
    if server_event is not None:
        server_event.send(serv)
    serv.run(max_size, custom_pool)
