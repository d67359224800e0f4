"""eventlet's names for the hub class and what it is made of."""

from __future__ import annotations

from .._core._descriptors import READ as READ
from .._core._descriptors import WRITE as WRITE
from .._core._descriptors import Listener as FdListener
from .._core._hub import Hub as BaseHub

__all__ = ["READ", "WRITE", "BaseHub", "FdListener"]
