"""The standard `http.client` over green sockets."""

from typing import TYPE_CHECKING

from ..._patch._modules import execute as _execute

if TYPE_CHECKING:
    from http.client import *

_execute(globals(), "http.client")
