"""Where greenio and the standard library have their files.

`pathlib` and `sysconfig` take as long to import as a tenth of greenio, so that is left until
somebody asks.
"""

from __future__ import annotations

import os
from functools import cache

# With a separator at its end.
PACKAGE = __file__.rpartition("_std")[0]


@cache
def of_the_standard_library(filename: str) -> bool:
    """Whether a file is one of the standard library's, and not of an installed package."""
    from sysconfig import get_path

    packages = tuple(get_path(name) + os.sep for name in ("purelib", "platlib"))
    library = get_path("stdlib") + os.sep
    return filename.startswith(library) and not filename.startswith(packages)
