"""What every green socket has: its construction, its waiting, its limit and its end.

Underneath, the descriptor is always non-blocking; the time limit that the user sees is
ours. Where a system call would block, the socket waits on the listener that the hub has
for the descriptor, which stays registered with the loop between waits (see
`_reactor.descriptors`). In an OS thread without a hub it blocks in `poll`, as the plain
socket would.

Asking for the `fileno` gives up what the loop knows of the descriptor, because whoever
asks may register it elsewhere: asyncio, or uvloop, which refuses a descriptor twice.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from typing import Any

from greenlet import getcurrent

from .._greenthread.descriptor_waits import (
    block_natively,
    close_descriptor,
    close_listener,
    notify_close,
    notify_opened,
)
from .._greenthread.holding_up import hub_to_wait_in
from .._kernel.current import existing_hub
from .._kernel.hub import Hub, all_hubs
from .._reactor.descriptors import READ, WRITE, Listener
from .._std.errors import IOClosed
from .._std.originals import (
    get_ident,
    getdefaulttimeout,
    monotonic,
    os_close,
    os_set_blocking,
    raw_socket,
    socket_class,
)
from .constants import (
    AF_INET,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
)
from .numbers import note_number

_raw_init = raw_socket.__init__
_raw_close = raw_socket.close
_raw_del = raw_socket.__del__  # type: ignore[attr-defined]
_raw_detach = raw_socket.detach
_raw_fileno = raw_socket.fileno
_raw_setblocking = raw_socket.setblocking
_raw_setsockopt: Any = raw_socket.setsockopt
_raw_family = raw_socket.family.__get__
_raw_type = raw_socket.type.__get__
_raw_proto = raw_socket.proto.__get__

# The options that limit how long the system's calls take, as a C `timeval`.
_LIMIT_OPTIONS = {SO_RCVTIMEO: READ, SO_SNDTIMEO: WRITE}
_TIMEVAL = struct.Struct("@ll")

# What the plain socket takes as a limit: it must fit into the system's time values.
LONGEST_TIMEOUT = 2.0**63 / 1e9


class SocketBase(socket_class):
    """A socket that parks the calling green thread instead of blocking the thread.

    Args:
        family: The address family, as for `socket.socket`; or an existing socket, whose
            descriptor this one then uses. Closing either closes both.
        type: The socket type.
        proto: The protocol number.
        fileno: A descriptor to use instead of making one.
        set_nonblocking: Accepted for eventlet's sake; the descriptor always is.
    """

    __slots__ = (
        "__dict__",
        "_drained",
        "_drains",
        "_lent",
        "_reader",
        "_timeout",
        "_writer",
    )

    # The reading listener, if the last read took all that the kernel had.
    _drained: Listener | None
    # Whether a read that brings less than was asked for says that.
    _drains: bool
    _lent: Any
    _reader: Listener | None
    _timeout: float | None
    _writer: Listener | None
    # The limit that holds again when `act_non_blocking` is taken back.
    _set_aside: float | None = None
    # The sockets that were made of this one, if any were: a WeakSet.
    _borrowers: Any = None
    # What SO_RCVTIMEO and SO_SNDTIMEO say, if they were set.
    _system_limits: dict[str, float | None] | None = None

    def __init__(
        self,
        family: Any = -1,
        type: int = -1,  # noqa: A002 - the name socket.socket gives it
        proto: int = -1,
        fileno: int | None = None,
        *,
        set_nonblocking: bool = True,
    ) -> None:
        self._reader = self._writer = self._drained = None
        self._lent = None
        self._timeout = getdefaulttimeout()
        new = fileno is None
        if not isinstance(family, int) and hasattr(family, "fileno"):
            new = False
            lender = family
            # One that never waits has been made ready for this, as eventlet sees it.
            self._timeout = lender.gettimeout() or self._timeout
            family, type, proto = lender.family, lender.type, lender.proto  # noqa: A001
            fileno = lender.fileno()
            if fileno < 0:
                # A closed one in green form is closed, too.
                self._io_refs = 0
                self._closed = True
                self._drains = False
                return
        else:
            lender = None
            if new:
                if family == -1:
                    family = AF_INET
                if type == -1:
                    type = SOCK_STREAM  # noqa: A001
                if proto == -1:
                    proto = 0
        _raw_init(self, family, type, proto, fileno)
        if type > 0 and type & SOCK_NONBLOCK:
            self._timeout = 0.0
        self._lent = lender
        if lender is not None:
            note_number(_raw_fileno(self), self)
        self._io_refs = 0
        self._closed = False
        self._drains = _raw_type(self) == SOCK_STREAM
        _raw_setblocking(self, False)
        if new:
            self._forget_namesakes()
        elif lender is not None:
            self._borrow(lender)

    def _borrow(self, lender: Any) -> None:
        """Look from now on whether the lender still has the number."""
        raise NotImplementedError

    def _forget_namesakes(self) -> None:
        """Our number is new: whoever waits on it waits for a file that is closed."""
        if len(all_hubs) > 1:
            notify_opened(_raw_fileno(self))
            return
        hub = existing_hub()
        if hub is not None:
            fd = _raw_fileno(self)
            if hub.descriptors.knows(fd):
                hub.descriptors.notify_close(fd)

    def __del__(
        self,
        # Bound here: at the end of the interpreter globals may have gone by now.
        raw_detach: Any = _raw_detach,
        raw_close: Any = _raw_close,
        raw_del: Any = _raw_del,
    ) -> None:
        try:
            self._let_go()
            if self._lent is not None:
                raw_detach(self)
            elif self._closed:
                # Closed by the user, and kept open by a file that is garbage too, so
                # there is nothing to warn of.
                raw_close(self)
        except AttributeError:
            # __init__ failed before there was anything to release.
            pass
        raw_del(self)

    # -- waiting -----------------------------------------------------------------

    def _wait(self, event: str, timeout: float | None) -> None:
        """Park until the descriptor is ready.

        Raises:
            TimeoutError: The time was up first.
            OSError: The socket is closed, or was meanwhile.
            BlockingInLoopError: Called in the loop greenlet.
        """
        try:
            hub: Hub = getcurrent()._hub  # type: ignore[attr-defined]
        except AttributeError:
            what = f"waiting to {event} on a socket"
            here = hub_to_wait_in(what)
            if here is None:
                self._block(event, timeout)
                return
            hub = here
        listener = self._reader if event == READ else self._writer
        if listener is None or not listener.registered or listener.hub is not hub:
            listener = self._listener_on(hub, listener, event)
        if timeout is None and self._system_limits is not None:
            timeout = self._system_limits[event]
            if not listener.wait(timeout, hub.park):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        elif not listener.wait(timeout, hub.park):
            raise TimeoutError("timed out")

    def _block(self, event: str, timeout: float | None) -> None:
        """Do what `_wait` does, in an OS thread that has nothing else to do."""
        limits = self._system_limits if timeout is None else None
        if limits is not None:
            timeout = limits[event]
        if not block_natively(self._open_fd(), event, timeout):
            if limits is not None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
            raise TimeoutError("timed out") from None

    def _listener_on(self, hub: Hub, known: Listener | None, event: str) -> Listener:
        """Return a hub's listener for the socket, registered if nobody waits there."""
        table = hub.descriptors
        listener = known
        if listener is None or listener.table is not table or listener.closed:
            listener = Listener(table, self._open_fd(), event)
            if event == READ:
                self._reader = listener
            else:
                self._writer = listener
        if listener.waiter is None and table.rival_of(listener) is None:
            listener.register()
            if _raw_fileno(self) != listener.fd:
                # Another OS thread has closed the socket since we asked for the number,
                # and has not seen this listener among those that it had to end.
                listener.close()
                raise IOClosed
        return listener

    def _open_fd(self) -> int:
        fd = _raw_fileno(self)
        if fd < 0:
            raise IOClosed
        return fd

    def _await_data(self, reader: Listener) -> None:
        """Wait before a read that would find nothing, if the caller may.

        The kernel had no more when it was last asked, so asking it again would be in
        vain; and should something have come meanwhile, the loop says so at once.
        """
        self._drained = None
        limit = self._timeout
        if limit != 0 and not reader.wait_if_known(limit):
            raise TimeoutError("timed out")

    def _still_drained(self, reader: Listener | None, flags: int) -> None:
        """A look that does not wait has found nothing: the next read waits at once, too.

        Pools of connections look like that before each request, for an end of the peer's.
        """
        if self._drains and not flags:
            self._drained = reader

    @staticmethod
    def _remaining(deadline: float | None) -> float | None:
        if deadline is None:
            return None
        remaining = deadline - monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        return remaining

    def _deadline(self) -> float | None:
        limit = self._timeout
        return None if limit is None else monotonic() + limit

    # -- the time limit ----------------------------------------------------------------

    def settimeout(self, howlong: float | None) -> None:
        """Set the limit for each operation: seconds, None for none, 0 for non-blocking."""
        if howlong is not None:
            try:
                # Not of a text, which float() takes too.
                howlong = float(howlong + 0)
            except TypeError:
                raise TypeError(
                    f"settimeout() takes seconds or None, not {howlong!r}"
                ) from None
            if not howlong >= 0:
                raise ValueError(
                    "Timeout value out of range: settimeout() takes 0 (non-blocking) "
                    f"or more seconds, or None for no limit, not {howlong!r}"
                )
            if howlong >= LONGEST_TIMEOUT:
                raise OverflowError(
                    f"settimeout() cannot count {howlong!r} seconds; None is no limit"
                )
        # The descriptor may be somebody else's too, who made it a blocking one. And of
        # a closed one the caller is told.
        _raw_setblocking(self, False)
        self._timeout = howlong

    def setsockopt(self, *args: Any) -> None:
        """Set an option of the system's; SO_RCVTIMEO and SO_SNDTIMEO hold here too."""
        # Which arguments there must be is the original's affair.
        _raw_setsockopt(self, *args)
        level, optname, value = args[:3]
        event = _LIMIT_OPTIONS.get(optname) if level == SOL_SOCKET else None
        if event is not None:
            seconds, microseconds = _TIMEVAL.unpack_from(value)
            limits = self._system_limits or {READ: None, WRITE: None}
            limits[event] = seconds + microseconds / 1e6 or None
            self._system_limits = limits
            # A read that waits at once knows only the limit of `settimeout`.
            self._drains = False
            self._drained = None

    def gettimeout(self) -> float | None:
        """Return the limit that `settimeout` set."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """Set no time limit (True), or 0 (False)."""
        _raw_setblocking(self, False)
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """Whether operations wait: False only with a time limit of 0."""
        return self._timeout != 0

    @property
    def timeout(self) -> float | None:
        """The time limit in seconds, None for none."""
        return self._timeout

    # -- the descriptor ------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the descriptor's number, -1 when closed."""
        for listener in (self._reader, self._writer):
            if listener is None:
                continue
            if listener.waiter is not None:
                listener.claimed = True
            elif listener.registered:
                hub = listener.hub
                if hub.thread_id == get_ident():
                    listener.release()
                else:
                    hub.call_threadsafe(listener.release_if_idle)
        fd = _raw_fileno(self)
        if fd >= 0:
            note_number(fd, self)
        return fd

    @property
    def act_non_blocking(self) -> bool:
        """Whether nothing ever waits, as with a time limit of 0: eventlet's name."""
        return self._timeout == 0

    @act_non_blocking.setter
    def act_non_blocking(self, value: bool) -> None:
        if bool(value) == self.act_non_blocking:
            return
        if value:
            self._set_aside = self._timeout
            self._timeout = 0.0
        else:
            self._timeout, self._set_aside = self._set_aside, None

    @property
    def fd(self) -> SocketBase:
        """The socket itself; eventlet's green sockets wrap another one."""
        return self

    @property
    def _sock(self) -> SocketBase:
        return self

    def makeGreenFile(self, *args: Any, **kw: Any) -> Any:  # noqa: N802
        """Return a file for the socket: eventlet's old name for `makefile`."""
        return self.makefile(*args, **kw)

    def dup(self) -> Any:
        """Return a green socket on a duplicate of the descriptor."""
        fd = os.dup(self._open_fd())
        try:
            twin = self.__class__(
                _raw_family(self), _raw_type(self), _raw_proto(self), fd
            )
        except BaseException:
            os_close(fd)
            raise
        twin._forget_namesakes()
        twin._timeout = self._timeout
        if self._system_limits is not None:
            twin._system_limits = dict(self._system_limits)
            twin._drains = False
        return twin

    def detach(self) -> int:
        """Give the descriptor away: the caller closes it from now on.

        It waits or not as this socket has seemed to: the caller may well give it to
        something that is not green, such as another process.
        """
        # Otherwise it was closed behind our back, and the number may be another's.
        ours = not any(known and known.closed for known in (self._reader, self._writer))
        self._let_go()
        if len(all_hubs) > 1 and _raw_fileno(self) >= 0:
            notify_close(_raw_fileno(self))
        lender = self._lent
        if lender is not None:
            self._lent = None
            lender.detach()
        fd = super().detach()
        if fd >= 0 and ours and self._timeout is None:
            with suppress(OSError):
                os_set_blocking(fd, True)
        return fd

    def _real_close(self, *args: Any) -> None:
        self._let_go()
        lender = self._lent
        if lender is not None:
            self._lent = None
            _raw_detach(self)
            lender.close()
        elif len(all_hubs) > 1:
            # Loops of other threads may have to let go of the number first.
            fd = _raw_detach(self)
            super()._real_close(*args)  # type: ignore[misc]
            if fd >= 0:
                close_descriptor(fd)
        else:
            super()._real_close(*args)  # type: ignore[misc]

    def _let_go(self) -> None:
        """Give up our listeners; whoever waits there gets EBADF."""
        reader, writer = self._reader, self._writer
        self._reader = self._writer = self._drained = None
        if reader is not None and not reader.closed:
            close_listener(reader)
        if writer is not None and not writer.closed:
            close_listener(writer)
        if self._borrowers is not None:
            for borrower in tuple(self._borrowers):
                borrower._let_go()
