"""The standard `poplib` over green sockets."""

from typing import TYPE_CHECKING

from .._patch.modules import execute as _execute

if TYPE_CHECKING:
    from poplib import *

_execute(globals(), "poplib")
