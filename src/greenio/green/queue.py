"""The standard `queue` over green locks."""

from typing import TYPE_CHECKING

from .._patch._modules import execute as _execute

if TYPE_CHECKING:
    from queue import *

_execute(globals(), "queue")
# The one written in C waits in C.
SimpleQueue = globals()["_PySimpleQueue"]
