"""The standard `subprocess`; waiting for a child parks the green thread."""

from typing import TYPE_CHECKING

from .._net.files import green_io as _green_io
from .._patch.modules import execute as _execute
from .._patch.subprocess import make_popen_green as _make_popen_green

if TYPE_CHECKING:
    from subprocess import *

if _execute(globals(), "subprocess", io=_green_io()):
    _make_popen_green(globals())
