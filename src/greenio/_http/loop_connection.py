"""D: the loop reads requests, and a green thread exists only while one runs.

A connection that waits for a request costs its socket, a `Listener` and a `LoopChannel`,
and no greenlet with its frames. The listener is the socket's own, the one that its
blocking methods wait on, with one difference: ready with nobody waiting, it reads a
head, if the connection waits for one. So while a request runs, its green thread may
read the body, send, or take the socket over as on any green socket, and nothing is
registered twice.

Requests run in `Worker` greenlets. One that ends without having been noticed serves the
next request: a new greenlet would cost more than all the rest of a short one. Noticed
means that somebody kept a reference to it, or set something on it: then the next request
gets another, since libraries keep what belongs to a request by `getcurrent()`.

On uvloop the listener's callback may not switch to greenlets (see `_kernel.hub`), so the
request is put into `LoopServing.waiting`, which the run queue comes to. There, too, wait
those for which there is no room: no more than `limit` run at a time.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from .._greenthread.thread import GreenThread
from .._kernel.current import get_hub
from .._kernel.descriptors import READ, Listener
from .._net.socket import GreenSocket
from .._std.originals import raw_socket
from . import settings
from .connection import (
    CLOSED,
    HEAD,
    IDLE,
    LINGERING,
    RUNNING,
    Channel,
    _raw_shutdown,
    refusal,
)
from .errors import RequestError

if TYPE_CHECKING:
    from .server import Server

_raw_recv = raw_socket.recv
_raw_fileno = raw_socket.fileno
_SHUT_WR = 1
_LINGER_BYTES = 1024 * 1024
# The job that ends a worker.
_END = object()
# How many greenlets that have nothing to do are kept.
_MOST_IDLE = 256


class _RequestListener(Listener):
    """A socket's reading listener that reads requests while nobody waits on it."""

    __slots__ = ("channel",)

    channel: LoopChannel | None

    def _on_ready(self) -> None:
        if self.waiter is None:
            channel = self.channel
            if channel is not None and channel.phase != RUNNING:
                channel.readable()
                return
        Listener._on_ready(self)

    def _dropped(self, registration: object) -> None:
        Listener._dropped(self, registration)
        channel = self.channel
        if channel is not None and not self.table.loop.is_closed():
            # uvloop gives up a descriptor that had an error when it has told us once;
            # then there were bytes to read, and the error is still to come.
            self.table.loop.call_soon(channel.watch_again, context=self.hub.context)


