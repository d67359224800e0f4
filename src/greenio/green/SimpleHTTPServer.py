"""eventlet's name for `greenio.green.http.server`."""  # noqa: N999 - a name of old

from .._patch.modules import name_also as _name_also
from .http.server import *

_name_also(globals(), "greenio.green.http.server")
