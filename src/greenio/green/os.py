"""The standard `os` module; reading, writing and waiting park the green thread."""

from typing import TYPE_CHECKING

from .._patch.modules import complete as _complete
from .._patch.os import close as close
from .._patch.os import read as read
from .._patch.os import wait as wait
from .._patch.os import waitpid as waitpid
from .._patch.os import write as write

if TYPE_CHECKING:
    from os import *

_complete(globals(), "os")
