"""uvloop, by a name like those of eventlet's hubs: ``use_hub(hubs.uvloop)``."""

from __future__ import annotations

from importlib.util import find_spec as _find_spec

__all__ = ["is_available"]


def is_available() -> bool:
    """Whether uvloop is installed."""
    return _find_spec("uvloop") is not None
