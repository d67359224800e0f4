"""Attributes that each green thread has for itself."""

from __future__ import annotations

from greenlet import getcurrent

from ._greenthread.local import local as local

__all__ = ["get_ident", "local"]


def get_ident() -> int:
    """Return a number that tells the running green threads of this process apart."""
    return id(getcurrent())
