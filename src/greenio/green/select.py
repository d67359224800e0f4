"""The standard `select` module; waiting parks the green thread."""

from typing import TYPE_CHECKING, Any

from .._patch.modules import complete as _complete
from .._patch.select import select as select
from .._std import originals as _originals

if TYPE_CHECKING:
    from select import *

if _originals.poll is not None:
    from .._patch.select import poll as poll
if _originals.epoll is not None:
    from .._patch.select import epoll as epoll


def get_fileno(obj: Any) -> int:
    """Return the descriptor of a number or of something with ``fileno()``.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(obj, int):
        return obj
    try:
        number = obj.fileno()
    except AttributeError:
        raise TypeError(f"Expected int or long, got {type(obj)}") from None
    if not isinstance(number, int):
        raise TypeError(f"fileno() returned {number!r}, which is no descriptor")
    return number


# Not offered in green form, and blocking they would only be found by accident.
_complete(globals(), "select", without="devpoll kqueue kevent")
