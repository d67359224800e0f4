"""The standard `urllib.response`, which never waits."""

from typing import TYPE_CHECKING

from ..._patch.modules import share as _share

if TYPE_CHECKING:
    from urllib.response import *

_share(globals(), "urllib.response")
