"""Socket constants, for code that must not import `socket` itself."""

from __future__ import annotations

import socket as _socket  # noqa: TID251 - constants, nothing is opened

AF_INET = _socket.AF_INET
AF_INET6 = _socket.AF_INET6
AF_UNIX: int = getattr(_socket, "AF_UNIX", -1)
SOCK_STREAM = _socket.SOCK_STREAM
SOCK_NONBLOCK: int = getattr(_socket, "SOCK_NONBLOCK", 0)
SOMAXCONN = _socket.SOMAXCONN
SOL_SOCKET = _socket.SOL_SOCKET
IPPROTO_TCP = _socket.IPPROTO_TCP
TCP_NODELAY = _socket.TCP_NODELAY
SHUT_RDWR = _socket.SHUT_RDWR
SHUT_WR = _socket.SHUT_WR
IPPROTO_TCP = _socket.IPPROTO_TCP
TCP_NODELAY = _socket.TCP_NODELAY
SO_ACCEPTCONN: int = getattr(_socket, "SO_ACCEPTCONN", -1)
SO_ERROR = _socket.SO_ERROR
SO_RCVTIMEO: int = getattr(_socket, "SO_RCVTIMEO", -1)
SO_SNDTIMEO: int = getattr(_socket, "SO_SNDTIMEO", -1)
SO_REUSEADDR = _socket.SO_REUSEADDR
SO_REUSEPORT: int = getattr(_socket, "SO_REUSEPORT", -1)
# Reads and writes with one of these never wait, on no socket.
MSG_DONTWAIT: int = getattr(_socket, "MSG_DONTWAIT", 0)
NEVER_WAITS: int = MSG_DONTWAIT | getattr(_socket, "MSG_ERRQUEUE", 0)
MSG_WAITALL: int = getattr(_socket, "MSG_WAITALL", 0)
MSG_PEEK: int = getattr(_socket, "MSG_PEEK", 0)
