"""eventlet's name for `greenio.green.socketserver`."""  # noqa: N999 - a name of old

from .._patch.modules import name_also as _name_also
from .socketserver import *

_name_also(globals(), "greenio.green.socketserver")
