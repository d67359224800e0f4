"""eventlet's name for `greenio.green.queue`."""

from .queue import *
