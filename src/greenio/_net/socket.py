"""`GreenSocket`: a `socket.socket` whose blocking methods park the green thread.

Every method first makes the system call, and waits only when that would block. One
exception: after a read that brought less than was asked for, the kernel has no more,
so the next read waits at once instead of asking in vain.

With a time limit of 0 everything passes straight through, so asyncio can use a green
socket like any other.
"""

from __future__ import annotations

import errno
import os
import socket as _standard  # noqa: TID251 - the functions that are re-bound below
import stat
import sys
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, cast

from .._greenthread.sleeping import sleep
from .._reactor.descriptors import READ, WRITE
from .._std.errors import IOClosed
from .._std.originals import (
    GiveupOnSendfile,
    os_close,
    os_fstat,
    os_sendfile,
    raw_socket,
)
from .._std.with_globals import with_globals
from .backlog import backlog_for, note_listening
from .base import SocketBase
from .borrowed import borrow
from .constants import (
    AF_UNIX,
    MSG_PEEK,
    MSG_WAITALL,
    NEVER_WAITS,
    SO_ERROR,
    SOCK_STREAM,
    SOL_SOCKET,
    SOMAXCONN,
)
from .dns import getaddrinfo, resolved

_raw_accept = raw_socket._accept  # type: ignore[attr-defined]
_raw_bind = raw_socket.bind
_raw_connect_ex = raw_socket.connect_ex
_raw_fileno = raw_socket.fileno
_raw_getsockopt = raw_socket.getsockopt
_raw_getsockname = raw_socket.getsockname
_raw_listen = raw_socket.listen
_raw_recv = raw_socket.recv
_raw_recv_into = raw_socket.recv_into
_raw_recvfrom = raw_socket.recvfrom
_raw_recvfrom_into = raw_socket.recvfrom_into
_raw_send = raw_socket.send
_raw_sendall = raw_socket.sendall
_raw_sendto = raw_socket.sendto
_raw_family = raw_socket.family.__get__
_raw_type = raw_socket.type.__get__
_raw_proto = raw_socket.proto.__get__

_CONNECTING = frozenset(
    {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, errno.EINTR}
)
# Asked again, Linux says how the attempt has ended, and the socket is ready for the next
# attempt; it would not be if the error were taken from SO_ERROR.
_CONNECT_TELLS = sys.platform == "linux"
_BACKLOG_FULL_PAUSE = 0.01
# How much one call of the system's `sendfile` may be asked for.
_SENDFILE_BLOCK = 1 << 30
# What it answers for a file that it cannot send.
_NO_SENDFILE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

Buffer = Any


