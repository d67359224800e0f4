"""Time limits for green threads."""

from __future__ import annotations

from ._greenthread.timeout import Timeout as Timeout
from ._greenthread.timeout import is_timeout as is_timeout
from ._greenthread.timeout import with_timeout as with_timeout
from ._greenthread.timeout import wrap_is_timeout as wrap_is_timeout
from ._std.public_names import claim

__all__ = ["Timeout", "is_timeout", "with_timeout", "wrap_is_timeout"]

claim(globals())
