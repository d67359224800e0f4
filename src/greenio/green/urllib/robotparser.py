"""The standard `urllib.robotparser` over green sockets."""

from typing import TYPE_CHECKING

from ..._patch.modules import execute as _execute

if TYPE_CHECKING:
    from urllib.robotparser import *

_execute(globals(), "urllib.robotparser")