class GreenSocket(SocketBase):
    """A socket that parks the calling green thread instead of blocking the thread.

    Args:
        family: The address family, as for `socket.socket`; or an existing socket, whose
            descriptor this one then uses. Closing either closes both.
        type: The socket type.
        proto: The protocol number.
        fileno: A descriptor to use instead of making one.
    """

    # Programs see it also before they import that.
    __module__ = "greenio.greenio.base"
    __slots__ = ()

    # A connection that is being made by a `connect` which had to give up.
    _connecting = False
    # The connections that wait to be accepted, if this socket listens.
    # A Backlog; named here, it would have to be known by the public name of the module.
    _backlog: Any = None

    def _borrow(self, lender: Any) -> None:
        borrow(self, lender)

    def _once_ready(self, event: str, call: Callable[..., Any], *args: Any) -> Any:
        """Wait and make a system call, as often as it takes, within the time limit."""
        deadline = self._deadline()
        left = self._timeout
        while True:
            self._wait(event, left)
            try:
                return call(self, *args)
            except BlockingIOError:
                left = self._remaining(deadline)

    def _may_wait(self, flags: int) -> bool:
        return self._timeout != 0 and not flags & NEVER_WAITS

    def _do(self, event: str, flags: int, call: Callable[..., Any], *args: Any) -> Any:
        """Make a system call, waiting if it would block."""
        try:
            return call(self, *args)
        except BlockingIOError:
            if not self._may_wait(flags):
                raise
        return self._once_ready(event, call, *args)

    # -- reading -------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive up to `bufsize` bytes; ``b""`` means the peer has shut down."""
        reader = self._drained
        if reader is not None and bufsize > 0 and not flags:
            # `_await_data`, written out: it saves 0.1 us of the 4 per message.
            self._drained = None
            limit = self._timeout
            if limit != 0 and not reader.wait_if_known(limit):
                raise TimeoutError("timed out")
        data: bytes | None
        try:
            data = _raw_recv(self, bufsize, flags)
        except BlockingIOError:
            if not self._may_wait(flags):
                self._still_drained(reader, flags)
                raise
            data = None
        if data is None:
            data = cast("bytes", self._once_ready(READ, _raw_recv, bufsize, flags))
        if 0 < len(data) < bufsize:
            if not flags:
                if self._drains:
                    self._drained = self._reader
            elif flags & MSG_WAITALL and self._waits_for_all(flags):
                return self._receive_all(data, bufsize, flags)
        return data

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer; 0 means the peer has shut down."""
        # Not kept while this waits, or in the traceback of an error: who has that may
        # want to give the buffer another size.
        with memoryview(buffer) as view:
            room = 0 if view.readonly else view.nbytes
        wanted = nbytes or room
        reader = self._drained
        # What cannot be read into, the system call says at once.
        if reader is not None and 0 < wanted <= room and not flags:
            self._await_data(reader)
        try:
            count = _raw_recv_into(self, buffer, nbytes, flags)
        except BlockingIOError:
            if not self._may_wait(flags):
                self._still_drained(reader, flags)
                raise
            count = -1
        if count < 0:
            count = self._once_ready(READ, _raw_recv_into, buffer, nbytes, flags)
        if 0 < count < wanted:
            if not flags:
                if self._drains:
                    self._drained = self._reader
            elif flags & MSG_WAITALL and self._waits_for_all(flags):
                rest = memoryview(buffer).cast("B")[count:wanted]
                count += self._receive_rest(rest, flags)
        return count

    def _waits_for_all(self, flags: int) -> bool:
        # With a time limit the system does not either; what has come would be lost.
        return (
            self._timeout is None
            and self._may_wait(flags)
            and _raw_type(self) == SOCK_STREAM
        )

    def _receive_all(self, first: bytes, wanted: int, flags: int) -> bytes:
        # The system waits for all of it only where it may block.
        rest = bytearray(wanted - len(first))
        count = self._receive_rest(memoryview(rest), flags)
        return first + rest[:count]

    def _receive_rest(self, view: memoryview, flags: int) -> int:
        if flags & MSG_PEEK:
            # It stays in the kernel's buffer, so nothing tells when there is more.
            return 0
        received = 0
        while received < len(view):
            rest = view[received:]
            count = self._do(READ, flags, _raw_recv_into, rest, 0, flags)
            if not count:
                break
            received += count
        return received

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """Receive data and the sender's address."""
        result: tuple[bytes, Any]
        result = self._do(READ, flags, _raw_recvfrom, bufsize, flags)
        return result

    def recvfrom_into(
        self, buffer: Buffer, nbytes: int = 0, flags: int = 0
    ) -> tuple[int, Any]:
        """Receive into a buffer; the result is the count and the sender's address."""
        result: tuple[int, Any]
        result = self._do(READ, flags, _raw_recvfrom_into, buffer, nbytes, flags)
        return result

    if hasattr(raw_socket, "recvmsg"):

        def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
            """Receive data and ancillary data."""
            return self._do(READ, flags, raw_socket.recvmsg, bufsize, ancbufsize, flags)

        def recvmsg_into(
            self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0, /
        ) -> Any:
            """Receive into buffers, with ancillary data."""
            buffers = list(buffers)
            return self._do(
                READ, flags, raw_socket.recvmsg_into, buffers, ancbufsize, flags
            )

        def sendmsg(
            self,
            buffers: Iterable[Buffer],
            ancdata: Iterable[Any] = (),
            flags: int = 0,
            address: Any = None,
            /,
        ) -> int:
            """Send data and ancillary data; the result is how many bytes went."""
            # Iterators would be used up if it has to be done again.
            args: list[Any] = [list(buffers), list(ancdata), flags]
            if address is not None:
                args.append(resolved(self, address))
            sent: int = self._do(WRITE, flags, raw_socket.sendmsg, *args)
            return sent

    # -- writing -------------------------------------------------------------------

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send some of the data; the result is how many bytes went."""
        try:
            return _raw_send(self, data, flags)
        except BlockingIOError:
            if not self._may_wait(flags):
                raise
        sent: int = self._once_ready(WRITE, _raw_send, data, flags)
        return sent

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """Send all of the data; the time limit is for the whole."""
        try:
            sent = _raw_send(self, data, flags)
        except BlockingIOError:
            sent = 0
        else:
            if type(data) is bytes and sent == len(data):
                return
        with memoryview(data) as view, view.cast("B") as octets:
            if sent < len(octets):
                self._send_rest(octets, sent, flags)

    def _send_rest(self, octets: memoryview, sent: int, flags: int) -> None:
        if not self._may_wait(flags):
            with octets[sent:] as rest:
                _raw_sendall(self, rest, flags)
            return
        deadline = self._deadline()
        size = len(octets)
        while sent < size:
            self._wait(WRITE, self._remaining(deadline))
            with octets[sent:] as rest:
                try:
                    sent += _raw_send(self, rest, flags)
                except BlockingIOError:
                    continue

    def sendto(self, data: Buffer, *args: Any) -> int:
        """Send a datagram: ``sendto(data, address)`` or with flags in between."""
        flags = 0
        if args:
            *before, address = args
            if before:
                flags = before[0]
            args = (*before, resolved(self, address))
        sent: int = self._do(WRITE, flags, _raw_sendto, data, *args)
        return sent

    def _sendfile_use_sendfile(
        self, file: Any, offset: int = 0, count: int | None = None
    ) -> int:
        """Send a file with the system's `sendfile`: what `sendfile` tries first.

        Raises:
            GiveupOnSendfile: That cannot send this one, and nothing has gone.
        """
        self._check_sendfile_params(file, offset, count)  # type: ignore[attr-defined]
        if self._timeout == 0:
            raise ValueError("non-blocking sockets are not supported")
        source, status = _descriptor_of(file)
        if not status.st_size and not stat.S_ISREG(status.st_mode):
            # Such as a pipe: there is no telling where it ends.
            return 0
        if os_sendfile is None:
            raise GiveupOnSendfile("the system has no sendfile")
        deadline = self._deadline()
        total = 0
        try:
            while count is None or total < count:
                block = _SENDFILE_BLOCK
                if count is not None:
                    block = min(block, count - total)
                try:
                    sent = os_sendfile(self._open_fd(), source, offset, block)
                except BlockingIOError:
                    self._wait(WRITE, self._remaining(deadline))
                    continue
                except OSError as exc:
                    if total or exc.errno not in _NO_SENDFILE:
                        raise
                    raise GiveupOnSendfile(exc) from None
                if sent == 0:
                    break
                offset += sent
                total += sent
        finally:
            if total and hasattr(file, "seek"):
                file.seek(offset)
        return total

    # -- connecting ------------------------------------------------------------------

    def bind(self, address: Any, /) -> None:
        """Bind to an address, resolving the name without blocking where that can be."""
        _raw_bind(self, resolved(self, address, must=False))

    def listen(self, *backlog: int) -> None:
        """Let clients connect; see `socket.listen`."""
        # How many arguments there may be is the original's affair.
        _raw_listen(self, *backlog)
        most = backlog[0] if backlog else SOMAXCONN
        self._backlog = note_listening(_raw_getsockname(self), most)

    def accept(self) -> tuple[GreenSocket, Any]:
        """Wait for a connection; the result is a green socket and the peer's address."""
        fd, address = self._do(READ, 0, _raw_accept)
        if self._backlog is not None:
            self._backlog.accepted()
        try:
            sock = GreenSocket(_raw_family(self), _raw_type(self), _raw_proto(self), fd)
        except BaseException:
            os_close(fd)
            raise
        sock._forget_namesakes()
        return sock, address

    def connect(self, address: Any) -> None:
        """Connect, resolving the name without blocking."""
        error = self._connect(address)
        if error:
            raise OSError(error, os.strerror(error))

    def connect_ex(self, address: Any) -> int:
        """Connect; the result is an error number, 0 for success."""
        try:
            return self._connect(address)
        except TimeoutError:
            return errno.EAGAIN
        except IOClosed:
            return errno.EBADF

    def _connect(self, address: Any) -> int:
        """Connect; the result is an error number, 0 for success."""
        if self._timeout == 0:
            return _raw_connect_ex(self, address)
        deadline = self._deadline()
        address = resolved(self, address)
        backlog = backlog_for(address)
        if backlog is None:
            return self._connect_until(address, deadline)
        backlog.let_accept()
        backlog.waiting += 1
        error = -1
        try:
            error = self._connect_until(address, deadline)
        finally:
            if error:
                backlog.accepted()
        return error

    def _connect_until(self, address: Any, deadline: float | None) -> int:
        while True:
            error = _raw_connect_ex(self, address)
            if error in _CONNECTING:
                if error == errno.EAGAIN and _raw_family(self) == AF_UNIX:
                    # The listener's backlog is full; no event tells when it is not.
                    self._remaining(deadline)
                    sleep(_BACKLOG_FULL_PAUSE)
                    continue
                self._connecting = True
                self._wait(WRITE, self._remaining(deadline))
                if _CONNECT_TELLS:
                    continue
                error = _raw_getsockopt(self, SOL_SOCKET, SO_ERROR)
            elif error == errno.EISCONN and self._connecting:
                error = 0
            break
        if self._connecting:
            del self._connecting
        return error


