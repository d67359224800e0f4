"""eventlet's names for the hub class and what it is made of."""

from __future__ import annotations

from .._kernel.descriptors import READ as READ
from .._kernel.descriptors import WRITE as WRITE
from .._kernel.descriptors import Listener as FdListener
from .._kernel.hub import Hub as BaseHub
from .._std.public_names import claim

__all__ = ["READ", "WRITE", "BaseHub", "FdListener"]

claim(globals())
