"""The standard `urllib.request` over green sockets."""

from typing import TYPE_CHECKING

from ..._patch.modules import execute as _execute

if TYPE_CHECKING:
    from urllib.request import *

_execute(globals(), "urllib.request")
