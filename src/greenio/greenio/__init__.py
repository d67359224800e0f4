"""eventlet's names for green sockets and pipes."""

from __future__ import annotations

from . import base as base
from . import py3 as py3
from .base import CONNECT_ERR as CONNECT_ERR
from .base import CONNECT_SUCCESS as CONNECT_SUCCESS
from .base import SOCKET_BLOCKING as SOCKET_BLOCKING
from .base import SOCKET_CLOSED as SOCKET_CLOSED
from .base import GreenSocket as GreenSocket
from .base import set_nonblocking as set_nonblocking
from .base import shutdown_safe as shutdown_safe
from .base import socket_timeout as socket_timeout
from .py3 import GreenFileIO as GreenFileIO
from .py3 import GreenPipe as GreenPipe

__all__ = [
    "CONNECT_ERR",
    "CONNECT_SUCCESS",
    "SOCKET_BLOCKING",
    "SOCKET_CLOSED",
    "GreenFileIO",
    "GreenPipe",
    "GreenSocket",
    "set_nonblocking",
    "shutdown_safe",
    "socket_timeout",
]
