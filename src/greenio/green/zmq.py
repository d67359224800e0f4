"""`zmq` (pyzmq) with sockets and pollers that park the green thread.

Each zmq socket has a descriptor that is readable when its state may have changed. That
is told once: whoever looks next takes the news with him, be it a `send` that learns
that a message has come. So one callback per socket waits for the descriptor, and after
every look those are woken for whom the socket is ready now.

``proxy`` and ``device``, which run for ever in C, are left out: run those of `zmq`
itself in a real thread, for example by `greenio.tpool.execute`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from .._greenthread.spawning import spawn as _spawn
from .._kernel.current import get_hub as _get_hub
from .._kernel.current import hub_to_park_in as _hub_to_park_in
from .._patch.modules import complete as _complete
from .._std.originals import monotonic as _monotonic
from .._sync.event import Event as _Event
from .select import poll as _poll

# Not by its name, of which type checkers make different things.
_zmq: Any = _import_module("zmq")

if TYPE_CHECKING:
    # What is replaced below; whatever else there is may be anything.

    class _PlainContext:
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

    class _PlainPoller:
        sockets: list[tuple[Any, int]]

        def poll(self, timeout: float | None = None) -> list[tuple[Any, int]]: ...
        def __getattr__(self, name: str) -> Any: ...

    class _PlainSocket:
        closed: bool

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...
        def get(self, option: int) -> Any: ...
        def recv(
            self, flags: int = 0, copy: bool = True, track: bool = False
        ) -> Any: ...
        def recv_into(self, buf: Any, /, *, nbytes: int = 0, flags: int = 0) -> Any: ...
        def send(
            self,
            data: Any,
            flags: int = 0,
            copy: bool = True,
            track: bool = False,
            **kwargs: Any,
        ) -> Any: ...
        def close(self, linger: int | None = None) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

else:
    _PlainContext = _zmq.Context
    _PlainPoller = _zmq.Poller
    _PlainSocket = _zmq.Socket


class _Deadline:
    """A time limit in milliseconds, as zmq counts; a negative one is none."""

    def __init__(self, milliseconds: float) -> None:
        self._at = None if milliseconds < 0 else _monotonic() + milliseconds / 1000

    def wait(self, event: _Event[bool]) -> bool:
        """Wait for the event; False if it is too late."""
        if self._at is None:
            event.wait()
            return True
        remaining = self._at - _monotonic()
        return remaining > 0 and bool(event.wait(remaining))


class Poller(_PlainPoller):
    """`zmq.Poller` whose `poll` parks the green thread."""

    def poll(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        """Wait until one of the sockets is ready.

        Args:
            timeout: Milliseconds; None or a negative number for no limit.
        """
        ready = self._look()
        if ready or timeout == 0 or _hub_to_park_in("zmq.Poller.poll()") is None:
            return ready or list(super().poll(timeout))
        deadline = _Deadline(-1 if timeout is None else timeout)
        while True:
            event: _Event[bool] = _Event()
            stop = self._watch(event)
            try:
                ready = self._look()
                if ready or not deadline.wait(event):
                    return ready
            finally:
                stop()

    def _look(self) -> list[tuple[Any, int]]:
        ready = list(super().poll(0))
        for sock, _ in self.sockets:
            if isinstance(sock, Socket):
                sock._tell()
        return ready

    def _watch(self, event: _Event[bool]) -> Callable[[], None]:
        """Have the event sent when one of the sockets may be ready, until stopped."""
        watched = []
        others = _poll()
        for sock, flags in self.sockets:
            if isinstance(sock, Socket):
                sock._watch(event, flags)
                watched.append(sock)
            elif isinstance(sock, _zmq.Socket):
                others.register(sock.get(_zmq.FD), _zmq.POLLIN)
            else:
                others.register(sock, flags)
        thread = None
        if len(watched) < len(self.sockets):

            def wait_for_others() -> None:
                others.poll()
                if not event.ready():
                    event.send(True)

            thread = _spawn(wait_for_others)

        def stop() -> None:
            for sock in watched:
                sock._unwatch(event)
            if thread is not None:
                thread.kill()

        return stop


class Socket(_PlainSocket):
    """`zmq.Socket` that parks the green thread instead of blocking the OS thread."""

    _poller_class = Poller
    # Who waits, and for what.
    _waiting: dict[_Event[bool], int] | None = None
    _loop: Any = None

    def _watch(self, event: _Event[bool], flags: int) -> None:
        if not self._waiting:
            self._waiting = {}
            self._loop = _get_hub().loop
            self._loop.add_reader(super().get(_zmq.FD), self._tell)
        self._waiting[event] = flags

    def _unwatch(self, event: _Event[bool]) -> None:
        if self._waiting:
            self._waiting.pop(event, None)
            if not self._waiting:
                self._ignore()

    def _ignore(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and not loop.is_closed():
            loop.remove_reader(super().get(_zmq.FD))

    def _tell(self) -> None:
        """Wake those for whom the socket is ready."""
        if self._waiting and not self.closed:
            state = super().get(_zmq.EVENTS)
            for event, flags in self._waiting.items():
                if state & flags and not event.ready():
                    event.send(True)

    def _wait(self, flags: int, limit: int, call: Callable[[int], Any]) -> Any:
        """Make a call with additional flags, as often as it takes.

        Args:
            flags: What to wait for.
            limit: The option that says for how long.
            call: The call.
        """
        try:
            result = call(_zmq.NOBLOCK)
        except _zmq.Again:
            milliseconds = super().get(limit)
            if not milliseconds:
                raise
        else:
            self._tell()
            return result
        if _hub_to_park_in("waiting for a zmq socket") is None:
            return call(0)
        deadline = _Deadline(milliseconds)
        while True:
            event: _Event[bool] = _Event()
            self._watch(event, flags)
            try:
                result = call(_zmq.NOBLOCK)
            except _zmq.Again:
                self._tell()
                if not deadline.wait(event):
                    raise
            else:
                return result
            finally:
                self._unwatch(event)
                self._tell()

    def send(
        self,
        data: Any,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Send one part of a message; see pyzmq."""

        def send(more: int) -> Any:
            return base(data, flags | more, copy=copy, track=track, **kwargs)

        base = super().send
        if flags & _zmq.NOBLOCK:
            return self._and_tell(send)
        return self._wait(_zmq.POLLOUT, _zmq.SNDTIMEO, send)

    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """Receive one part of a message; see pyzmq."""

        def recv(more: int) -> Any:
            return base(flags | more, copy=copy, track=track)

        base = super().recv
        if flags & _zmq.NOBLOCK:
            return self._and_tell(recv)
        return self._wait(_zmq.POLLIN, _zmq.RCVTIMEO, recv)

    if hasattr(_zmq.Socket, "recv_into"):

        def recv_into(self, buf: Any, /, *, nbytes: int = 0, flags: int = 0) -> Any:
            """Receive one part of a message into a buffer; see pyzmq."""

            def recv_into(more: int) -> Any:
                return base(buf, nbytes=nbytes, flags=flags | more)

            base = super().recv_into
            if flags & _zmq.NOBLOCK:
                return self._and_tell(recv_into)
            return self._wait(_zmq.POLLIN, _zmq.RCVTIMEO, recv_into)

    def _and_tell(self, call: Callable[[int], Any]) -> Any:
        try:
            return call(0)
        finally:
            self._tell()

    def get(self, option: int) -> Any:
        """Return an option's value; see pyzmq."""
        value = super().get(option)
        if option == _zmq.EVENTS:
            self._tell()
        return value

    getsockopt = get

    def close(self, linger: int | None = None) -> None:
        """Close it; who waits on it gets an error."""
        waiting, self._waiting = self._waiting, None
        if waiting and not self.closed:
            self._ignore()
        super().close(linger)
        for event in waiting or ():
            if not event.ready():
                event.send(True)


class Context(_PlainContext):
    """`zmq.Context` whose sockets are green."""

    _socket_class = Socket


def select(
    rlist: Any, wlist: Any, xlist: Any, timeout: float | None = None
) -> tuple[list[Any], list[Any], list[Any]]:
    """Wait until one of many sockets is ready, as `zmq.select`; timeout in seconds."""
    poller = Poller()
    wanted: dict[Any, int] = {}
    lists = ((rlist, _zmq.POLLIN), (wlist, _zmq.POLLOUT), (xlist, _zmq.POLLERR))
    for socks, flag in lists:
        for sock in socks:
            wanted[sock] = wanted.get(sock, 0) | flag
    for sock, flags in wanted.items():
        poller.register(sock, flags)
    found = dict(poller.poll(None if timeout is None else timeout * 1000))
    r, w, x = (
        [sock for sock in socks if found.get(_key(sock), 0) & flag]
        for socks, flag in lists
    )
    return r, w, x


def _key(sock: Any) -> Any:
    # What a poller answers with: numbers for everything that zmq does not know.
    return sock if isinstance(sock, (_zmq.Socket, int)) else sock.fileno()


_complete(globals(), "zmq", without="proxy proxy_steerable device")
