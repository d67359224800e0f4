"""What programs written for older versions of eventlet import.

`metaphore` counts what is under way; the rest of what this module once had is in
`greenio.event`, `greenio.semaphore`, `greenio.queue` and `greenio.greenpool`.
"""

from __future__ import annotations

from ._std.public_names import claim
from ._sync.metaphore import MetaphoreStatistics as MetaphoreStatistics
from ._sync.metaphore import metaphore as metaphore

__all__ = ["MetaphoreStatistics", "metaphore"]

claim(globals())
