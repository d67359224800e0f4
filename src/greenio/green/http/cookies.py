"""The standard `http.cookies`, which never waits."""

from typing import TYPE_CHECKING

from ..._patch.modules import share as _share

if TYPE_CHECKING:
    from http.cookies import *

_share(globals(), "http.cookies")
