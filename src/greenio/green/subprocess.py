"""The standard `subprocess`; waiting for a child parks the green thread."""

from typing import TYPE_CHECKING

from .._net.files import green_io as _green_io
from .._patch.modules import execute as _execute
from .._patch.subprocess import green_wait as _green_wait

if TYPE_CHECKING:
    from subprocess import *

if _execute(globals(), "subprocess", io=_green_io()):
    globals()["Popen"]._wait = _green_wait(globals())
