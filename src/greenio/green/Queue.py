"""eventlet's name for `greenio.green.queue`."""  # noqa: N999 - a name of old

from .._patch.modules import name_also as _name_also
from .queue import *

_name_also(globals(), "greenio.green.queue")
