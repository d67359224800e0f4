"""The standard `urllib.robotparser` over green sockets."""

from typing import TYPE_CHECKING

from ..._patch._modules import execute as _execute

if TYPE_CHECKING:
    from urllib.robotparser import *

_execute(globals(), "urllib.robotparser")
