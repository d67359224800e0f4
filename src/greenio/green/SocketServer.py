"""eventlet's name for `greenio.green.socketserver`."""  # noqa: N999 - a name of old

from .socketserver import *
