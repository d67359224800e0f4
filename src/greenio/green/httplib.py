"""eventlet's name for `greenio.green.http.client`."""

from .._patch.modules import name_also as _name_also
from .http.client import *

_name_also(globals(), "greenio.green.http.client")
