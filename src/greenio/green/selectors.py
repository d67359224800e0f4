"""The standard `selectors` over green `select`, `poll` and `epoll`."""

from typing import TYPE_CHECKING

from .._patch._modules import execute as _execute

if TYPE_CHECKING:
    from selectors import *

_execute(globals(), "selectors")
