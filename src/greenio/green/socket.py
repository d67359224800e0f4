"""The standard `socket` module over green sockets and green name resolution."""

from typing import TYPE_CHECKING
from typing import TypeAlias as _TypeAlias

from .._net.dns import getaddrinfo as getaddrinfo
from .._net.dns import getfqdn as getfqdn
from .._net.dns import gethostbyaddr as gethostbyaddr
from .._net.dns import gethostbyname as gethostbyname
from .._net.dns import gethostbyname_ex as gethostbyname_ex
from .._net.dns import getnameinfo as getnameinfo
from .._patch.modules import complete as _complete
from ..greenio.base import GreenSocket as GreenSocket

if TYPE_CHECKING:
    from socket import *

socket: _TypeAlias = GreenSocket

_complete(globals(), "socket")
