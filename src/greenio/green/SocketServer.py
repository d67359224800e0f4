"""eventlet's name for `greenio.green.socketserver`."""

from .socketserver import *
