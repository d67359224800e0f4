"""The standard `selectors` over green `select`, `poll` and `epoll`."""

from typing import TYPE_CHECKING

from .._patch.modules import execute as _execute
from .._patch.modules import standard as _standard
from .select import select as _select

if TYPE_CHECKING:
    from selectors import *

_execute(globals(), "selectors")
globals()["SelectorKey"] = _standard("selectors").SelectorKey
# A function written in C does not become a method of the class that it is put into.
globals()["SelectSelector"]._select = staticmethod(_select)
