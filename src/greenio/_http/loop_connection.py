"""Connections of which the loop reads the requests: a green thread only while one runs.

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

Requests wait in `LoopServing.waiting` for the run queue to come to it: on uvloop the
listener's callback may not switch to greenlets (see `_kernel.run_queue`), and whatever the
loop, those that come in one turn are served by one worker, one after the other, until
one of them has to wait for something; so a short request costs no switch at all. No
more than `limit` run at a time.
"""

from __future__ import annotations

from collections import deque
from contextvars import Context
from sys import getrefcount
from typing import TYPE_CHECKING, Any
from weakref import getweakrefcount

from greenlet import getcurrent

from .._greenthread.thread import GreenThread
from .._kernel.current import get_hub
from .._kernel.hub import Hub
from .._net.socket import GreenSocket
from .._reactor.descriptors import READ, Listener
from .._reactor.scheduler import NotSwitchedTo
from .._std.originals import raw_socket
from . import settings
from .connection import (
    BODY,
    CLOSED,
    HEAD,
    IDLE,
    LINGERING,
    RUNNING,
    Channel,
    _raw_send,
    _raw_shutdown,
    refusal,
)
from .errors import RequestError

if TYPE_CHECKING:
    from .server import Server

_raw_recv = raw_socket.recv
_raw_fileno = raw_socket.fileno
_SHUT_WR = 1
# Where a head ends, and what none begins with, or anything below it.
_HEAD_END = b"\r\n\r\n"
_SPACE = 0x20
_LINGER_BYTES = 1024 * 1024
# What a worker is to do.
_WAIT = 0
_SERVE = 1
_END = 2
# How many greenlets that have nothing to do are kept.
_MOST_IDLE = 256


