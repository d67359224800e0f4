"""The standard `select` module; waiting parks the green thread."""

from typing import TYPE_CHECKING

from .._core import _originals
from .._patch._modules import complete as _complete
from .._patch._select import select as select

if TYPE_CHECKING:
    from select import *

if _originals.poll is not None:
    from .._patch._select import poll as poll
if _originals.epoll is not None:
    from .._patch._select import epoll as epoll

# Not offered in green form, and blocking they would only be found by accident.
_complete(globals(), "select", without="devpoll kqueue kevent")
