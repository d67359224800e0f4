"""The standard `queue` over green locks."""

from typing import TYPE_CHECKING

from .._patch.modules import execute as _execute
from .._patch.simple_queue import SimpleQueue as _SimpleQueue

if TYPE_CHECKING:
    from queue import *

if _execute(globals(), "queue"):
    # The one written in C waits in C.
    globals()["SimpleQueue"] = _SimpleQueue