def _descriptor_of(file: Any) -> tuple[int, os.stat_result]:
    """The descriptor of a file that is to be sent, and what the system knows of it.

    Raises:
        GiveupOnSendfile: It has none.
    """
    try:
        fd = int(file.fileno())
        return fd, os_fstat(fd)
    except (AttributeError, OSError) as exc:
        raise GiveupOnSendfile(exc) from None


# The standard module's own functions, in a world where a socket is a green one.
_WORLD = {**vars(_standard), "socket": GreenSocket, "getaddrinfo": getaddrinfo}


def _green(name: str) -> Any:
    func = with_globals(cast("FunctionType", vars(_standard)[name]), _WORLD)
    _WORLD[name] = func
    return func


_green("has_dualstack_ipv6")
create_connection = _green("create_connection")
create_server = _green("create_server")
_socketpair = _green("socketpair")
_fromfd = _green("fromfd")


def socketpair(
    family: int | None = None,
    type: int = SOCK_STREAM,  # noqa: A002 - the name the standard one gives it
    proto: int = 0,
) -> tuple[GreenSocket, GreenSocket]:
    """Return two green sockets that are connected, as `socket.socketpair`."""
    first, second = _socketpair(family, type, proto)
    first._forget_namesakes()
    second._forget_namesakes()
    return first, second


def fromfd(fd: int, family: int, type: int, proto: int = 0) -> GreenSocket:  # noqa: A002
    """Return a green socket on a duplicate of a descriptor, as `socket.fromfd`."""
    sock: GreenSocket = _fromfd(fd, family, type, proto)
    sock._forget_namesakes()
    return sock


def say_goodbye(sock: Any) -> None:
    """Tell a peer by TLS that nothing more comes, without waiting for its word.

    Else it could not tell this from somebody cutting it short (RFC 9112, 9.8).
    """
    connection = getattr(sock, "_sslobj", None)
    if connection is not None:
        try:
            connection.shutdown()
        except OSError:
            # It would wait for the peer's, or is no connection (any more).
            pass
