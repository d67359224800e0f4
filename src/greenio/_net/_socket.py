"""`GreenSocket`: a `socket.socket` whose blocking methods park the green thread.

Underneath, the descriptor is always non-blocking; the time limit that the user sees is
ours. Every method first tries the system call, and waits on the hub's listener for the
descriptor only when it would block. Three things keep that cheap:

* the listener stays registered with the loop between waits (see `_core._descriptors`);
* after a read that brought less than was asked for, the kernel's buffer is empty, so
  the next read waits at once instead of asking the kernel in vain;
* in an OS thread without a hub, it blocks in `poll`, as the plain socket would.

With a time limit of 0 everything passes straight through, so asyncio can use a green
socket like any other; and asking for the `fileno` gives up what the loop knows of the
descriptor, because whoever asks may register it elsewhere.
"""

from __future__ import annotations

import errno
import os
import socket as _socket_types  # noqa: TID251 - constants, nothing is opened
from collections.abc import Callable, Iterable
from typing import IO, Any, SupportsIndex

from greenlet import getcurrent

from .._core._current import existing_hub, hub_to_park_in
from .._core._descriptors import READ, WRITE, Listener
from .._core._errors import IOClosed
from .._core._greenthread import sleep
from .._core._hub import Hub
from .._core._originals import (
    get_ident,
    getdefaulttimeout,
    monotonic,
    os_fstat,
    os_sendfile,
    raw_socket,
    socket_class,
)
from .._core._trampoline import block_natively
from ._dns import resolved

_raw_init = raw_socket.__init__
_raw_accept = raw_socket._accept  # type: ignore[attr-defined]
_raw_connect_ex = raw_socket.connect_ex
_raw_del = raw_socket.__del__  # type: ignore[attr-defined]
_raw_fileno = raw_socket.fileno
_raw_recv = raw_socket.recv
_raw_recv_into = raw_socket.recv_into
_raw_recvfrom = raw_socket.recvfrom
_raw_recvfrom_into = raw_socket.recvfrom_into
_raw_send = raw_socket.send
_raw_sendto = raw_socket.sendto
_raw_setblocking = raw_socket.setblocking
_raw_family = raw_socket.family.__get__
_raw_type = raw_socket.type.__get__
_raw_proto = raw_socket.proto.__get__

_STREAM = int(_socket_types.SOCK_STREAM)
_INET = frozenset({int(_socket_types.AF_INET), int(_socket_types.AF_INET6)})
_UNIX = int(getattr(_socket_types, "AF_UNIX", -1))
_CONNECTING = frozenset(
    {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, errno.EINTR}
)
_BACKLOG_FULL_PAUSE = 0.01

Buffer = Any


