"""Attributes that each green thread has for itself."""

from __future__ import annotations

from ._greenthread.local import get_ident as get_ident
from ._greenthread.local import local as local
from ._std.public_names import claim

__all__ = ["get_ident", "local"]

claim(globals())