class LoopChannel(Channel):
    """A connection whose heads the loop reads."""

    __slots__ = ("head", "left", "listener", "serving")

    def __init__(self, serving: LoopServing, sock: GreenSocket, address: Any) -> None:
        super().__init__(serving.server, sock, address)
        self.serving = serving
        self.head = b""
        # How much is dropped before the end, when lingering.
        self.left = 0
        self.listener = listener = _RequestListener(
            serving.hub.descriptors, _raw_fileno(sock), READ
        )
        listener.channel = self
        sock._reader = listener
        listener.register()

    # -- called by the loop ----------------------------------------------------------

    def readable(self) -> None:
        """Read a head, or drop what comes after the end."""
        try:
            piece = _raw_recv(self.sock, settings.RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not piece:
            self.close()
            return
        phase = self.phase
        if phase == LINGERING:
            self.left -= len(piece)
            if self.left <= 0:
                self.close()
            return
        if phase == IDLE:
            self.phase = HEAD
            self.since = self.server.now
        data = self.buffer
        try:
            if data:
                head = self.split_head(data + piece, len(data), piece)
            else:
                head = self.split_head(piece, 0, piece)
        except RequestError as error:
            self.refuse_and_end(error)
            return
        if head is not None:
            self.head = head
            self.phase = RUNNING
            self.serving.dispatch(self)

    # -- called by the worker ----------------------------------------------------------

    def run(self) -> None:
        """Serve the request whose head is there, and wait for the next one."""
        keep = False
        refused: RequestError | None = None
        try:
            keep = self.serve_request(self.head)
        except RequestError as error:
            refused = error
        finally:
            self.worker = None
            self.head = b""
            if not keep and refused is None:
                self.end()
        if refused is not None:
            self.refuse_and_end(refused)
        elif keep:
            self._await_next()

    def _await_next(self) -> None:
        data = self.buffer
        server = self.server
        if server.stopping:
            self.close()
            return
        self.since = server.now
        if data:
            self.phase = HEAD
            try:
                head = self.split_head(data, 0, data)
            except RequestError as error:
                self.refuse_and_end(error)
                return
            if head is not None:
                self.head = head
                self.phase = RUNNING
                # Behind the others: one client's pipeline is no reason to wait.
                self.serving.queue(self)
                return
        else:
            self.phase = IDLE
        self._watch()

    def _watch(self) -> None:
        listener = self.listener
        if listener.closed or self.sock._reader is not listener:
            # Somebody gave the descriptor away meanwhile.
            self.close()
        elif not listener.registered:
            try:
                listener.register()
            except (OSError, RuntimeError):
                self.close()

    def watch_again(self) -> None:
        """The loop has dropped the listener; called in a turn of its own."""
        if self.phase not in (RUNNING, CLOSED):
            self._watch()

    # -- the end -------------------------------------------------------------------------

    def refuse_and_end(self, error: RequestError) -> None:
        """Answer a request that is refused, and end the connection."""
        self.server.log_refused(self, error)
        self._send_now(refusal(error))
        self.end()

    def end(self) -> None:
        """End the connection so that the client gets what was sent."""
        if self.taken or self.phase == CLOSED:
            self.close()
            return
        try:
            _raw_shutdown(self.sock, _SHUT_WR)
        except OSError:
            self.close()
            return
        self.buffer = b""
        self.phase = LINGERING
        self.left = _LINGER_BYTES
        self.since = self.server.now
        self._watch()

    def close(self) -> None:
        """Close the connection."""
        self.phase = CLOSED
        self.buffer = b""
        self.listener.channel = None
        self.serving.server.channels.discard(self)
        self.serving.closed(self)
        try:
            self.sock.close()
        except OSError:
            pass

    def end_idle(self) -> None:
        """The server stops, and this waits for a request: end it, unless one came."""
        self.readable()
        if self.phase == IDLE or (self.phase == HEAD and not self.buffer):
            self.close()

    def shut(self) -> None:
        """End the connection, or have whoever reads its body find the end."""
        if self.worker is None and self.phase != RUNNING:
            self.close()
        else:
            super().shut()


class Worker(GreenThread):
    """A green thread that serves one request after another, of any connection."""

    __slots__ = ("job", "parked")

    job: Any
    # Whether it has waited since its request began.
    parked: bool


class LoopServing:
    """The connections of a server that the loop reads.

    Args:
        server: The server.
        max_size: How many connections may be open at once; None for no limit on those,
            but one on the requests that run.
        context: The context that each request runs in a copy of.
    """

    def __init__(self, server: Server, max_size: int | None, context: Context) -> None:
        self.server = server
        self.hub = get_hub()
        self.context = context
        self.max_size = max_size
        self.limit = max_size or settings.DEFAULT_MAX_SIMULTANEOUS_REQUESTS
        self.waiting: deque[LoopChannel] = deque()
        self.running = 0
        self._queued = False
        self._idle: list[Worker] = []
        self._ended: list[Worker] = []
        self._acceptor: Any = None
        self._defers = self.hub.defers
        # Without a cycle between the two, for the sake of workers that end later.
        self._run_waiting_entry = _Entry(self)

    def add(self, sock: GreenSocket, address: Any) -> None:
        """Serve a connection that was accepted, waiting if there are too many."""
        server = self.server
        most = self.max_size
        if most is not None:
            while len(server.channels) >= most:
                self._acceptor = getcurrent()
                try:
                    self.hub.park()
                finally:
                    self._acceptor = None
        if server.socket_timeout is not None:
            sock.settimeout(server.socket_timeout)
        server.channels.add(LoopChannel(self, sock, address))

    def closed(self, channel: LoopChannel) -> None:
        """A connection has ended."""
        acceptor = self._acceptor
        if acceptor is not None:
            self._acceptor = None
            self.hub.wake(acceptor)

    def close(self) -> None:
        """Let go of the greenlets that have nothing to do."""
        idle, self._idle = self._idle, []
        for worker in idle:
            worker.job = _END
            self.hub.wake(worker)

    # -- requests ------------------------------------------------------------------------

    def dispatch(self, channel: LoopChannel) -> None:
        """Run a request, from the callback of its listener."""
        if (
            self._defers
            or self.running >= self.limit
            or getcurrent() is not self.hub.loop_greenlet
        ):
            self.queue(channel)
        else:
            self._run(channel)

    def queue(self, channel: LoopChannel) -> None:
        """Run a request when its turn comes."""
        self.waiting.append(channel)
        if not self._queued:
            self._queued = True
            self.hub.wake(self._run_waiting_entry)

    def run_waiting(self) -> None:
        """Run those that have waited; called in the loop greenlet."""
        self._queued = False
        waiting = self.waiting
        ended = self._ended
        if ended:
            self._ended = []
            while ended:
                worker = ended.pop()
                self._put_away(worker)
                del worker
        # Those that come meanwhile wait for the next turn.
        for _ in range(len(waiting)):
            if self.running >= self.limit:
                return
            channel = waiting.popleft()
            if channel.phase == RUNNING:
                self._run(channel)
        if waiting and self.running < self.limit and not self._queued:
            self._queued = True
            self.hub.wake(self._run_waiting_entry)

    def _run(self, channel: LoopChannel) -> None:
        idle = self._idle
        worker: Worker | None = None
        while idle:
            worker = idle.pop()
            if worker:
                break
            worker = None
        if worker is None:
            worker = Worker(self.hub, _work, (self,), {}, self.context.copy())
        else:
            worker.gr_context = self.context.copy()
        worker.job = channel
        worker.parked = False
        channel.worker = worker
        self.running += 1
        worker.switch()
        if worker.job is None:
            if worker:
                self._put_away(worker)
        else:
            worker.parked = True

    def done(self) -> None:
        """A worker has served its request; called by it."""
        self.running -= 1
        current: Any = getcurrent()
        if current.parked:
            # Only the loop greenlet can tell whether somebody noticed it.
            self._ended.append(current)
            if not self._queued:
                self._queued = True
                self.hub.wake(self._run_waiting_entry)
        elif self.waiting and not self._queued:
            self._queued = True
            self.hub.wake(self._run_waiting_entry)

    def _put_away(self, worker: Worker) -> None:
        """Keep a worker for the next request, if nobody can tell."""
        if (
            len(self._idle) < _MOST_IDLE
            and not worker.__dict__
            and not weakref.getweakrefcount(worker)
            and _references(worker) == _ALONE
        ):
            worker.gr_context = None
            self._idle.append(worker)
        elif worker:
            worker.job = _END
            worker.switch()


class _Entry:
    """What stands in the run queue for `LoopServing.run_waiting`.

    It is false, so only the loop greenlet comes to it.
    """

    __slots__ = ("_serving",)

    def __init__(self, serving: LoopServing) -> None:
        self._serving = serving

    def __bool__(self) -> bool:
        return False

    def switch(self) -> None:
        self._serving.run_waiting()


def _work(serving: LoopServing) -> None:
    """What a worker does. Nothing in this frame refers to it; see `body`."""
    hub = serving.hub
    while True:
        job = getcurrent().job  # type: ignore[attr-defined]
        if job is None:
            # A late wake-up of the request before.
            hub.loop_switch()
            continue
        if job is _END:
            return
        try:
            job.run()
        finally:
            del job
            getcurrent().job = None  # type: ignore[attr-defined]
            serving.done()
        hub.loop_switch()


def _references(worker: Any) -> int:
    return sys.getrefcount(worker)


def _count() -> int:
    worker = object()

    def put_away(worker: Any) -> int:
        return _references(worker)

    return put_away(worker)


_ALONE = _count()
