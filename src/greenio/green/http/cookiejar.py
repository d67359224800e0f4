"""The standard `http.cookiejar`, which never waits."""

from typing import TYPE_CHECKING

from ..._patch.modules import share as _share

if TYPE_CHECKING:
    from http.cookiejar import *

_share(globals(), "http.cookiejar")
