"""Small helpers that programs written for eventlet import."""

from __future__ import annotations

from typing import Any

__all__ = ["bytes_to_str", "get_errno"]


def get_errno(exc: BaseException) -> int | None:
    """Return the error number of an exception, or None.

    Args:
        exc: Any exception: ``exc.errno``, or the first argument where that is a number.
    """
    number = getattr(exc, "errno", None)
    if isinstance(number, int):
        return number
    args: tuple[Any, ...] = exc.args
    return args[0] if args and isinstance(args[0], int) else None


def bytes_to_str(b: bytes | str, encoding: str = "ascii") -> str:
    """Return text for bytes, and text as it is."""
    return b if isinstance(b, str) else b.decode(encoding)
