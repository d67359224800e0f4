"""The standard `ssl` module over green sockets."""

from typing import TYPE_CHECKING

from .._net.ssl import GreenSSLContext as GreenSSLContext
from .._net.ssl import GreenSSLSocket as GreenSSLSocket
from .._patch.modules import complete as _complete
from .socket import create_connection as create_connection
from .socket import socket as socket

if TYPE_CHECKING:
    from ssl import *

SSLContext = GreenSSLContext
SSLSocket = GreenSSLSocket

_complete(globals(), "ssl")
