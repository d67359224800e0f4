"""The standard `urllib.parse`, which never waits."""

from typing import TYPE_CHECKING

from ..._patch.modules import share as _share

if TYPE_CHECKING:
    from urllib.parse import *

_share(globals(), "urllib.parse")
