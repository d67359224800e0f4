"""eventlet's name for `greenio.green.http.server`."""  # noqa: N999 - a name of old

from .http.server import *
