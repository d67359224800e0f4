"""Green files and pipes, by the names eventlet gives them."""

from __future__ import annotations

import io

from .._net.files import GreenFileIO as GreenFileIO
from .._net.files import open_pipe
from .._std.public_names import claim, claim_as
from .base import SOCKET_BLOCKING as SOCKET_BLOCKING
from .base import greenpipe_doc as greenpipe_doc

__all__ = [
    "DEFAULT_BUFFER_SIZE",
    "SOCKET_BLOCKING",
    "GreenFileIO",
    "GreenPipe",
    "greenpipe_doc",
]

claim(globals())

DEFAULT_BUFFER_SIZE = io.DEFAULT_BUFFER_SIZE

GreenPipe = open_pipe
claim_as(__name__, "GreenPipe", GreenPipe)
