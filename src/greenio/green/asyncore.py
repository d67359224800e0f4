"""The standard `asyncore` over green sockets, until Python 3.11, the last to have it."""

from typing import TYPE_CHECKING

from .._patch.modules import execute as _execute

if TYPE_CHECKING:
    from asyncore import *

_execute(globals(), "asyncore")
