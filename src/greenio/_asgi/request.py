"""One request: the application in a green thread, the client at the other end.

Who does what:

* The application runs in a green thread of its own (`Request.run`), and sends through
  the server's ``send``. It goes on when that has returned, which is how a slow client
  slows it down. Nobody refers to the green thread before it begins and after its end, so
  that one which has not waited can go on as that of the next request: to start one costs
  a third of a short request (see `_greenthread.going_on`).
* The listener (`Request.listen`), a coroutine beside it, receives. It hands the body to
  the reader, and kills the green thread when the client goes away. An application that
  answers in its first turn, without reading, never needs it, and has none: the Task
  looks one turn later whether it has come to its end.
* The Task that the server called waits for the green thread. The end of an answer that
  has no `close` is sent there (`Request.send_last`), since nothing is to happen after
  it in the green thread, and so is what remains to be sent when the application has
  failed (`Request.conclude`).

The application is killed once at most, so that what it does about it is not interrupted;
and never by the client once the response is complete, since `close` may do what is to
be done after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any

from greenlet import GreenletExit, getcurrent

from .._bridge.await_ import await_, start_here
from .._greenthread.thread import GreenThread
from .._kernel.hidden_loop import running_loop
from .body import Body, BodyFile
from .environ import Scope, expects_continue, make_environ
from .head import Head, make_head

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

log = logging.getLogger("greenio.asgi")


class IncompleteResponseError(RuntimeError):
    """A response had begun and could not be completed.

    The server gets it in place of the rest, so that it closes the connection and the
    client learns that something is missing. The reason was logged.
    """


class Request:
    """One request on its way through an application.

    Args:
        app: The WSGI application.
        scope: What the server called the ASGI application with, like the other two.
        receive: Gives the next message from the client.
        send: Takes a message for the client.

    Raises:
        BadRequestError: The request is none that an application should see.
    """

    def __init__(
        self, app: Application, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._app = app
        self._receive = receive
        self._send = send
        self._is_head = scope["method"] == "HEAD"
        self._method: str = scope["method"]
        self._path: str = scope["path"]
        self.environ = make_environ(scope, None)
        self._body = Body(on_demand=expects_continue(self.environ))
        self.environ["wsgi.input"] = BodyFile(self._body)
        self._head: Head | None = None
        # How many bytes of the body may still be sent; None for as many as there are.
        self._left: int | None = None
        self._bodiless = False
        self._begun = False
        self._complete = False
        self._ended = False
        self._gone = False
        self._killed = False
        self._failed = False
        # Whether the end of the answer is left to the server's Task, and what it is.
        self._leaves_last = False
        self._last: list[Message] = []
        # The green thread, while it runs.
        self._thread: GreenThread | None = None

    def start(self) -> None:
        """Have the green thread run in the next turn, in the caller's context."""
        start_here(self.run)

    def __repr__(self) -> str:
        return f"<Request {self._name} in {self._thread!r}>"

    @property
    def _name(self) -> str:
        return f"{self._method} {self._path!r}"

    @property
    def ended(self) -> bool:
        """Whether the application is through with it."""
        return self._ended

    async def wait_end(self) -> None:
        """Wait until the application is through with it."""
        while not self._ended:
            thread = self._thread
            if thread is None:
                # It has not begun, though that is a matter of one turn.
                await asyncio.sleep(0)
            else:
                await thread.wait_end_async()

    # -- the green thread ----------------------------------------------------------

    def run(self) -> None:
        """Call the application and send what it returns."""
        if self._ended:
            # Killed before it began.
            return
        try:
            self._thread = getcurrent()  # type: ignore[assignment]
            result = self._app(self.environ, self._start_response)
            self._leaves_last = type(result) in (list, tuple)
            try:
                self._send_all(result)
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except GreenletExit:
            pass
        except (KeyboardInterrupt, SystemExit):
            # To whoever runs the loop, as from any green thread.
            raise
        except BaseException as error:  # Also a Timeout, which is none of Exception.
            self._failed = not self._complete
            log.error("%s failed", self._name, exc_info=error)
        finally:
            self._ended = True
            self._thread = None

    def _start_response(
        self,
        status: str,
        response_headers: list[tuple[str, str]],
        exc_info: ExcInfo | None = None,
        /,
    ) -> Callable[[bytes], None]:
        if exc_info:
            try:
                if self._begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._head is not None:
            raise RuntimeError(
                "start_response() was called before; to replace what was given then, "
                "pass exc_info"
            )
        self._head = make_head(status, response_headers)
        return self._write

    def _write(self, data: bytes, /) -> None:
        if self._ended:
            raise RuntimeError("write() was called after the end of the request")
        if running_loop() is not self.loop:
            raise RuntimeError(
                "write() was called in another OS thread than the request's; pass the "
                "data back and write it there"
            )
        chunk = _checked(data, "write() takes")
        if chunk and not self._send_chunk(chunk):
            raise ValueError(
                f"write() was given more than the {self._length()} bytes of the "
                "Content-Length"
            )

    def _send_all(self, result: Iterable[bytes]) -> None:
        count = _count(result)
        for item in result:
            chunk = _checked(item, "an application's iterable yields")
            if not chunk:
                continue
            if not self._begun and count == 1:
                self._set_length(len(chunk))
            if not self._send_chunk(chunk):
                log.warning(
                    "%s: the rest of the response was dropped; it is longer than the "
                    "%s bytes of its Content-Length",
                    self._name,
                    self._length(),
                )
                return
            if self._bodiless:
                # It may go on for ever; nothing of it is sent.
                return
        if not self._complete:
            self._finish()

    def _started(self) -> Head:
        head = self._head
        if head is None:
            raise RuntimeError("the application did not call start_response()")
        return head

    def _length(self) -> int | None:
        return self._started().length

    def _set_length(self, length: int) -> None:
        """Give the response the length that is known, if it has none."""
        head = self._started()
        if head.length is None and not (head.bodiless or self._is_head):
            head.headers.append((b"content-length", b"%d" % length))
            head.length = length

    def _send_chunk(self, chunk: bytes) -> bool:
        """Send a part of the body; False if there was too much."""
        self._check_client()
        messages = [] if self._begun else [self._begin()]
        if self._bodiless:
            if not self._complete:
                self._transmit([*messages, _part(b"", more=False)])
            return True
        fits = True
        more = True
        if self._left is not None:
            fits = len(chunk) <= self._left
            chunk = chunk[: self._left]
            self._left -= len(chunk)
            more = self._left > 0
        if not self._complete:
            self._transmit([*messages, _part(chunk, more)])
        return fits

    def _finish(self) -> None:
        """Send what remains when the application has nothing more to send."""
        self._check_client()
        messages = []
        if not self._begun:
            head = self._started()
            if head.length and not (head.bodiless or self._is_head):
                raise ValueError(
                    f"the application sent nothing of the {head.length} bytes of its "
                    "Content-Length"
                )
            self._set_length(0)
            messages.append(self._begin())
        elif self._left:
            raise ValueError(
                f"the application sent all but {self._left} bytes of the "
                f"{self._length()} of its Content-Length"
            )
        self._transmit([*messages, _part(b"", more=False)])

    def _begin(self) -> Message:
        head = self._started()
        self._begun = True
        self._left = head.length
        self._bodiless = self._is_head or head.bodiless
        return {
            "type": "http.response.start",
            "status": head.status,
            "headers": head.headers,
        }

    def _check_client(self) -> None:
        if self._gone:
            # It was killed, and went on all the same.
            raise GreenletExit

    def _transmit(self, messages: list[Message]) -> None:
        self._complete = not messages[-1]["more_body"]
        if self._complete and self._leaves_last:
            self._last = messages
            return
        try:
            await_(self._send_each(messages))
        except OSError:
            # This is how servers say it since version 2.4 of the specification.
            self._gone = True
            raise GreenletExit from None

    async def _send_each(self, messages: list[Message]) -> None:
        for message in messages:
            await self._send(message)

    # -- the listener --------------------------------------------------------------

    async def listen(self) -> None:
        """Receive what the client sends, until it goes away."""
        body = self._body
        reading = True
        while True:
            if reading:
                await body.room()
            try:
                message = await self._receive()
            except Exception as error:
                log.error("%s: receiving failed", self._name, exc_info=error)
                body.end(error)
                return
            if message["type"] == "http.disconnect":
                break
            if reading and message["type"] == "http.request":
                chunk = message.get("body", b"")
                reading = message.get("more_body", False)
                if chunk:
                    body.feed(chunk)
                if not reading:
                    body.end()
        if not self._complete:
            self._gone = True
            self.kill()
        body.client_gone()

    # -- the server's Task ---------------------------------------------------------

    def kill(self) -> None:
        """End the green thread with GreenletExit, unless that is under way already."""
        if not self._killed:
            self._killed = True
            thread = self._thread
            if thread is not None:
                thread.kill()
            else:
                # It has ended, or not begun: then it never will.
                self._ended = True

    async def send_last(self) -> None:
        """Send the end of the answer, if the green thread has left that to its caller."""
        messages, self._last = self._last, []
        try:
            await self._send_each(messages)
        except OSError:
            # The client has gone.
            pass
        except Exception as error:
            log.error("%s failed", self._name, exc_info=error)

    async def conclude(self) -> None:
        """Send what remains to be sent when the green thread has ended.

        Raises:
            IncompleteResponseError: The response had begun, and cannot be completed.
        """
        if self._complete or (self._begun and self._gone):
            return
        if self._begun:
            raise IncompleteResponseError(
                f"{self._name}: the response had begun and could not be completed"
            )
        if self._gone:
            # Nobody gets it, but middleware in between takes a request without a
            # response for a mistake.
            try:
                await refuse(self._send, 499, b"Client Closed Request", self._is_head)
            except OSError:
                pass
        elif self._failed:
            await refuse(self._send, 500, b"Internal Server Error", self._is_head)
        else:
            # Killed, though the client is there: the server shuts down.
            await refuse(self._send, 503, b"Service Unavailable", self._is_head)


async def refuse(send: Send, status: int, reason: bytes, is_head: bool) -> None:
    """Send a whole response that says why there is no other."""
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(reason)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send(_part(b"" if is_head else reason, more=False))


def _part(body: bytes, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def _checked(chunk: Any, who: str) -> bytes:
    if isinstance(chunk, bytes):
        return chunk
    hint = ""
    if isinstance(chunk, int):
        hint = "; return a list with one bytes object, not the object itself"
    elif isinstance(chunk, str):
        hint = "; encode text"
    raise TypeError(f"{who} bytes, not {chunk!r}{hint}")


def _count(result: Any) -> int | None:
    """Return how many items there are, if that is known."""
    try:
        return len(result)
    except TypeError:
        return None
