"""TLS over green sockets: `GreenSSLSocket` and `GreenSSLContext`.

Both are subclasses of the standard ones. The socket is always non-blocking underneath,
so the TLS machinery answers "want read" or "want write" where it would have blocked, and
the green thread waits for just that. The method resolution order is
``GreenSSLSocket, GreenSocket, ssl.SSLSocket, socket.socket``: what a method of
`ssl.SSLSocket` calls through ``super()`` is the raw, non-blocking one.
"""

from __future__ import annotations

import functools
import ssl as _standard  # noqa: TID251 - constants, and the module behind the subclasses
from collections.abc import Callable
from types import FunctionType
from typing import Any, NoReturn, cast

from .._reactor.descriptors import READ, WRITE
from .._std.originals import (
    SSLContext,
    SSLSocket,
    SSLWantReadError,
    SSLWantWriteError,
    monotonic,
    raw_socket,
)
from .._std.with_globals import with_globals
from .constants import SHUT_WR
from .socket import GreenSocket, say_goodbye


class GreenSSLSocket(GreenSocket, SSLSocket):
    """A TLS socket that parks the calling green thread.

    Made by `GreenSSLContext.wrap_socket`, `wrap_socket` and `accept`.
    """

    _connected: bool
    _context: Any
    _session: Any
    _sslobj: Any
    ca_certs: Any
    cert_reqs: int
    certfile: Any
    do_handshake_on_connect: bool
    keyfile: Any
    server_hostname: str | None
    server_side: bool
    ssl_version: int | None
    suppress_ragged_eofs: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> GreenSSLSocket:
        if args or "sock" in kwargs:
            # eventlet's constructor, with the arguments of the old ssl.wrap_socket.
            return wrap_socket(*args, **kwargs)
        # `SSLSocket._create`, from where the others come, calls no __init__ of ours.
        self = super().__new__(cls)
        self._reader = self._writer = self._drained = None
        self._drains = False
        self._lent = None
        self._timeout = None
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not args and "sock" not in kwargs:
            SSLSocket.__init__(self, *args, **kwargs)  # says what to use instead

    # -- waiting -------------------------------------------------------------------

    def _tls(self, call: Callable[..., Any], *args: Any) -> Any:
        """Make a TLS call, as often as it takes; the time limit is for the whole."""
        limit = self._timeout
        deadline: float | None = None
        connection = self._sslobj
        while True:
            try:
                if self._sslobj is None and connection is not None:
                    return self._go_on(connection, call, args)
                return call(self, *args)
            except SSLWantReadError:
                if limit == 0:
                    raise
                event = READ
            except SSLWantWriteError:
                if limit == 0:
                    raise
                event = WRITE
            if limit is not None and deadline is None:
                deadline = monotonic() + limit
            self._wait(event, self._remaining(deadline))

    def _go_on(
        self, connection: Any, call: Callable[..., Any], args: tuple[Any, ...]
    ) -> Any:
        """Make a call on TLS that has been shut down since the call began.

        In an OS thread it would be in the middle of it, and see how that ends: at the
        end of what the peer sends.
        """
        self._sslobj = connection
        try:
            return call(self, *args)
        except BrokenPipeError:
            # OpenSSL had something left to write, and since 3.6 says so to who reads.
            if call is not SSLSocket.read:
                raise
            return b"" if args[1] is None else 0
        finally:
            self._sslobj = None

    # -- the handshake and the end ---------------------------------------------------

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands with the peer."""
        limit = self._timeout
        if block and limit == 0:
            self._timeout = None
        try:
            self._tls(SSLSocket.do_handshake)
        finally:
            self._timeout = limit

    def unwrap(self) -> Any:
        """End TLS, and return the socket for what comes after it."""
        return self._tls(SSLSocket.unwrap)

    def _end_writing(self) -> None:
        """Say by TLS that nothing more comes, and end this half; the other goes on."""
        say_goodbye(self)
        raw_socket.shutdown(self, SHUT_WR)

    def verify_client_post_handshake(self) -> None:
        """Ask the client for a certificate now (TLS 1.3)."""
        self._tls(SSLSocket.verify_client_post_handshake)

    # -- reading -----------------------------------------------------------------------

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002
        """Read up to `len` bytes, or into a buffer."""
        return self._tls(SSLSocket.read, len, buffer)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive up to `buflen` bytes."""
        if self._sslobj is None:
            return GreenSocket.recv(self, buflen, flags)
        return SSLSocket.recv(self, buflen, flags)  # which reads

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive into a buffer."""
        if self._sslobj is None:
            return GreenSocket.recv_into(self, buffer, nbytes or 0, flags)
        return SSLSocket.recv_into(self, buffer, nbytes, flags)

    def recvfrom(self, buflen: int = 1024, flags: int = 0) -> tuple[bytes, Any]:
        """Receive a datagram, before there is TLS."""
        if self._sslobj is not None:
            return SSLSocket.recvfrom(self, buflen, flags)
        return GreenSocket.recvfrom(self, buflen, flags)

    def recvfrom_into(
        self, buffer: Any, nbytes: int | None = None, flags: int = 0
    ) -> tuple[int, Any]:
        """Receive a datagram into a buffer, before there is TLS."""
        if self._sslobj is not None:
            return SSLSocket.recvfrom_into(self, buffer, nbytes, flags)
        return GreenSocket.recvfrom_into(self, buffer, nbytes or 0, flags)

    def recvmsg(self, *args: Any, **kwargs: Any) -> Any:
        """Not to be had with TLS."""
        return SSLSocket.recvmsg(self, *args, **kwargs)

    def recvmsg_into(self, *args: Any, **kwargs: Any) -> Any:
        """Not to be had with TLS."""
        return SSLSocket.recvmsg_into(self, *args, **kwargs)

    # -- writing -----------------------------------------------------------------------

    def write(self, data: Any) -> int:
        """Write some of the data; the result is how many bytes went."""
        return cast("int", self._tls(SSLSocket.write, data))

    def send(self, data: Any, flags: int = 0) -> int:
        """Send some of the data; the result is how many bytes went."""
        if self._sslobj is None:
            return GreenSocket.send(self, data, flags)
        return cast("int", self._tls(SSLSocket.send, data, flags))

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of the data."""
        if self._sslobj is None:
            GreenSocket.sendall(self, data, flags)
        else:
            SSLSocket.sendall(self, data, flags)  # which sends

    def sendto(self, data: Any, *args: Any, addr: Any = None) -> int:
        """Send a datagram, before there is TLS."""
        if addr is not None:
            args = (*args, addr)
        if self._sslobj is not None:
            return SSLSocket.sendto(self, data, *args)
        return GreenSocket.sendto(self, data, *args)

    def sendmsg(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not to be had with TLS."""
        SSLSocket.sendmsg(self, *args, **kwargs)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file."""
        if self._sslobj is None:
            return GreenSocket.sendfile(self, file, offset, count)
        sent: int = self._sendfile_use_send(file, offset, count)  # type: ignore[attr-defined]
        return sent

    def settimeout(self, timeout: float | None) -> None:
        """Set the limit for each operation; see `GreenSocket.settimeout`."""
        GreenSocket.settimeout(self, timeout)

    # -- connecting --------------------------------------------------------------------

    def accept(self) -> tuple[GreenSSLSocket, Any]:
        """Wait for a connection, and shake hands with it.

        A slow or faulty peer delays this, or makes it fail. A server may take
        `accept_plain` instead, and `wrap_accepted` in a green thread of the connection.
        """
        plain, address = self.accept_plain()
        return self.wrap_accepted(plain), address

    def accept_plain(self) -> tuple[GreenSocket, Any]:
        """Wait for a connection, without TLS so far."""
        return GreenSocket.accept(self)

    def wrap_accepted(self, plain: GreenSocket) -> GreenSSLSocket:
        """Begin TLS on a connection that came from `accept_plain`."""
        return wrap_socket(
            plain,
            server_side=True,
            do_handshake_on_connect=self.do_handshake_on_connect,
            suppress_ragged_eofs=self.suppress_ragged_eofs,
            context=self._context,
        )

    def connect(self, addr: Any) -> None:
        """Connect, then shake hands."""
        self._connect_tls(GreenSocket.connect, addr)

    def connect_ex(self, addr: Any) -> int:
        """Connect, then shake hands; the result is an error number of connecting."""
        return self._connect_tls(GreenSocket.connect_ex, addr)

    def _connect_tls(
        self, connect: Callable[[GreenSocket, Any], int | None], address: Any
    ) -> int:
        if self.server_side:
            raise ValueError("can't connect in server-side mode")
        if self._connected or self._sslobj is not None:
            raise ValueError("attempt to connect already-connected SSLSocket!")
        self._sslobj = self._context._wrap_socket(
            self, False, self.server_hostname, owner=self, session=self._session
        )
        try:
            error = connect(self, address) or 0
            if not error:
                self._connected = True
                if self.do_handshake_on_connect:
                    self.do_handshake()
        except BaseException:
            self._sslobj = None
            raise
        return error

    def dup(self) -> Any:
        """Not to be had with TLS."""
        return SSLSocket.dup(self)

    def detach(self) -> int:
        """Give the descriptor away; TLS on it ends for this socket."""
        fd = GreenSocket.detach(self)
        # OpenSSL knows the number still, and would wait there with the whole thread.
        self._sslobj = None
        return fd


class _TakesStandardOnes(type):
    """Contexts from before the patch are what `ssl.SSLContext` means after it."""

    def __instancecheck__(cls, instance: object) -> bool:
        known: type = SSLContext if cls is GreenSSLContext else cls
        return type.__instancecheck__(known, instance)


class GreenSSLContext(SSLContext, metaclass=_TakesStandardOnes):
    """A TLS context whose sockets are green."""

    sslsocket_class: type[SSLSocket] = GreenSSLSocket

    def wrap_socket(
        self,
        sock: Any,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: Any = None,
    ) -> Any:
        """Make a TLS socket of a connected or listening one, green or not."""
        cls = self.sslsocket_class
        return _wrap(
            # `self` may be a standard context: see make_contexts_follow.
            GreenSSLSocket if cls is SSLSocket else cls,
            sock,
            do_handshake_on_connect,
            server_side=server_side,
            suppress_ragged_eofs=suppress_ragged_eofs,
            server_hostname=server_hostname,
            context=self,
            session=session,
        )


def _wrap(cls: Any, sock: Any, handshake: bool, **kwargs: Any) -> Any:
    """Make a TLS socket, and shake hands if it is connected.

    The standard constructor would shake hands, too, but leave the socket open if it is
    interrupted meanwhile.
    """
    # What it has to say about non-blocking sockets, it shall say.
    at_once = handshake and sock.gettimeout() == 0
    secure = cls._create(sock=sock, do_handshake_on_connect=at_once, **kwargs)
    if handshake and not at_once:
        secure.do_handshake_on_connect = True
        if secure._connected:
            try:
                secure.do_handshake()
            except BaseException:
                secure.close()
                raise
    return secure


# What the standard module's functions are to find by the name SSLContext.
_STANDARD_NAMES = {**vars(_standard), "SSLContext": SSLContext}
_GREEN_NAMES = {**vars(_standard), "SSLContext": GreenSSLContext}

# The setters of the standard class find their base by the *name* SSLContext in the ssl
# module. Were that name to mean our subclass one day, they would find themselves, and
# recurse until the stack ends. These look the name up where it cannot change.
for _name, _property in vars(SSLContext).items():
    if isinstance(_property, property) and _property.fset is not None:
        setattr(
            GreenSSLContext,
            _name,
            property(
                _property.fget,
                with_globals(cast("FunctionType", _property.fset), _STANDARD_NAMES),
                _property.fdel,
                _property.__doc__,
            ),
        )


def make_contexts_follow() -> None:
    """Have standard contexts, too, make green sockets of green ones.

    Libraries make contexts when they are imported, which may be before the patch.
    """
    standard = SSLContext.wrap_socket

    @functools.wraps(standard)
    def wrap_socket(self: Any, sock: Any, *args: Any, **kwargs: Any) -> Any:
        if self.sslsocket_class is SSLSocket and isinstance(sock, GreenSocket):
            return GreenSSLContext.wrap_socket(self, sock, *args, **kwargs)
        return standard(self, sock, *args, **kwargs)

    SSLContext.wrap_socket = wrap_socket  # type: ignore[method-assign]


create_default_context = with_globals(
    cast("FunctionType", _standard.create_default_context), _GREEN_NAMES
)


def wrap_socket(
    sock: Any,
    keyfile: Any = None,
    certfile: Any = None,
    server_side: bool = False,
    cert_reqs: int = _standard.CERT_NONE,
    ssl_version: int | None = None,
    ca_certs: Any = None,
    do_handshake_on_connect: bool = True,
    suppress_ragged_eofs: bool = True,
    ciphers: str | None = None,
    *,
    server_hostname: str | None = None,
    context: _standard.SSLContext | None = None,
) -> GreenSSLSocket:
    """Make a TLS socket, with the arguments that `ssl.wrap_socket` had.

    Args:
        sock: The socket; it is closed in favour of the new one.
        keyfile: The private key, if it is not in `certfile`.
        certfile: The certificate and its chain.
        server_side: Whether this is the server's end.
        cert_reqs: Whether the peer must show a certificate.
        ssl_version: A protocol constant; by default the best that both ends know.
        ca_certs: The certificates to check the peer's against.
        do_handshake_on_connect: Whether connecting and accepting shake hands.
        suppress_ragged_eofs: Whether an unexpected end reads as the end.
        ciphers: The ciphers to allow, as OpenSSL writes them.
        server_hostname: The name that the server's certificate must be for.
        context: A context to use instead of one made of the arguments above.

    Returns:
        The TLS socket.

    Raises:
        ValueError: `server_side` without `certfile`, or `keyfile` without `certfile`.
    """
    if context is None:
        context = _context_of(
            keyfile, certfile, server_side, cert_reqs, ssl_version, ca_certs, ciphers
        )
        context.check_hostname = (
            not server_side and bool(server_hostname) and bool(cert_reqs)
        )
    secure = cast(
        "GreenSSLSocket",
        _wrap(
            GreenSSLSocket,
            sock,
            do_handshake_on_connect,
            server_side=server_side,
            suppress_ragged_eofs=suppress_ragged_eofs,
            server_hostname=server_hostname,
            context=context,
        ),
    )
    # As the sockets of the old `ssl.wrap_socket` had them.
    secure.keyfile = keyfile
    secure.certfile = certfile
    secure.cert_reqs = cert_reqs
    secure.ssl_version = ssl_version
    secure.ca_certs = ca_certs
    return secure


def _context_of(
    keyfile: Any,
    certfile: Any,
    server_side: bool,
    cert_reqs: int,
    ssl_version: int | None,
    ca_certs: Any,
    ciphers: str | None,
) -> GreenSSLContext:
    """A context for the arguments of the old `ssl.wrap_socket`."""
    if server_side and not certfile:
        raise ValueError(
            "certfile must be specified for server-side operations: pass "
            "certfile=..., or context=..."
        )
    if keyfile and not certfile:
        raise ValueError("keyfile is of no use without certfile: pass both")
    if ssl_version is None or ssl_version == _standard.PROTOCOL_TLS:
        # The best that both ends know, by the name that is not deprecated.
        ssl_version = (
            _standard.PROTOCOL_TLS_SERVER
            if server_side
            else _standard.PROTOCOL_TLS_CLIENT
        )
    context = GreenSSLContext(ssl_version)
    context.check_hostname = False
    context.verify_mode = _standard.VerifyMode(cert_reqs)
    if ca_certs:
        context.load_verify_locations(ca_certs)
    if certfile:
        context.load_cert_chain(certfile, keyfile)
    if ciphers:
        context.set_ciphers(ciphers)
    return context
