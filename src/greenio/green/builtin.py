"""The `builtins` module; `open` makes green files of descriptors."""

from .._net.files import open_green
from .._patch.modules import complete as _complete

open = open_green  # noqa: A001 - the name that is replaced

_complete(globals(), "builtins")
