"""The standard `xmlrpc.client` over green sockets."""

from typing import TYPE_CHECKING

from ..._patch.modules import execute as _execute

if TYPE_CHECKING:
    from xmlrpc.client import *

_execute(globals(), "xmlrpc.client")
