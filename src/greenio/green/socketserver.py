"""The standard `socketserver` over green sockets and green threads."""

from typing import TYPE_CHECKING

from .._patch.modules import execute as _execute

if TYPE_CHECKING:
    from socketserver import *

_execute(globals(), "socketserver")
