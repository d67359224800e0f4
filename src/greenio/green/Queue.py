"""eventlet's name for `greenio.green.queue`."""  # noqa: N999 - a name of old

from .queue import *
