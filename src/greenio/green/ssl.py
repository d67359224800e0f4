"""The standard `ssl` module over green sockets."""

from collections.abc import Callable as _Callable
from typing import TYPE_CHECKING
from typing import TypeAlias as _TypeAlias

from .._net.ssl import GreenSSLContext as GreenSSLContext
from .._net.ssl import GreenSSLSocket as GreenSSLSocket
from .._net.ssl import wrap_socket as wrap_socket
from .._patch.modules import complete as _complete
from .socket import create_connection as create_connection
from .socket import socket as socket

if TYPE_CHECKING:
    from ssl import *

SSLContext: _TypeAlias = GreenSSLContext
SSLSocket: _TypeAlias = GreenSSLSocket

_complete(globals(), "ssl")

green_create_default_context: _Callable[..., GreenSSLContext] = globals()[
    "create_default_context"
]