class GreenSocket(socket_class):
    """A socket that parks the calling green thread instead of blocking the thread.

    Args:
        family: The address family, as for `socket.socket`; or an existing socket, whose
            descriptor this one then uses (the original stays its owner).
        type: The socket type.
        proto: The protocol number.
        fileno: A descriptor to use instead of making one.
    """

    __slots__ = (
        "__dict__",
        "_drained",
        "_is_stream",
        "_lent",
        "_reader",
        "_timeout",
        "_writer",
    )

    _drained: bool
    _is_stream: bool
    _lent: Any
    _reader: Listener | None
    _timeout: float | None
    _writer: Listener | None

    def __init__(
        self,
        family: Any = -1,
        type: int = -1,  # noqa: A002 - the name socket.socket gives it
        proto: int = -1,
        fileno: int | None = None,
        *,
        set_nonblocking: bool = False,
    ) -> None:
        self._reader = self._writer = None
        self._drained = False
        self._lent = None
        timeout = getdefaulttimeout()
        if not isinstance(family, int) and hasattr(family, "fileno"):
            lender = family
            timeout = lender.gettimeout()
            family, type, proto = lender.family, lender.type, lender.proto  # noqa: A001
            fileno = lender.fileno()
            self._lent = lender
        elif fileno is None:
            if family == -1:
                family = _socket_types.AF_INET
            if type == -1:
                type = _STREAM  # noqa: A001
            if proto == -1:
                proto = 0
        _raw_init(self, family, type, proto, fileno)
        self._io_refs = 0
        self._closed = False
        self._is_stream = _raw_type(self) == _STREAM
        self._timeout = 0.0 if set_nonblocking else timeout
        _raw_setblocking(self, False)
        hub = existing_hub()
        if hub is not None:
            # A number that came back without having been closed through us.
            fd = _raw_fileno(self)
            if self._lent is None and hub.descriptors.knows(fd):
                hub.descriptors.notify_close(fd)

    def __del__(self) -> None:
        try:
            self._release_listeners()
            if self._lent is not None:
                raw_socket.detach(self)
        except AttributeError:
            # __init__ failed before there was anything to release.
            pass
        _raw_del(self)

    # -- waiting -----------------------------------------------------------------

    def _wait(self, event: str, timeout: float | None) -> None:
        """Park until the descriptor is ready.

        Raises:
            TimeoutError: The time was up first.
            OSError: The socket is closed, or was meanwhile.
        """
        try:
            hub: Hub = getcurrent()._hub  # type: ignore[attr-defined]
        except AttributeError:
            here = hub_to_park_in(f"waiting to {event} on a socket")
            if here is None:
                if not block_natively(self._open_fd(), event, timeout):
                    raise TimeoutError("timed out") from None
                return
            hub = here
        if event == READ:
            listener = self._reader
            if listener is None or listener.hub is not hub or listener.closed:
                listener = hub.descriptors.listener(self._open_fd(), READ)
                self._reader = listener
        else:
            listener = self._writer
            if listener is None or listener.hub is not hub or listener.closed:
                listener = hub.descriptors.listener(self._open_fd(), WRITE)
                self._writer = listener
        if not listener.wait(timeout):
            raise TimeoutError("timed out")

    def _open_fd(self) -> int:
        fd = _raw_fileno(self)
        if fd < 0:
            raise IOClosed
        return fd

    def _await_data(self) -> None:
        """Wait before a read that would find nothing, where waiting is possible."""
        self._drained = False
        reader = self._reader
        if (
            reader is not None
            and reader.registered
            and self._timeout != 0
            and getattr(getcurrent(), "_hub", None) is reader.hub
            and not reader.wait(self._timeout)
        ):
            raise TimeoutError("timed out")

    def _read(self, call: Callable[..., Any], *args: Any) -> Any:
        """Make a reading system call, as often as it takes."""
        while True:
            try:
                return call(self, *args)
            except BlockingIOError:
                if self._timeout == 0:
                    raise
            self._wait(READ, self._timeout)

    def _write(self, call: Callable[..., Any], *args: Any) -> Any:
        """Make a writing system call, as often as it takes."""
        while True:
            try:
                return call(self, *args)
            except BlockingIOError:
                if self._timeout == 0:
                    raise
            self._wait(WRITE, self._timeout)

    # -- reading -------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive up to `bufsize` bytes; ``b""`` means the peer has shut down."""
        if self._drained:
            self._await_data()
        while True:
            try:
                data = _raw_recv(self, bufsize, flags)
            except BlockingIOError:
                if self._timeout == 0:
                    raise
            else:
                if 0 < len(data) < bufsize and not flags:
                    self._drained = self._is_stream
                return data
            self._wait(READ, self._timeout)

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer; 0 means the peer has shut down."""
        if self._drained:
            self._await_data()
        while True:
            try:
                count = _raw_recv_into(self, buffer, nbytes, flags)
            except BlockingIOError:
                if self._timeout == 0:
                    raise
            else:
                if count and not flags and count < (nbytes or len(buffer)):
                    self._drained = self._is_stream
                return count
            self._wait(READ, self._timeout)

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive data and the sender's address."""
        result: tuple[bytes, Any] = self._read(_raw_recvfrom, bufsize, flags)
        return result

    def recvfrom_into(
        self, buffer: Buffer, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, Any]:
        """Receive into a buffer; the result is the count and the sender's address."""
        result: tuple[int, Any] = self._read(_raw_recvfrom_into, buffer, nbytes, flags)
        return result

    if hasattr(raw_socket, "recvmsg"):

        def recvmsg(self, bufsize: int, *args: int) -> Any:
            """Receive data and ancillary data."""
            return self._read(raw_socket.recvmsg, bufsize, *args)

        def recvmsg_into(self, buffers: Iterable[Buffer], *args: int) -> Any:
            """Receive into buffers, with ancillary data."""
            return self._read(raw_socket.recvmsg_into, buffers, *args)

        def sendmsg(self, buffers: Iterable[Buffer], *args: Any) -> int:
            """Send data and ancillary data; the result is how many bytes went."""
            buffers = list(buffers)
            sent: int = self._write(raw_socket.sendmsg, buffers, *args)
            return sent

    # -- writing -------------------------------------------------------------------

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """Send some of the data; the result is how many bytes went."""
        while True:
            try:
                return _raw_send(self, data, flags)
            except BlockingIOError:
                if self._timeout == 0:
                    raise
            self._wait(WRITE, self._timeout)

    def sendall(self, data: Buffer, flags: int = 0, /) -> None:
        """Send all of the data; the time limit is for the whole."""
        try:
            sent = _raw_send(self, data, flags)
        except BlockingIOError:
            if self._timeout == 0:
                raise
            sent = 0
        else:
            if type(data) is bytes and sent == len(data):
                return
        with memoryview(data) as view, view.cast("B") as octets:
            if sent == len(octets):
                return
            limit = self._timeout
            deadline = None if limit is None else monotonic() + limit
            while sent < len(octets):
                if limit == 0:
                    sent += _raw_send(self, octets[sent:], flags)
                    continue
                self._wait(WRITE, self._remaining(deadline))
                try:
                    sent += _raw_send(self, octets[sent:], flags)
                except BlockingIOError:
                    continue

    @staticmethod
    def _remaining(deadline: float | None) -> float | None:
        if deadline is None:
            return None
        remaining = deadline - monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        return remaining

    def sendto(self, data: Buffer, *args: Any) -> int:
        """Send a datagram: ``sendto(data, address)`` or with flags in between."""
        if args:
            *flags, address = args
            args = (*flags, resolved(self, address))
        sent: int = self._write(_raw_sendto, data, *args)
        return sent

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file with the system's `sendfile`, or with `send` where that cannot.

        Returns:
            How many bytes went; the file's position is behind them.
        """
        self._check_sendfile_params(file, offset, count)  # type: ignore[attr-defined]
        if os_sendfile is None or not _is_regular(file):
            sent: int = self._sendfile_use_send(file, offset, count)  # type: ignore[attr-defined]
            return sent
        if self._timeout == 0:
            raise ValueError("non-blocking sockets are not supported")
        source = file.fileno()
        limit = self._timeout
        deadline = None if limit is None else monotonic() + limit
        total = 0
        try:
            while count is None or total < count:
                block = min(0x7FFFF000, 1 << 30 if count is None else count - total)
                try:
                    sent = os_sendfile(_raw_fileno(self), source, offset, block)
                except BlockingIOError:
                    self._wait(WRITE, self._remaining(deadline))
                    continue
                if sent == 0:
                    break
                offset += sent
                total += sent
        finally:
            if total and hasattr(file, "seek"):
                file.seek(offset)
        return total

    # -- connecting ------------------------------------------------------------------

    def accept(self) -> tuple[GreenSocket, Any]:
        """Wait for a connection; the result is a green socket and the peer's address."""
        while True:
            try:
                fd, address = _raw_accept(self)
                break
            except BlockingIOError:
                if self._timeout == 0:
                    raise
            self._wait(READ, self._timeout)
        family, kind, proto = _raw_family(self), _raw_type(self), _raw_proto(self)
        return GreenSocket(family, kind, proto, fd), address

    def connect(self, address: Any, /) -> None:
        """Connect, resolving the name without blocking."""
        error = self._connect(address)
        if error:
            raise OSError(error, os.strerror(error))

    def connect_ex(self, address: Any, /) -> int:
        """Connect; the result is an error number, 0 for success."""
        try:
            return self._connect(address)
        except TimeoutError:
            return errno.EAGAIN
        except OSError as exc:
            # Name resolution raises, as it does for the plain socket.
            if exc.errno is None or isinstance(exc, _socket_types.gaierror):
                raise
            return exc.errno

    def _connect(self, address: Any) -> int:
        limit = self._timeout
        if limit == 0:
            return _raw_connect_ex(self, address)
        deadline = None if limit is None else monotonic() + limit
        address = resolved(self, address)
        while True:
            error = _raw_connect_ex(self, address)
            if error == errno.EAGAIN and _raw_family(self) == _UNIX:
                # The listener's backlog is full, and no event tells when it is not.
                self._remaining(deadline)
                sleep(_BACKLOG_FULL_PAUSE)
                continue
            if error not in _CONNECTING:
                return 0 if error == errno.EISCONN else error
            break
        self._wait(WRITE, self._remaining(deadline))
        return self.getsockopt(_socket_types.SOL_SOCKET, _socket_types.SO_ERROR)

    # -- the time limit ----------------------------------------------------------------

    def settimeout(self, value: float | None, /) -> None:
        """Set the limit for each operation: seconds, None for none, 0 for non-blocking."""
        if value is not None:
            try:
                value = float(value)
            except TypeError:
                raise TypeError(
                    f"settimeout() takes seconds or None, not {value!r}"
                ) from None
            if not value >= 0:
                raise ValueError(
                    "Timeout value out of range: settimeout() takes 0 (non-blocking) "
                    f"or more seconds, or None for no limit, not {value!r}"
                )
        self._timeout = value

    def gettimeout(self) -> float | None:
        """Return the limit that `settimeout` set."""
        return self._timeout

    def setblocking(self, flag: bool, /) -> None:
        """Set no time limit (True), or 0 (False)."""
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
        """Return the descriptor's number, -1 when closed.

        Whoever asks may register it elsewhere (asyncio, a selector), so what the loop
        has registered for us and nobody waits on is given up.
        """
        reader, writer = self._reader, self._writer
        if reader is not None and reader.registered and reader.waiter is None:
            reader.release()
        if writer is not None and writer.registered and writer.waiter is None:
            writer.release()
        return _raw_fileno(self)

    @property
    def fd(self) -> GreenSocket:
        """The socket itself; eventlet's green sockets wrap another one."""
        return self

    def dup(self) -> GreenSocket:
        """Return a green socket on a duplicate of the descriptor."""
        twin = self.__class__(
            _raw_family(self),
            _raw_type(self),
            _raw_proto(self),
            os.dup(self._open_fd()),
        )
        os.set_inheritable(_raw_fileno(twin), False)
        twin._timeout = self._timeout
        return twin

    def detach(self) -> int:
        """Give the descriptor away: the caller closes it from now on."""
        self._release_listeners()
        return super().detach()

    def _real_close(self, *args: Any) -> None:
        self._release_listeners()
        lender = self._lent
        if lender is not None:
            self._lent = None
            raw_socket.detach(self)
            lender.close()
            return
        super()._real_close(*args)  # type: ignore[misc]

    def _release_listeners(self) -> None:
        for listener in (self._reader, self._writer):
            if listener is None or listener.closed:
                continue
            hub = listener.hub
            if hub.thread_id == get_ident():
                hub.descriptors.notify_close(listener.fd)
            else:
                hub.call_threadsafe(hub.descriptors.notify_close, listener.fd)
        self._reader = self._writer = None


def _is_regular(file: IO[bytes]) -> bool:
    import stat

    try:
        descriptor: SupportsIndex = file.fileno()
        return stat.S_ISREG(os_fstat(int(descriptor)).st_mode)
    except (AttributeError, OSError):
        return False
