"""The standard `imaplib` over green sockets."""

from typing import TYPE_CHECKING

from .._patch.modules import execute as _execute

if TYPE_CHECKING:
    from imaplib import *

_execute(globals(), "imaplib")
