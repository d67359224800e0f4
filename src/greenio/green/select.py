"""The standard `select` module; waiting parks the green thread."""

from typing import TYPE_CHECKING

from .._patch.modules import complete as _complete
from .._patch.select import select as select
from .._std import originals as _originals

if TYPE_CHECKING:
    from select import *

if _originals.poll is not None:
    from .._patch.select import poll as poll
if _originals.epoll is not None:
    from .._patch.select import epoll as epoll

# Not offered in green form, and blocking they would only be found by accident.
_complete(globals(), "select", without="devpoll kqueue kevent")
