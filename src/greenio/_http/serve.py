"""`server`: the call that serves an application on a listening socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._net.socket import GreenSocket
from . import settings
from .checks import check_event, check_listening, check_pool, check_size
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
    minimum_chunk_size: float | None = None,
    log_x_forwarded_for: bool = True,
    custom_pool: Any = None,
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
            on those that wait, and 1024 on requests that run at once; with TLS, or a
            `protocol` that takes a green thread for each, 1024 connections.
        max_http_version: ``"HTTP/1.0"`` to speak that to everybody.
        protocol: A subclass of `HttpProtocol` that serves a connection.
        server_event: An event to send the `Server` to.
        minimum_chunk_size: Bytes that an iterating application collects before they are
            sent; `MINIMUM_CHUNK_SIZE` by default. The application may set another one in
            ``environ["eventlet.minimum_write_chunk_size"]``.
        log_x_forwarded_for: Whether the log shows that header beside the address.
        custom_pool: A pool for the connections' green threads.
        keepalive: Whether connections may be used again; a number is how many seconds
            they may wait for the next request, instead of `idle_timeout`. None is
            False, as in eventlet.
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
        body_rate: Bytes per second of a body that is waited for, which the client may
            fall behind by no more than `body_timeout` seconds; so a byte now and then
            does not hold a request for ever.
        graceful_timeout: Seconds that requests may take when the server stops.
        send_timeout: Seconds a client may take nothing of an answer that is sent. None
            in any of these six is no limit.

    Raises:
        TypeError: An argument is of the wrong kind.
        AttributeError: `custom_pool` is no pool.
        ValueError: An argument makes no sense.
        ImportError: httptools is not installed.
    """
    if max_size is not None:
        check_size("max_size", max_size, 1)
    if custom_pool is not None:
        check_pool(custom_pool)
    check_event(server_event)
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
    check_listening(sock)
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
        body_rate=body_rate,
        graceful_timeout=graceful_timeout,
        send_timeout=send_timeout,
    )
    if server_event is not None:
        server_event.send(serv)
    serv.run(max_size, custom_pool)
