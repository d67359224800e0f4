"""Socket constants, for code that must not import `socket` itself."""

from __future__ import annotations

import socket as _socket  # noqa: TID251 - constants, nothing is opened

AF_INET = _socket.AF_INET
AF_INET6 = _socket.AF_INET6
AF_UNIX: int = getattr(_socket, "AF_UNIX", -1)
SOCK_STREAM = _socket.SOCK_STREAM
SOL_SOCKET = _socket.SOL_SOCKET
SO_REUSEADDR = _socket.SO_REUSEADDR
SO_REUSEPORT: int = getattr(_socket, "SO_REUSEPORT", -1)
