"""Green sockets made of another socket, whose descriptor they use.

The other one may be closed or detached on its own, and the number be another file's then.
So each call asks first whether the lender still has it. Ordinary sockets do not ask: one
that borrows becomes one of a subclass when it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from types import new_class
from typing import Any, ClassVar, cast
from weakref import WeakSet

from .._std.originals import raw_socket
from .base import SocketBase
from .constants import SOCK_STREAM

_raw_detach = raw_socket.detach
_raw_fileno = raw_socket.fileno
_raw_type = raw_socket.type.__get__

# In a class: the subclass of it whose sockets borrow.
_FORM = "_form_that_borrows"


class Borrowing(SocketBase):
    """Comes before the class of a socket that uses a lender's descriptor.

    With the lender closed it has no number, as if it were closed itself, so that all
    calls fail with EBADF.
    """

    __slots__ = ()

    _own_kind: ClassVar[type]

    def _look_at_lender(self) -> None:
        lender = self._lent
        if lender is None:
            return
        fd = _raw_fileno(self)
        if fd >= 0 and _number_of(lender) != fd:
            self._let_go()
            _raw_detach(self)

    def _wait(self, event: str, timeout: float | None) -> None:
        super()._wait(event, timeout)
        self._look_at_lender()

    def _do(self, event: str, flags: int, call: Callable[..., Any], *args: Any) -> Any:
        # After a look-up of a name, too.
        self._look_at_lender()
        return super()._do(event, flags, call, *args)  # type: ignore[misc]

    def _connect_until(self, address: Any, deadline: float | None) -> int:
        self._look_at_lender()
        return super()._connect_until(address, deadline)  # type: ignore[misc, no-any-return]

    def dup(self) -> Any:
        """Return a green socket on a duplicate of the descriptor."""
        self._look_at_lender()
        twin = super().dup()
        # That one is its own.
        twin.__class__ = self._own_kind
        return twin


def _looking_first(name: str) -> Callable[..., Any]:
    def method(self: Borrowing, *args: Any, **kwargs: Any) -> Any:
        self._look_at_lender()
        return getattr(super(Borrowing, self), name)(*args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"{Borrowing.__qualname__}.{name}"
    method.__doc__ = getattr(SocketBase, name).__doc__
    return method


for _name in (
    "accept",
    "bind",
    "connect",
    "connect_ex",
    "detach",
    "fileno",
    "getpeername",
    "getsockname",
    "getsockopt",
    "ioctl",
    "listen",
    "recv",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "recvmsg_into",
    "send",
    "sendall",
    "sendfile",
    "sendmsg",
    "sendmsg_afalg",
    "sendto",
    "setblocking",
    "setsockopt",
    "settimeout",
    "share",
    "shutdown",
):
    if hasattr(SocketBase, _name):
        setattr(Borrowing, _name, _looking_first(_name))


def _number_of(lender: Any) -> int:
    if not issubclass(type(lender), raw_socket):
        try:
            return cast("int", lender.fileno())
        except (OSError, ValueError):
            return -1
    if isinstance(lender, Borrowing):
        lender._look_at_lender()
    # Asking by the green `fileno` would give up what the loop knows of it.
    return _raw_fileno(lender)


def borrow(sock: SocketBase, lender: Any) -> None:
    """Have a new socket look at its lender before each call.

    Args:
        sock: The socket, on the lender's descriptor.
        lender: Whose that is.
    """
    become(sock, type(sock), borrows=True)
    if isinstance(lender, SocketBase):
        if lender._borrowers is None:
            lender._borrowers = WeakSet()
        lender._borrowers.add(sock)


def look_at_lender(sock: Any) -> None:
    """Before a raw call on a socket: if its lender is closed, it has no number.

    Args:
        sock: The socket; nothing happens to one that has none.
    """
    if isinstance(sock, Borrowing):
        sock._look_at_lender()


def kind_of(sock: Any) -> type:
    """The class of a socket, apart from whether it borrows."""
    return cast("type", getattr(type(sock), "_own_kind", type(sock)))


def become(sock: SocketBase, kind: type, *, borrows: bool | None = None) -> None:
    """Change the class of a socket; one that borrows goes on doing so.

    Args:
        sock: The socket.
        kind: The class; a socket that borrows gets a subclass of it.
        borrows: Whether it borrows, if that is not to be seen from its class.
    """
    if borrows or isinstance(sock, Borrowing):
        sock.__class__ = _form_of(kind)
        # Else its reads would wait without looking at the lender afterwards.
        sock._drains = False
    else:
        sock.__class__ = kind
        sock._drains = _raw_type(sock) == SOCK_STREAM and sock._system_limits is None
    sock._drained = None


def _form_of(kind: type) -> type:
    known = vars(kind).get(_FORM)
    if known is None:
        if issubclass(kind, Borrowing):
            return kind
        known = new_class(
            kind.__name__,
            (Borrowing, kind),
            exec_body=lambda names: names.update(
                __slots__=(),
                __module__=kind.__module__,
                __qualname__=kind.__qualname__,
                __doc__=kind.__doc__,
                _own_kind=kind,
            ),
        )
        setattr(kind, _FORM, known)
    return cast("type", known)
