"""eventlet's name for `greenio.green.http.server`."""

from .http.server import *
