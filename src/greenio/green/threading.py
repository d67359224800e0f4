"""The standard `threading` over green threads and green locks."""

from typing import TYPE_CHECKING

from .._patch._modules import execute as _execute
from .._patch._threading import green_names as _green_names

if TYPE_CHECKING:
    from threading import *

_execute(globals(), "threading")
globals().update(_green_names(globals()))
