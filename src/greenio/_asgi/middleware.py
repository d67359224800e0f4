"""`WSGIMiddleware`: the ASGI application that a WSGI application becomes."""

from __future__ import annotations

import asyncio

from .._kernel.shutdown import shutdown_timeout
from .environ import BadRequestError, Scope
from .request import Application, Receive, Request, Send, log, refuse


class WSGIMiddleware:
    """A WSGI application as an ASGI application, for a framework or a server.

    Each request runs in a green thread of its own, in the event loop's OS thread. While
    it waits, everything else goes on; there is no pool of threads that could be used
    up::

        app = FastAPI()
        app.mount("/legacy", greenio.asgi.WSGIMiddleware(flask_app))

    What the application waits for must be green, which `greenio.monkey_patch` sees to
    for blocking-style libraries in Python.

    Args:
        app: The WSGI application.
        shutdown_timeout: How many seconds requests that are being answered get when
            the server shuts down, before they are killed.

    Raises:
        TypeError: `app` cannot be called.
    """

    def __init__(self, app: Application, *, shutdown_timeout: float = 10.0) -> None:
        if not callable(app):
            raise TypeError(
                "WSGIMiddleware takes a WSGI application, which is called with an "
                f"environment and start_response, not {app!r}"
            )
        self.app = app
        self.shutdown_timeout = shutdown_timeout
        self._requests: set[Request] = set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.app!r}, {len(self._requests)} requests>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what the scope describes; see the ASGI specification.

        Raises:
            IncompleteResponseError: The application failed or was killed when its
                response had begun.
            ValueError: It is of no type that is known here.
        """
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "websocket":
            # Closed before it is accepted: servers answer 403.
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise ValueError(
                f"a WSGI application serves HTTP requests, nothing of type {kind!r}"
            )

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = Request(self.app, scope, receive, send)
        except BadRequestError as error:
            log.warning("bad request: %s", error)
            await refuse(send, 400, b"Bad Request", scope["method"] == "HEAD")
            return
        request.start()
        self._requests.add(request)
        cancellation: asyncio.CancelledError | None = None
        listener: asyncio.Task[None] | None = None
        first = True
        try:
            while not request.ended:
                try:
                    if first:
                        first = False
                        # The thread's first turn comes before this goes on.
                        await asyncio.sleep(0)
                        continue
                    if listener is None and cancellation is None:
                        listener = request.loop.create_task(request.listen())
                    await request.wait_end()
                except asyncio.CancelledError as exc:
                    cancellation = exc
                    request.kill()
        finally:
            self._requests.discard(request)
            if listener is not None:
                listener.cancel()
        await request.send_last()
        if cancellation is not None:
            raise cancellation
        if listener is not None:
            # It takes a turn of the loop to end, unless the server does something about
            # it.
            await asyncio.sleep(0)
            if not listener.done():
                await asyncio.wait((listener,))
        await request.conclude()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def shutdown(self) -> None:
        """Wait for the requests that are being answered, then kill what is left.

        A server that runs this application by itself has it called, through the
        "lifespan" protocol. A framework that it is mounted in does not pass that on:
        call it there, at the end of the framework's own lifespan function.
        """
        await self._wait_for_requests(self.shutdown_timeout)
        for request in self._here():
            request.kill()
        await self._wait_for_requests(shutdown_timeout())
        for request in self._here():
            log.error("%r still runs at the end of the shutdown", request)

    def _here(self) -> list[Request]:
        """The requests on the running loop."""
        loop = asyncio.get_running_loop()
        return [r for r in self._requests if r.loop is loop]

    async def _wait_for_requests(self, seconds: float) -> None:
        waits = [asyncio.create_task(request.wait_end()) for request in self._here()]
        if waits:
            _, pending = await asyncio.wait(waits, timeout=seconds)
            for wait in pending:
                wait.cancel()
            if pending:
                await asyncio.wait(pending)
