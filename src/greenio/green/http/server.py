"""The standard `http.server` over green sockets."""

from typing import TYPE_CHECKING

from ..._patch.modules import execute as _execute

if TYPE_CHECKING:
    from http.server import *

_execute(globals(), "http.server")
