"""eventlet's name for `greenio.green.socket`, which asks no name servers by itself."""

from .._patch.modules import name_also as _name_also
from .socket import *

_name_also(globals(), "greenio.green.socket")
