"""The standard `queue` over green locks."""

from typing import TYPE_CHECKING

from .._patch._modules import execute as _execute

if TYPE_CHECKING:
    from queue import *
    from queue import _PySimpleQueue  # type: ignore[attr-defined]

_execute(globals(), "queue")
# The one written in C waits in C.
SimpleQueue = _PySimpleQueue