class RequestListener(Listener):
    """A socket's reading listener that reads requests while nobody waits on it."""

    __slots__ = ("channel",)

    channel: LoopChannel | None

    def _on_ready(self) -> None:
        channel = self.channel
        if (
            channel is None
            or self.waiter is not None
            or (phase := channel.phase) == RUNNING
            or phase == BODY
        ):
            Listener._on_ready(self)
            return
        try:
            piece = _raw_recv(channel.sock, settings.RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            channel.close()
            return
        if not channel.buffer and (
            phase == IDLE or (phase == HEAD and channel.probe is None)
        ):
            end = piece.find(_HEAD_END) + 4
            if end > 3 and piece[0] > _SPACE:
                # A head that comes whole, as nearly all do.
                if end == len(piece):
                    channel.head = piece
                else:
                    channel.head = piece[:end]
                    channel.buffer = piece[end:]
                channel.phase = RUNNING
                serving = channel.serving
                serving.waiting.append(channel)
                if not serving.queued:
                    serving.queue()
                return
        channel.received(piece)

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

    listens = RequestListener

    def __init__(self, serving: LoopServing, sock: GreenSocket, address: Any) -> None:
        super().__init__(serving.server, sock, address)
        self.serving: LoopServing = serving
        self.head: bytes = b""
        # How much is dropped before the end, when lingering.
        self.left: int = 0
        listener = self.listens(serving.hub.descriptors, _raw_fileno(sock), READ)
        self.listener: RequestListener = listener
        listener.channel = self
        sock._reader = listener
        listener.register()

    # -- called by the loop ----------------------------------------------------------

    def received(self, piece: bytes) -> None:
        """Read a head, or drop what comes after the end."""
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
            self.phase: int = HEAD
            self.since: float = self.server.now
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
            self.serving.add_request(self)

    # -- called by the worker ----------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send all of it, waiting if the client is slow."""
        sock = self.sock
        try:
            sent = _raw_send(sock, data)
        except BlockingIOError:
            sent = 0
        if sent != len(data):
            sock.sendall(memoryview(data)[sent:])

    def run(self) -> None:
        """Serve the request whose head is there, and wait for the next one."""
        keep = False
        refused: RequestError | None = None
        try:
            keep = self.serve_request(self.head)
        except RequestError as error:
            refused = error
        finally:
            self.worker: Any = None
            self.head = b""
            if not keep and refused is None:
                self.end()
        if keep:
            server = self.server
            if self.buffer or server.stopping:
                self._await_next()
                return
            self.since = server.now
            self.phase = IDLE
            listener = self.listener
            if not listener.registered or self.sock._reader is not listener:
                self._watch()
        elif refused is not None:
            self.refuse_and_end(refused)

    def _await_next(self) -> None:
        data = self.buffer
        server = self.server
        if server.stopping and not server.idle_grace:
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
                self.serving.add_request(self)
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
        self._send_now(refusal(self.server, error))
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
        self.buffer: bytes = b""
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
        self.listener._on_ready()
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

    __slots__ = ("order", "parked")

    order: int
    # Whether its request has waited for something.
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
        self.hub: Hub = get_hub()
        self.context = context
        self.max_size = max_size
        self.limit: int = max_size or settings.DEFAULT_MAX_SIMULTANEOUS_REQUESTS
        self.waiting: deque[LoopChannel] = deque()
        self.running = 0
        # How many of those that wait are to be served in this turn.
        self.left: int = 0
        # Whether `run_waiting` is to come.
        self.queued: bool = False
        self._idle: list[Worker] = []
        self._ended: list[Worker] = []
        self._acceptor: Any = None
        # Without a cycle between the two, for the sake of workers that end later.
        self._entry = _Entry(self)

    def has_room(self) -> bool:
        """Whether another connection may be open."""
        return self.max_size is None or len(self.server.channels) < self.max_size

    def wait_for_room(self) -> None:
        """Wait until another connection may be open."""
        while not self.has_room():
            self._acceptor = getcurrent()
            try:
                self.hub.park()
            finally:
                self._acceptor = None

    def add(self, sock: GreenSocket, address: Any) -> None:
        """Serve a connection that was accepted."""
        server = self.server
        if server.socket_timeout is not None:
            sock.settimeout(server.socket_timeout)
        server.channels.add(server.make_loop_channel(self, sock, address))

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
            worker.order = _END
            self.hub.wake(worker)

    # -- requests ------------------------------------------------------------------------

    def add_request(self, channel: LoopChannel) -> None:
        """Run a request when its turn comes."""
        self.waiting.append(channel)
        if not self.queued:
            self.queue()

    def queue(self) -> None:
        """Have those that wait run."""
        self.queued = True
        self.hub.wake(self._entry)

    def run_waiting(self) -> None:
        """Run those that have waited; called in the loop greenlet."""
        self.queued = False
        waiting = self.waiting
        ended = self._ended
        if ended:
            self._ended = []
            while ended:
                worker = ended.pop()
                self._put_away(worker)
                del worker
        # Those that come meanwhile wait for the next turn.
        self.left = len(waiting)
        # A worker that has to wait comes back here: were it to switch to who is next in
        # the batch, which may be a worker, its frame would refer to that one until it
        # goes on, so nobody could tell whether the other was noticed.
        batch = self.hub.batch
        batch.appendleft(_COME_BACK)
        try:
            while self.left > 0 and self.running < self.limit:
                self._run_some()
        finally:
            if batch and batch[0] is _COME_BACK:
                batch.popleft()
            if waiting and self.running < self.limit and not self.queued:
                self.queue()

    def _run_some(self) -> None:
        """Have a worker serve those that wait, until one of them has to wait."""
        idle = self._idle
        worker: Worker | None = None
        while idle:
            worker = idle.pop()
            if worker:
                break
            worker = None
        if worker is None:
            worker = Worker(self.hub, _work, (self,), {}, self.context)
            self.hub.keep_track(worker)
        worker.order = _SERVE
        worker.parked = False
        worker.switch()
        if worker.order == _SERVE:
            worker.parked = True
        elif worker:
            self._put_away(worker)

    def ended(self) -> None:
        """A worker that had to wait has served its request; called by it.

        Only the loop greenlet can tell whether somebody noticed it.
        """
        worker: Any = getcurrent()
        self._ended.append(worker)
        if not self.queued:
            self.queue()

    def _put_away(self, worker: Worker) -> None:
        """Keep a worker for the next request, if nobody can tell."""
        if (
            len(self._idle) < _MOST_IDLE
            and not worker.__dict__
            and getweakrefcount(worker) == _OF_THE_HUB
            and _references(worker) == _ALONE
        ):
            worker.gr_context = None
            self._idle.append(worker)
        elif worker:
            worker.order = _END
            worker.switch()


class _Entry(NotSwitchedTo):
    """What stands in the run queue for `LoopServing.run_waiting`.

    It is false, so only the loop greenlet comes to it.
    """

    __slots__ = ("_serving",)

    def __init__(self, serving: LoopServing) -> None:
        self._serving = serving

    def switch(self) -> None:
        self._serving.run_waiting()


class _ComeBack(NotSwitchedTo):
    """What has whoever parks go back to the loop greenlet."""

    __slots__ = ()

    def switch(self) -> None:
        """Do nothing."""


_COME_BACK = _ComeBack()


def _work(serving: LoopServing) -> None:
    """What a worker does. Nothing in this frame refers to it; see `body`."""
    switch = serving.hub.loop_switch
    while True:
        order = getcurrent().order  # type: ignore[attr-defined]
        if order == _END:
            return
        # Else it was woken late, for the request before.
        if order == _SERVE:
            try:
                _serve(serving)
            finally:
                getcurrent().order = _WAIT  # type: ignore[attr-defined]
                if getcurrent().parked:  # type: ignore[attr-defined]
                    serving.ended()
        switch()


def _serve(serving: LoopServing) -> None:
    """Serve one request after the other, while nobody notices that it is one worker."""
    current: Any = getcurrent()
    alone = getrefcount(current)
    while serving.left > 0:
        serving.left -= 1
        channel = serving.waiting.popleft()
        if channel.phase != RUNNING:
            continue
        current.gr_context = serving.context.copy()
        channel.worker = current
        del current
        serving.running += 1
        try:
            channel.run()
        finally:
            del channel
            serving.running -= 1
        current = getcurrent()
        if (
            current.parked
            or getrefcount(current) != alone
            or current.__dict__
            or getweakrefcount(current) != _OF_THE_HUB
        ):
            return


def _references(worker: Any) -> int:
    return getrefcount(worker)


# The weak reference by which a hub keeps track of a worker.
_OF_THE_HUB = 1


def _count() -> int:
    worker = object()

    def put_away(worker: Any) -> int:
        return _references(worker)

    return put_away(worker)


_ALONE = _count()
