"""The standard `http` package; `client` and `server` are green."""

from typing import TYPE_CHECKING

from ..._patch.modules import package_of as _package_of

if TYPE_CHECKING:
    from http import *

_package_of(globals(), "http")
