"""The standard `ftplib` over green sockets."""

from typing import TYPE_CHECKING

from .._patch.modules import execute as _execute

if TYPE_CHECKING:
    from ftplib import *

_execute(globals(), "ftplib")
