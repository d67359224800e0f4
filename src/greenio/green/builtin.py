"""The `builtins` module; `open` makes green files of descriptors."""

from typing import TYPE_CHECKING

from .._patch._files import open_green as open  # noqa: A004 - the name replaced
from .._patch._modules import complete as _complete

if TYPE_CHECKING:
    from builtins import *

_complete(globals(), "builtins")
