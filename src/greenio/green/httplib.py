"""eventlet's name for `greenio.green.http.client`."""

from .http.client import *
